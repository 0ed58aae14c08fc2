"""What a network looks like, as frozen dataclasses that go to JSON and back.

>>> MLPConfig(width=64).to_dict()
{'kind': 'mlp', 'dimension': 2, 'width': 64, 'depth': 3, 'out_dimension': None, 'time': True}
>>> network_config_from_dict({"kind": "mlp", "width": 64}) == MLPConfig(width=64)
True
"""

from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from lib.errors import UserError


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise UserError(message)


def _whole(value: Any, smallest: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= smallest


def _real(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


@dataclass(frozen=True)
class MLPConfig:
    """A multilayer perceptron for points: `depth` hidden layers of `width` SiLU units.

    dimension: of a point. out_dimension: of the output, `dimension` if None (a mean and a log variance
    need 2 * dimension). time: whether t is appended to the input.
    """

    dimension: int = 2
    width: int = 128
    depth: int = 3
    out_dimension: int | None = None
    time: bool = True

    def __post_init__(self) -> None:
        for name in ("dimension", "width", "depth"):
            value = getattr(self, name)
            _require(_whole(value, 1), f"MLP setting {name} is {value!r}; give a whole number of 1 or more.")
        out = self.out_dimension
        _require(
            out is None or _whole(out, 1),
            f"MLP setting out_dimension is {out!r}; give a whole number or null.",
        )
        _require(isinstance(self.time, bool), f"MLP setting time is {self.time!r}; give true or false.")

    @property
    def input_shape(self) -> tuple[int, ...]:
        return (self.dimension,)

    @property
    def output_size(self) -> int:
        return self.dimension if self.out_dimension is None else self.out_dimension

    def to_dict(self) -> dict[str, Any]:
        return _to_dict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "MLPConfig":
        return _from_dict(cls, values)


@dataclass(frozen=True)
class UNetConfig:
    """One description of a U-Net; its settings give DDPM++ (Song et al. 2021) and ADM.

    ADM is the network of Dhariwal and Nichol (2021).

    resolution, in_channels: of the square image. out_channels: in_channels if None.
    channels, multipliers: level l works at resolution / 2^l with channels * multipliers[l] channels.
    blocks: residual blocks a level in the encoder (the decoder has one more, see skip_resampled).
    attention_resolutions: sides of the maps that get self-attention, in every encoder block and in the
        last decoder block of the level (in every one if attention_in_all_decoder_blocks).
    attention_head_channels: channels of one head; None means a single head.
    bottleneck_attention, bottleneck_blocks: of the blocks between encoder and decoder.
    dropout: probability, before a residual block's second convolution.
    scale_shift: time enters as a scale and a shift after the second norm (ADM); otherwise as a sum
        before it (DDPM++).
    residual_scale: factor on the sum of a residual block; 1/sqrt(2) keeps the variance (DDPM++).
    project_resampled: a 1x1 convolution on the shortcut of blocks that change the resolution (DDPM++).
    resample_in_blocks: change the resolution inside a residual block; if False, by a bare strided 3x3
        convolution down and a transposed 2x2 one up (the small network, for speed).
    skip_resampled: the first convolution and the down-sampled maps are skip connections too.
    classes: number of labels, 0 for none.
    phi: constant of Prior ShakeDrop, None for off. norm_epsilon: of GroupNorm inside the blocks.
    time_scale: t is multiplied by it before the sinusoidal embedding. The paper feeds t in [0, 1] raw (1.0).
    """

    resolution: int = 8
    in_channels: int = 1
    out_channels: int | None = None
    channels: int = 16
    multipliers: tuple[int, ...] = (1, 2)
    blocks: int = 1
    attention_resolutions: tuple[int, ...] = ()
    attention_in_all_decoder_blocks: bool = False
    attention_head_channels: int | None = None
    bottleneck_attention: bool = True
    bottleneck_blocks: int = 2
    dropout: float = 0.0
    scale_shift: bool = False
    residual_scale: float = 0.5**0.5
    project_resampled: bool = True
    resample_in_blocks: bool = True
    skip_resampled: bool = True
    classes: int = 0
    phi: float | None = None
    norm_epsilon: float = 1e-6
    time_scale: float = 1.0

    def __post_init__(self) -> None:
        for name in ("multipliers", "attention_resolutions"):
            value = getattr(self, name)
            _require(
                isinstance(value, list | tuple) and all(_whole(item, 1) for item in value),
                f"U-Net setting {name} is {value!r}; give a list of whole numbers of 1 or more.",
            )
            object.__setattr__(self, name, tuple(value))  # JSON gives lists; a frozen config must be hashable
        _require(len(self.multipliers) > 0, "U-Net setting multipliers is empty; give one number a level.")
        for name, smallest in (
            ("resolution", 1), ("in_channels", 1), ("channels", 2), ("blocks", 1), ("bottleneck_blocks", 1),
            ("classes", 0),
        ):  # fmt: skip
            value = getattr(self, name)
            _require(
                _whole(value, smallest),
                f"U-Net setting {name} is {value!r}; give a whole number of {smallest} or more.",
            )
        _require(self.channels % 2 == 0, f"U-Net setting channels is {self.channels}; give an even number.")
        for name in ("out_channels", "attention_head_channels"):
            value = getattr(self, name)
            _require(
                value is None or _whole(value, 1),
                f"U-Net setting {name} is {value!r}; give a whole number or null.",
            )
        halvings = 2 ** (len(self.multipliers) - 1)
        _require(
            self.resolution % halvings == 0,
            f"U-Net setting resolution is {self.resolution}, which {len(self.multipliers)} levels cannot "
            f"halve; give a multiple of {halvings} or fewer multipliers.",
        )
        levels = [self.resolution >> level for level in range(len(self.multipliers))]
        for name in (
            "attention_in_all_decoder_blocks", "bottleneck_attention", "scale_shift", "project_resampled",
            "resample_in_blocks", "skip_resampled",
        ):  # fmt: skip
            value = getattr(self, name)
            _require(isinstance(value, bool), f"U-Net setting {name} is {value!r}; give true or false.")
        head = self.attention_head_channels
        for level, multiplier in zip(levels, self.multipliers, strict=True):
            attends = level in self.attention_resolutions or (level == levels[-1] and self.bottleneck_attention)
            width = self.channels * multiplier
            _require(
                head is None or not attends or width % head == 0,
                f"U-Net setting attention_head_channels is {head}, which does not divide {width} channels.",
            )
        _require(
            _real(self.dropout) and 0.0 <= self.dropout < 1.0,
            f"U-Net setting dropout is {self.dropout!r}; give a number from 0 up to, but not, 1.",
        )
        _require(
            self.phi is None or (_real(self.phi) and 0.0 <= self.phi <= 1.0),
            f"U-Net setting phi is {self.phi!r}; give a number from 0 to 1, or null for no Prior ShakeDrop.",
        )
        for name in ("residual_scale", "norm_epsilon", "time_scale"):
            value = getattr(self, name)
            _require(_real(value) and value > 0, f"U-Net setting {name} is {value!r}; give a number above 0.")

    @property
    def input_shape(self) -> tuple[int, ...]:
        return (self.in_channels, self.resolution, self.resolution)

    @property
    def output_size(self) -> int:
        return self.in_channels if self.out_channels is None else self.out_channels

    def to_dict(self) -> dict[str, Any]:
        return _to_dict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "UNetConfig":
        return _from_dict(cls, values)


NetworkConfig = MLPConfig | UNetConfig
KINDS: dict[str, type] = {"mlp": MLPConfig, "unet": UNetConfig}


def network_config_from_dict(values: dict[str, Any]) -> NetworkConfig:
    """The config that `to_dict` wrote; its key "kind" says which. Raises UserError for anything else."""
    kind = values.get("kind") if isinstance(values, dict) else None
    if kind not in KINDS:
        raise UserError(f"The network's kind is {kind!r}; give one of {', '.join(sorted(KINDS))}.")
    return KINDS[kind].from_dict(values)


def with_shakedrop(config: NetworkConfig, phi: float | None) -> NetworkConfig:
    """The same network with Prior ShakeDrop's phi (None for off). Only a U-Net has skip connections to weigh."""
    if isinstance(config, UNetConfig):
        return replace(config, phi=phi)
    if phi is None:
        return config
    raise UserError(f"Prior ShakeDrop (phi = {phi}) needs a U-Net: an MLP has no skip connections. Leave phi empty.")


def _kind(config_class: type) -> str:
    return next(kind for kind, known in KINDS.items() if known is config_class)


def _to_dict(config: NetworkConfig) -> dict[str, Any]:
    values = {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(config).items()}
    return {"kind": _kind(type(config)), **values}


def _from_dict(config_class: type, values: dict[str, Any]) -> Any:
    kind = _kind(config_class)
    if not isinstance(values, dict):
        raise UserError(f"The settings of a network of kind {kind} must be a JSON object, not {values!r}.")
    if values.get("kind", kind) != kind:
        raise UserError(f"These settings are for a network of kind {values['kind']!r}, not {kind!r}.")
    known = {field.name for field in fields(config_class)}
    unknown = sorted(set(values) - known - {"kind"})
    if unknown:
        raise UserError(
            f"Unknown setting {', '.join(map(repr, unknown))} for a network of kind {kind}; "
            f"known are {', '.join(sorted(known))}."
        )
    return config_class(**{key: value for key, value in values.items() if key != "kind"})
