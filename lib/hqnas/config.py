"""Every choice of a search in one frozen record, and the presets: scaled, CIFAR-10, and the ImageNet stand-in.

The records check types, ranges and unknown keys by pydantic; JSON goes both ways (``to_dict``, ``from_dict``).
"""

from collections.abc import Iterable
from dataclasses import replace
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError, model_validator
from pydantic.dataclasses import dataclass

from lib.errors import UserError
from lib.training.settings import changed

_STRICT = ConfigDict(extra="forbid", allow_inf_nan=False)
Count = Annotated[int, Field(ge=1)]
NotNegative = Annotated[float, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(ge=0, le=1)]


@dataclass(frozen=True, config=_STRICT)
class StageConfig:
    """Blocks of one width: the first of them has the stride and changes the number of channels."""

    channels: Annotated[int, Field(ge=2)]
    stride: Annotated[int, Field(ge=1, le=2)]
    layers: Count


@dataclass(frozen=True, config=_STRICT)
class SpaceConfig:
    """The layers of a search space: ``lib.hqnas.space``.

    Attributes:
        stem, stem_stride: the first 3x3 convolution. stages: the searched blocks.
        first, last: channels of the blocks in front and behind that every network has (3x3, expansion 1 and 6), or 0.
        head: channels of a 1x1 convolution before the mean over the map; 0: none. dropout: before the classifier.
    """

    stem: Count
    stages: Annotated[tuple[StageConfig, ...], Field(min_length=1)]
    stem_stride: Annotated[int, Field(ge=1, le=2)] = 1
    first: Annotated[int, Field(ge=0)] = 0
    last: Annotated[int, Field(ge=0)] = 0
    head: Annotated[int, Field(ge=0)] = 0
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0

    def to_dict(self) -> dict:
        """Plain JSON types."""
        return TypeAdapter(SpaceConfig).dump_python(self, mode="json")


@dataclass(frozen=True, config=_STRICT)
class GateConfig:
    """How weights, thresholds and bits are compared: ``lib.hqnas.gates`` and ``lib.hqnas.quantizer``.

    Attributes:
        temperature: of the sigmoid whose slope a gate has backwards.
        bits: whether bit-widths are searched. If not, ``start_bits`` holds for all searched convolutions; 0: no
            quantization at all, neither of weights nor of activations.
        clip: the range of the quantization. ``shared``: one for all widths, the largest weight (the paper's nesting in
            its purest form). ``per_width``: a tighter one for fewer bits, chosen for the least error.
        start_bits: 8: all gates open at the start.
        bit_scales: what the norms of r_4 and r_8, over that of the weight, are multiplied by. So scaled they begin
            near 1 for random weights, as those of the shapes do. Begun at half of that, where a sigmoid of this
            temperature is several times as steep, bits were given up long before anything else was asked.
    """

    temperature: Positive = 0.3
    bits: bool = True
    clip: Literal["shared", "per_width"] = "per_width"
    start_bits: Literal[0, 2, 4, 8] = 8
    bit_scales: tuple[Positive, Positive] = (2.4, 10.5)


@dataclass(frozen=True, config=_STRICT)
class ObjectiveConfig:
    """How task and hardware are weighed: ``lib.hqnas.objective``.

    Attributes:
        form: ``absolute``: CE + strength * |cost / T - 1|; ``hinge``: CE + strength * relu(cost / T - 1);
            ``additive``: CE + strength * log(cost / T); ``multiplicative``: CE * (cost / T) ** strength (our reading of
            "Pareto reward").
        target: T, as a share of what the largest network of the space costs at 8 bits.
    """

    form: Literal["absolute", "hinge", "additive", "multiplicative"] = "absolute"
    strength: NotNegative = 0.5
    target: Annotated[float, Field(gt=0, le=1)] = 0.25


@dataclass(frozen=True, config=_STRICT)
class RecipeConfig:
    """How weights are trained, in the search and after it.

    Attributes:
        schedule: ``cosine``: to zero along half a cosine, after ``warmup`` steps; ``exponential``: times ``decay``
            every ``decay_steps`` steps.
        flip: mirror half of the images. shift: move images by up to so many pixels.
    """

    steps: Count
    batch_size: Annotated[int, Field(ge=2)] = 64
    optimiser: Literal["adamw", "sgd", "rmsprop"] = "adamw"
    learning_rate: Positive = 5e-3
    momentum: Share = 0.9
    weight_decay: NotNegative = 1e-4
    schedule: Literal["cosine", "exponential"] = "cosine"
    warmup: Annotated[int, Field(ge=0)] = 0
    decay: Annotated[float, Field(gt=0, le=1)] = 0.97
    decay_steps: Count = 1000
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    flip: bool = False
    shift: Annotated[int, Field(ge=0)] = 0


@dataclass(frozen=True, config=_STRICT)
class SearchConfig:
    """The search: ``lib.hqnas.search``.

    Attributes:
        recipe: of the shared weights. gates, objective: see there.
        warm: share of the steps before thresholds move; they learn nothing but weights.
        frozen: share of the steps, at the end, in which all gates stay as they are and the weights settle.
        threshold_optimiser, threshold_rate: of the thresholds; the rate falls to zero until the gates freeze. With
            ``adam`` all thresholds move at one speed, whatever their gates save; with ``sgd`` (momentum 0.9) those
            whose gates save most close first.
    """

    recipe: RecipeConfig
    gates: GateConfig = GateConfig()
    objective: ObjectiveConfig = ObjectiveConfig()
    warm: Share = 0.2
    frozen: Share = 0.2
    threshold_optimiser: Literal["sgd", "adam"] = "sgd"
    threshold_rate: Positive = 0.03

    @model_validator(mode="after")
    def _time_is_left(self):
        if self.warm + self.frozen >= 1:
            raise ValueError("warm and frozen together leave no step for the thresholds: make them smaller")
        return self


@dataclass(frozen=True, config=_STRICT)
class HQNASConfig:
    """A search and the training of what it finds.

    Attributes:
        hardware: the device whose cost counts (``lib.hqnas.hardware``): a name, or a file with a table.
        retrain: the recipe of the found network, with its bits fixed. inherit: whether it starts from the weights of
            the search instead of random ones.
        test_shift: test images are judged in every place up to so many pixels away (``lib.hqnas.comparison``).
    """

    name: str
    space: SpaceConfig
    search: SearchConfig
    retrain: RecipeConfig
    hardware: str = "compute-bound"
    inherit: bool = True
    test_shift: Annotated[int, Field(ge=0)] = 0
    data: str = "embedded"

    def to_dict(self) -> dict:
        """Plain JSON types, for ``config.json``."""
        return TypeAdapter(HQNASConfig).dump_python(self, mode="json")

    @staticmethod
    def from_dict(values: dict) -> "HQNASConfig":
        """The record that ``to_dict`` wrote. Raises UserError with the field at fault."""
        try:
            return TypeAdapter(HQNASConfig).validate_python(values)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(str(part) for part in first["loc"])
            fault = first["msg"].removeprefix("Value error, ")
            raise UserError(f"configuration of hqnas: {place}{': ' * bool(place)}{fault}.") from None


def _mobile_stages(strides: tuple[int, ...]) -> tuple[StageConfig, ...]:
    return tuple(StageConfig(width, stride, 4) for width, stride in zip((24, 40, 80, 96, 192), strides, strict=True))


def scaled() -> HQNASConfig:
    """The reader's laptop: 8x8 digits, five searched blocks, some seconds a search."""
    return HQNASConfig(
        name="scaled",
        space=SpaceConfig(stem=8, stages=(StageConfig(8, 1, 1), StageConfig(12, 2, 2), StageConfig(16, 2, 2))),
        search=SearchConfig(RecipeConfig(steps=400, shift=1)),
        retrain=RecipeConfig(steps=400, shift=1),
        test_shift=1,
    )


def real() -> HQNASConfig:
    """MNIST, Fashion-MNIST, CIFAR-10 and folders of such images, in minutes on one core: wider, and twice the steps."""
    small = scaled()
    recipe = replace(small.retrain, steps=800)
    return replace(
        small,
        name="real",
        space=SpaceConfig(
            stem=12, stem_stride=2, stages=(StageConfig(12, 1, 1), StageConfig(20, 2, 2), StageConfig(32, 2, 2))
        ),
        search=replace(small.search, recipe=recipe),
        retrain=recipe,
        test_shift=0,
        data="mnist",
    )


def cifar10() -> HQNASConfig:
    """CIFAR-10 at a paper-like size. The paper's recipe could not be read: this one is ours."""
    return HQNASConfig(
        name="cifar10",
        space=SpaceConfig(stem=32, first=16, stages=_mobile_stages((1, 2, 2, 1, 2)), last=320, head=1280, dropout=0.2),
        search=SearchConfig(
            RecipeConfig(
                steps=50 * 391, batch_size=128, optimiser="sgd", learning_rate=0.05, weight_decay=4e-5, warmup=391,
                flip=True, shift=4,
            ),
            warm=0.3,
        ),
        retrain=RecipeConfig(
            steps=300 * 391, batch_size=128, optimiser="sgd", learning_rate=0.05, weight_decay=4e-5, warmup=391,
            flip=True, shift=4,
        ),
        hardware="bitfusion-small",
        inherit=False,
        data="cifar10",
    )  # fmt: skip


def imagenet() -> HQNASConfig:
    """ImageNet at 224 pixels: space and search recipe of Single-Path NAS's release, which stand in for the paper's."""
    epoch = 1251  # steps of 1,024 of the 1.28 million images
    recipe = RecipeConfig(
        steps=8 * epoch, batch_size=1024, optimiser="rmsprop", learning_rate=0.016 * 1024 / 256, weight_decay=1e-5,
        schedule="exponential", decay=0.97, decay_steps=round(2.4 * epoch), label_smoothing=0.1, flip=True,
    )  # fmt: skip
    return HQNASConfig(
        name="imagenet",
        space=SpaceConfig(
            stem=32, stem_stride=2, first=16, stages=_mobile_stages((2, 2, 2, 1, 2)), last=320, head=1280, dropout=0.2
        ),
        search=SearchConfig(recipe, objective=ObjectiveConfig("additive", 0.05), warm=5 / 8, frozen=0.1),
        retrain=replace(recipe, steps=350 * epoch),
        hardware="bitfusion-large",
        inherit=False,
        data="imagenet",
    )


PRESETS = {"scaled": scaled, "real": real, "cifar10": cifar10, "imagenet": imagenet}


def preset_named(name: str) -> HQNASConfig:
    """The preset of that name, or a UserError that lists the names. ``paper`` is ImageNet's."""
    if name == "paper":
        name = "imagenet"
    if name not in PRESETS:
        raise UserError(f"preset '{name}' of hqnas is not known: choose one of {', '.join(PRESETS)}, or paper.")
    return PRESETS[name]()


def with_settings(config: HQNASConfig, assignments: Iterable[str]) -> HQNASConfig:
    """The same run with single settings changed: ``search.objective.target=0.3``."""
    return HQNASConfig.from_dict(changed(config.to_dict(), assignments, f"preset '{config.name}'"))
