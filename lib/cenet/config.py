"""Every choice of a keyword spotter in one frozen record, and the presets: scaled, and the paper's six networks.

The records check types, ranges and unknown keys by pydantic; JSON goes both ways (``to_dict``, ``from_dict``).
"""

from collections.abc import Iterable
from dataclasses import asdict, replace
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError, model_validator
from pydantic.dataclasses import dataclass

from lib.errors import UserError
from lib.speech.audio import SAMPLE_RATE
from lib.speech.features import FeatureConfig
from lib.training.settings import changed

_STRICT = ConfigDict(extra="forbid", allow_inf_nan=False)
Count = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
SMALLEST_MAP = 8
"""Fewest frames, and fewest features of a frame, that every network can halve as often as it does."""


@dataclass(frozen=True, config=_STRICT)
class GraphConfig:
    """The graph module: ``lib.cenet.graph``.

    Attributes:
        stages: where it stands: any of 1, 2, 3. The paper: all three.
        adjacency: ``learned`` (the paper), or a control with the same weights: ``identity`` (every place sees only
            itself), ``uniform`` (the plain mean of all places), ``banded`` (learned, but only near places count).
        scaled: divide the similarities by the root of their width c/4, which the paper does not mention.
        reach: how many places far ``banded`` sees.
    """

    stages: tuple[Annotated[int, Field(ge=1, le=3)], ...] = (1, 2, 3)
    adjacency: Literal["learned", "identity", "uniform", "banded"] = "learned"
    scaled: bool = False
    reach: Annotated[int, Field(ge=0)] = 1

    @model_validator(mode="after")
    def _stages_differ(self):
        if len(set(self.stages)) != len(self.stages):
            raise ValueError(f"a stage has one graph at most, stages are {list(self.stages)}")
        return self


@dataclass(frozen=True, config=_STRICT)
class CENetConfig:
    """CENet: the number in its name counts the residual blocks, sum(repetitions) + 3.

    Attributes:
        repetitions: bottleneck blocks of each stage, before its connection block.
        channels: after the initial block and after each stage. ratios: a block's narrow middle has c / ratio channels.
        graph: None is the plain CENet.
    """

    repetitions: tuple[Annotated[int, Field(ge=0)], Annotated[int, Field(ge=0)], Annotated[int, Field(ge=0)]]
    channels: tuple[Count, Count, Count, Count] = (16, 32, 48, 64)
    ratios: tuple[Count, Count, Count] = (2, 4, 4)
    graph: GraphConfig | None = None
    family: Literal["cenet"] = "cenet"

    @model_validator(mode="after")
    def _channels_are_enough(self):
        for channels, ratio in zip(self.channels, self.ratios, strict=False):
            if channels < ratio:
                raise ValueError(f"a block of {channels} channels has no middle of one in {ratio}: lower its ratio")
        if self.graph and any(self.channels[stage] < 4 for stage in self.graph.stages):
            raise ValueError("a graph works on 4 channels or more: widen its stage")
        return self


@dataclass(frozen=True, config=_STRICT)
class TCResNetConfig:
    """TC-ResNet: channels of the first convolution and of each block. ``bands``: coefficients of a frame."""

    channels: Annotated[tuple[Count, ...], Field(min_length=1)] = (16, 24, 32, 48)
    bands: Count = 40
    dropout: Share = 0.5
    family: Literal["tc_resnet"] = "tc_resnet"


@dataclass(frozen=True, config=_STRICT)
class SpeechResNetConfig:
    """res8-narrow and res15: ``layers`` convolutions after the first; ``pool`` behind the first (frames, bands)."""

    layers: Count
    channels: Count
    pool: tuple[Count, Count] | None = None
    dilated: bool = False
    family: Literal["speech_resnet"] = "speech_resnet"


@dataclass(frozen=True, config=_STRICT)
class BCResNetConfig:
    """BC-ResNet: ``scale`` is its τ, which multiplies all widths. ``bands``: of a frame, a multiple of 40."""

    scale: Count = 1
    bands: Annotated[int, Field(multiple_of=40, ge=40)] = 40
    family: Literal["bc_resnet"] = "bc_resnet"


NetworkConfig = Annotated[
    CENetConfig | TCResNetConfig | SpeechResNetConfig | BCResNetConfig, Field(discriminator="family")
]

REPETITIONS = {6: (1, 1, 1), 24: (7, 7, 7), 40: (15, 15, 7)}
NETWORKS: dict[str, NetworkConfig] = {
    **{f"cenet-{depth}": CENetConfig(repeats) for depth, repeats in REPETITIONS.items()},
    **{f"cenet-gcn-{depth}": CENetConfig(repeats, graph=GraphConfig()) for depth, repeats in REPETITIONS.items()},
    "tc-resnet8": TCResNetConfig(),
    "tc-resnet14": TCResNetConfig((16, 24, 24, 32, 32, 48, 48)),
    "tc-resnet14-1.5": TCResNetConfig((24, 36, 36, 48, 48, 72, 72)),
    "res8-narrow": SpeechResNetConfig(6, 19, (4, 3)),
    "res15": SpeechResNetConfig(13, 45, dilated=True),
    "bc-resnet-1": BCResNetConfig(1),
    "bc-resnet-3": BCResNetConfig(3),
}
"""Every network of the chapter by its name."""


@dataclass(frozen=True, config=_STRICT)
class RecipeConfig:
    """How a network is trained.

    Attributes:
        schedule: ``one_cycle``: the rate rises for ``warmup`` steps, then falls to zero along half a cosine;
            ``steps``: it is divided by ten at each of ``boundaries``.
        weight_decay: of all weights but biases, normalisation and the graph's γ.
        label_smoothing: this share of the target is spread over all classes.
        train_on_validation: nothing here is chosen by validation; its speakers may as well be learnt from.
    """

    optimiser: Literal["adamw", "sgd"] = "adamw"
    learning_rate: Positive = 4e-3
    momentum: Share = 0.9
    weight_decay: NotNegative = 1e-2
    schedule: Literal["one_cycle", "steps"] = "one_cycle"
    warmup: Annotated[int, Field(ge=0)] = 0
    boundaries: tuple[Count, ...] = ()
    steps: Count = 600
    batch_size: Annotated[int, Field(ge=2)] = 64
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    train_on_validation: bool = False


@dataclass(frozen=True, config=_STRICT)
class AugmentConfig:
    """What happens to a sound before a network learns from it: ``lib.cenet.stream``.

    Attributes:
        shift_seconds: moved by up to so much to either side.
        speed: played faster or slower by up to this share (0.1: 0.9 to 1.1 times), which also moves the pitch.
        gain_decibels: louder or softer by up to so much.
        handset_decibels: a microphone of its own for each clip: at nine frequencies louder or softer by up to so much.
        noise_probability, snr: how often noise is added, and how loud: decibels below the speech, from and to.
        time_mask, frequency_mask: SpecAugment: the longest masks, in frames and bands; 0: none.
    """

    shift_seconds: NotNegative = 0.1
    speed: Annotated[float, Field(ge=0, lt=0.5)] = 0.0
    gain_decibels: NotNegative = 0.0
    handset_decibels: NotNegative = 0.0
    noise_probability: Share = 0.8
    snr: tuple[float, float] = (5.0, 20.0)
    time_mask: Annotated[int, Field(ge=0)] = 0
    frequency_mask: Annotated[int, Field(ge=0)] = 0

    @model_validator(mode="after")
    def _snr_rises(self):
        if self.snr[0] > self.snr[1]:
            raise ValueError(f"snr goes from its lower to its upper end, not from {self.snr[0]:g} to {self.snr[1]:g}")
        return self


@dataclass(frozen=True, config=_STRICT)
class KeywordConfig:
    """A keyword spotter, whole.

    Attributes:
        own_mean: each clip's bands have their mean over time taken away, and with it what a microphone adds to all.
        name: of the preset. seconds: how much sound it hears at once. data: what it is trained on by default.
    """

    name: str
    network: NetworkConfig
    features: FeatureConfig
    recipe: RecipeConfig
    augment: AugmentConfig
    own_mean: bool = False
    seconds: Annotated[float, Field(ge=0.2, le=10)] = 1.0
    data: str = "embedded"

    @model_validator(mode="after")
    def _parts_fit(self):
        features, width = self.features, self.features.width
        if features.sample_rate != SAMPLE_RATE:
            raise ValueError(f"all sounds have {SAMPLE_RATE} Hz, and features.sample_rate is {features.sample_rate}")
        if getattr(self.network, "bands", width) != width:
            raise ValueError(
                f"the network takes {self.network.bands} bands of a frame and the features have {width}: set "
                "network.bands too"
            )
        frames = features.frames(round(self.seconds * SAMPLE_RATE))
        if min(frames, width) < SMALLEST_MAP:
            raise ValueError(
                f"{self.seconds:g} s give {frames} frames of {width} features, and a network needs {SMALLEST_MAP} of "
                "both: more seconds, a shorter features.hop_seconds or more features.bands"
            )
        return self

    def to_dict(self) -> dict:
        """Plain JSON types, for ``config.json``."""
        return TypeAdapter(KeywordConfig).dump_python(self, mode="json")

    @staticmethod
    def from_dict(values: dict) -> "KeywordConfig":
        """The record that ``to_dict`` wrote. Raises UserError with the field at fault."""
        try:
            return TypeAdapter(KeywordConfig).validate_python(values)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(str(part) for part in first["loc"])
            fault = first["msg"].removeprefix("Value error, ")
            raise UserError(f"configuration of cenet: {place}{': ' * bool(place)}{fault}.") from None


SCALED_FEATURES = FeatureConfig("log_mel", window_seconds=0.03, hop_seconds=0.02, low_hz=20.0, high_hz=4000.0)
PAPER_FEATURES = FeatureConfig("mfcc", window_seconds=0.03, hop_seconds=0.01, low_hz=20.0, high_hz=4000.0)
"""The paper: a band-pass of 20 Hz to 4 kHz, which we read as the edges of the mel bands; 101 frames of 40 MFCCs."""


def scaled() -> KeywordConfig:
    """CENet-GCN-6 on the reader's laptop: 51 frames of 40 log-mel bands, some seconds a hundred steps."""
    return KeywordConfig(
        name="scaled",
        network=replace(NETWORKS["cenet-gcn-6"], graph=GraphConfig(scaled=True)),
        features=SCALED_FEATURES,
        recipe=RecipeConfig(learning_rate=6e-3, warmup=120, steps=800, batch_size=32, label_smoothing=0.1),
        augment=AugmentConfig(),
    )


def real() -> KeywordConfig:
    """For recordings of people: the scaled network, trained longer, with more that varies from voice to voice."""
    return replace(
        scaled(),
        name="real",
        recipe=RecipeConfig(
            learning_rate=1e-2, warmup=200, steps=3000, batch_size=32, label_smoothing=0.1, train_on_validation=True
        ),
        augment=AugmentConfig(speed=0.2, gain_decibels=10.0, snr=(5.0, 30.0), time_mask=8, frequency_mask=6),
        own_mean=True,
        data="speech_commands",
    )


def paper(network: str) -> KeywordConfig:
    """One of the paper's six networks, as published, with the public recipe that stands in for its unknown one.

    Features are the paper's. Optimiser, schedule and augmentation are those of Honk (Tang and Lin), whose features and
    task the paper shares: SGD, 26 epochs of Speech Commands, noise four times out of five.
    """
    return KeywordConfig(
        name=network,
        network=NETWORKS[network],
        features=PAPER_FEATURES,
        recipe=RecipeConfig(
            optimiser="sgd", learning_rate=0.1, weight_decay=1e-5, schedule="steps", boundaries=(3000, 6000),
            steps=9000, batch_size=64,
        ),
        augment=AugmentConfig(),
        data="speech_commands",
    )  # fmt: skip


PAPER_NETWORKS = tuple(name for name in NETWORKS if name.startswith("cenet"))
PRESETS = {
    "scaled": scaled,
    "real": real,
    **{name: (lambda name=name: paper(name)) for name in PAPER_NETWORKS},
}


def preset_named(name: str) -> KeywordConfig:
    """The preset of that name, or a UserError that lists the names. ``paper`` is CENet-GCN-40."""
    if name == "paper":
        name = "cenet-gcn-40"
    if name not in PRESETS:
        raise UserError(f"preset '{name}' of cenet is not known: choose one of {', '.join(PRESETS)}, or paper.")
    return PRESETS[name]()


def with_network(config: KeywordConfig, name: str) -> KeywordConfig:
    """The same run with another network. Under the scaled presets a graph's similarities stay scaled."""
    if name not in NETWORKS:
        raise UserError(f"network '{name}' is not known: choose one of {', '.join(NETWORKS)}.")
    network = NETWORKS[name]
    if isinstance(network, CENetConfig) and network.graph and getattr(config.network, "graph", None):
        network = replace(network, graph=config.network.graph)
    values = asdict(network)
    if "bands" in values:
        values["bands"] = config.features.width
    return KeywordConfig.from_dict(config.to_dict() | {"network": values})


def with_settings(config: KeywordConfig, assignments: Iterable[str]) -> KeywordConfig:
    """The same run with single settings changed: ``network.graph.adjacency=uniform``."""
    return KeywordConfig.from_dict(changed(config.to_dict(), assignments, f"preset '{config.name}'"))
