"""Every choice of a run in one frozen record, and the presets: toy, scaled, and the paper's three.

The records check types, ranges and unknown keys by pydantic; JSON goes both ways (``to_dict``, ``from_dict``).
"""

from collections.abc import Iterable
from dataclasses import replace
from typing import Annotated, Literal

from pydantic import (
    BeforeValidator,
    ConfigDict,
    Field,
    InstanceOf,
    PlainSerializer,
    TypeAdapter,
    ValidationError,
)
from pydantic.dataclasses import dataclass

from lib.cud.catchup import scheme_named
from lib.cud.networks import presets as networks
from lib.cud.networks.config import MLPConfig, NetworkConfig, UNetConfig, network_config_from_dict
from lib.errors import UserError
from lib.training.settings import changed

_STRICT = ConfigDict(extra="forbid", allow_inf_nan=False)
Network = Annotated[
    InstanceOf[MLPConfig] | InstanceOf[UNetConfig],
    BeforeValidator(lambda value: network_config_from_dict(value) if isinstance(value, dict) else value),
    PlainSerializer(lambda network: network.to_dict()),
]


@dataclass(frozen=True, config=_STRICT)
class CatchUpConfig:
    """The catch-up term. Defaults are the published commands'.

    Attributes:
        scheme: rk12, rk23, rk34 (as released) or rk34_exact. It sets the number of heads.
        chained: each look-ahead point is its own Runge-Kutta step, instead of a straight extrapolation.
        step_size, grid: how h is drawn, and T_N (``lib.cud.step_sizes``).
        discrete_time: the ablation with t and h on the grid.
        weights, catch_up_weight, flow_weight: the schedule, and w1 and w2 where it is constant.
        teacher: ``online``: slopes and targets from the network itself (final official code); ``ema``: from its
            moving average (the paper's figure, and the first official code).
    """

    scheme: Literal["rk12", "rk23", "rk34", "rk34_exact"] = "rk12"
    chained: bool = False
    step_size: Literal["uniform", "rule", "fixed"] = "uniform"
    grid: Annotated[int, Field(ge=1, le=1_000_000)] = 16
    discrete_time: bool = False
    weights: Literal["constant", "ramp"] = "constant"
    catch_up_weight: Annotated[float, Field(ge=0)] = 1.0
    flow_weight: Annotated[float, Field(ge=0)] = 1.0
    teacher: Literal["online", "ema"] = "online"

    @property
    def heads(self) -> int:
        """K: one output head a future moment."""
        return scheme_named(self.scheme).heads


@dataclass(frozen=True, config=_STRICT)
class CouplingConfig:
    """Which noise goes with which datum: ``lib.cud.coupling``. ``encoder`` and ``beta`` serve the learnt one only."""

    kind: Literal["independent", "minibatch_ot", "learned"] = "independent"
    beta: Annotated[float, Field(ge=0)] = 20.0
    encoder: Network | None = None


@dataclass(frozen=True, config=_STRICT)
class OptimiserConfig:
    """Adam, its learning-rate curve, and the moving average of the weights.

    Attributes:
        warmup: iterations of linear warm-up.
        cosine: fall to zero along a half cosine after the warm-up; False keeps the rate flat (the paper).
        ema_start: what becomes of the first, random weights in the average (``lib.training.ema``): a short memory at
            first, or their share divided out. The official code keeps them, which after some ten thousand steps is the
            same.
    """

    steps: Annotated[int, Field(ge=1)]
    batch_size: Annotated[int, Field(ge=1)]
    learning_rate: Annotated[float, Field(gt=0)]
    warmup: Annotated[int, Field(ge=0)] = 0
    cosine: bool = False
    ema_decay: Annotated[float, Field(ge=0, lt=1)] = 0.999
    ema_start: Literal["plain", "unbiased", "ramp"] = "ramp"


@dataclass(frozen=True, config=_STRICT)
class SecondSessionConfig:
    """The distillation to one step (official code, ``train_distill_update.py``).

    Attributes:
        pairs: how many noises are drawn and carried to the data end.
        teacher_steps: N of the Euler walk whose clean estimates are the targets (16).
        stages: the indices m of the estimates that are learnt one after the other: easy, blurrier ones first.
        steps: iterations of each stage.
        anchor: weight of the pull towards the moving average's velocity (0.1).
    """

    pairs: Annotated[int, Field(ge=1)]
    steps: Annotated[int, Field(ge=1)]
    batch_size: Annotated[int, Field(ge=1)]
    learning_rate: Annotated[float, Field(gt=0)]
    teacher_steps: Annotated[int, Field(ge=1)] = 16
    stages: tuple[int, ...] = (8, 11, 14)
    anchor: Annotated[float, Field(ge=0)] = 0.1
    ema_decay: Annotated[float, Field(ge=0, lt=1)] = 0.999
    ema_start: Literal["plain", "unbiased", "ramp"] = "ramp"
    cosine: bool = False

    def __post_init__(self):
        if not self.stages or not all(0 <= m < self.teacher_steps for m in self.stages):
            raise ValueError(f"each stage must name one of the teacher's steps 0 to {self.teacher_steps - 1}")


@dataclass(frozen=True, config=_STRICT)
class CUDConfig:
    """A whole run: network, objective, optimiser, data and second session.

    ``catch_up=None`` is plain flow matching. ``data`` is the preset's own data set; the command line may name another.
    """

    name: str
    network: Network
    optimiser: OptimiserConfig
    data: str
    catch_up: CatchUpConfig | None = None
    coupling: CouplingConfig = CouplingConfig()
    wavelet_weight: Annotated[float, Field(ge=0)] = 0.0
    horizontal_flip: bool = False
    precision: str = "32-true"
    second_session: SecondSessionConfig | None = None

    def __post_init__(self):
        if self.coupling.kind == "learned" and self.coupling.encoder is None:
            raise ValueError("coupling: the learned kind needs an encoder network")
        if self.wavelet_weight and isinstance(self.network, MLPConfig):
            raise ValueError("wavelet_weight: the wavelet term needs images, and this network takes points")

    @property
    def heads(self) -> int:
        """K: the number of output heads."""
        return 1 if self.catch_up is None else self.catch_up.heads

    @property
    def network_has_dropout(self) -> bool:
        """With dropout the teacher's pass draws its own mask, so that the student's slope cannot stand in for it."""
        return getattr(self.network, "dropout", 0.0) > 0

    def to_dict(self) -> dict:
        """Plain JSON types, for ``config.json``."""
        return TypeAdapter(CUDConfig).dump_python(self, mode="json")

    @staticmethod
    def from_dict(values: dict) -> "CUDConfig":
        """The record that ``to_dict`` wrote. Raises UserError with the field at fault."""
        try:
            return TypeAdapter(CUDConfig).validate_python(values)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(str(part) for part in first["loc"])
            fault = first["msg"].removeprefix("Value error, ")
            raise UserError(f"configuration of cud: {place}{': ' * bool(place)}{fault}.") from None


def toy() -> CUDConfig:
    """Points in the plane, on the reader's laptop: seconds."""
    return CUDConfig(
        name="toy",
        network=networks.toy_mlp(),
        optimiser=OptimiserConfig(steps=3000, batch_size=256, learning_rate=2e-3, warmup=100, cosine=True),
        data="ring",
        catch_up=CatchUpConfig(),
        second_session=SecondSessionConfig(pairs=20_000, steps=500, batch_size=256, learning_rate=5e-3, cosine=True),
    )


def scaled() -> CUDConfig:
    """The embedded 8x8 digits, on the reader's laptop: some ten seconds."""
    return CUDConfig(
        name="scaled",
        network=networks.digits_unet(),
        optimiser=OptimiserConfig(steps=500, batch_size=64, learning_rate=6e-3, warmup=100, cosine=True),
        data="embedded",
        catch_up=CatchUpConfig(grid=4, step_size="fixed"),
        second_session=SecondSessionConfig(pairs=1_500, steps=120, batch_size=64, learning_rate=2e-3, cosine=True),
    )


def mnist() -> CUDConfig:
    """The paper's MNIST run: the official configuration, but with one φ for training and sampling.

    The shipped MNIST file trains with φ = 0.25 (a class default) and samples with 0.75; we keep 0.75 in both.
    """
    return CUDConfig(
        name="mnist",
        network=networks.mnist_unet(),
        optimiser=OptimiserConfig(
            steps=50_000, batch_size=256, learning_rate=3e-4, warmup=5_000, ema_decay=0.9999, ema_start="unbiased"
        ),
        data="mnist",
        catch_up=CatchUpConfig(),
        coupling=CouplingConfig("learned", beta=20.0, encoder=networks.mnist_encoder()),
        second_session=SecondSessionConfig(
            pairs=50_000, steps=40_000, batch_size=256, learning_rate=3e-4, ema_decay=0.9999, ema_start="plain"
        ),
    )


def cifar10() -> CUDConfig:
    """The paper's CIFAR-10 run, learnt coupling and ShakeDrop included, as the published commands have it."""
    return CUDConfig(
        name="cifar10",
        network=networks.cifar10_unet(),
        optimiser=OptimiserConfig(
            steps=500_000, batch_size=128, learning_rate=2e-4, warmup=5_000, ema_decay=0.9999, ema_start="unbiased"
        ),
        data="cifar10",
        catch_up=CatchUpConfig(),
        coupling=CouplingConfig("learned", beta=20.0, encoder=networks.cifar10_encoder()),
        horizontal_flip=True,
        second_session=SecondSessionConfig(
            pairs=50_000, steps=40_000, batch_size=128, learning_rate=2e-4, ema_decay=0.9999, ema_start="plain"
        ),
    )


def imagenet64() -> CUDConfig:
    """The author's ImageNet-64 run: class-conditional ADM network, wavelet term, independent pairs.

    The author kept three moving averages; ours is the one that was sampled.
    """
    return CUDConfig(
        name="imagenet64",
        network=networks.imagenet64_unet(),
        optimiser=OptimiserConfig(
            steps=500_000, batch_size=1024, learning_rate=4e-4, warmup=5_000, ema_decay=0.99994322, ema_start="unbiased"
        ),
        data="imagenet64",
        catch_up=CatchUpConfig(),
        wavelet_weight=1.0,
        horizontal_flip=True,
        precision="bf16-mixed",  # the author used fp16; bf16 needs no loss scale to save and resume
    )


PRESETS = {preset.__name__: preset for preset in (toy, scaled, mnist, cifar10, imagenet64)}


def preset_named(name: str) -> CUDConfig:
    """The preset of that name, or a UserError that lists the names. ``paper`` is the CIFAR-10 run."""
    if name == "paper":
        name = "cifar10"
    if name not in PRESETS:
        raise UserError(f"preset '{name}' of cud is not known: choose one of {', '.join(PRESETS)}, or paper.")
    return PRESETS[name]()


def encoder_for(network: NetworkConfig) -> NetworkConfig:
    """A learnt coupling's network, made as a velocity network is: twice the outputs, no classes, no ShakeDrop."""
    if isinstance(network, MLPConfig):
        return replace(network, out_dimension=2 * network.dimension, time=False)
    return replace(network, out_channels=2 * network.in_channels, classes=0, phi=None)


def with_method(config: CUDConfig, method: str) -> CUDConfig:
    """The same run with another objective, for comparisons at one budget.

    Methods: ``flow_matching`` (on independent pairs), ``minibatch_ot`` (flow matching on optimally assigned pairs),
    ``rk12``, ``rk23``, ``rk34``, ``rk34_exact`` (catch-up by another scheme, on the configured pairs), ``catch_up_ot``
    (the configured catch-up on assigned pairs), ``learned_coupling`` (flow matching with the encoder) and
    ``catch_up_learned``.
    """
    catch_up = config.catch_up or CatchUpConfig()
    encoder = config.coupling.encoder or encoder_for(config.network)
    learned = CouplingConfig("learned", beta=config.coupling.beta, encoder=encoder)
    assigned = CouplingConfig("minibatch_ot")
    changes = {
        "flow_matching": {"catch_up": None, "coupling": CouplingConfig()},
        "minibatch_ot": {"catch_up": None, "coupling": assigned},
        "catch_up_ot": {"catch_up": catch_up, "coupling": assigned},
        "learned_coupling": {"catch_up": None, "coupling": learned},
        "catch_up_learned": {"catch_up": catch_up, "coupling": learned},
        **{s: {"catch_up": replace(catch_up, scheme=s)} for s in ("rk12", "rk23", "rk34", "rk34_exact")},
    }
    if method not in changes:
        raise UserError(f"method '{method}' is not known: choose one of {', '.join(changes)}.")
    return replace(config, **changes[method])


def with_settings(config: CUDConfig, assignments: Iterable[str]) -> CUDConfig:
    """The same run with single settings changed, for ablations.

    Args:
        assignments: such as ``catch_up.teacher=ema`` or ``network.phi=0.25``: the path of a setting in ``to_dict``, and
            its value in JSON; a word needs no quotes.

    Raises:
        UserError: a path that leads to no setting, or a value that the setting does not take.
    """
    return CUDConfig.from_dict(changed(config.to_dict(), assignments, f"preset '{config.name}'"))


__all__ = [
    "PRESETS",
    "CUDConfig",
    "CatchUpConfig",
    "CouplingConfig",
    "OptimiserConfig",
    "SecondSessionConfig",
    "preset_named",
    "with_method",
    "with_settings",
]
