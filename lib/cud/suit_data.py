"""A preset meets data of another shape: which of the two gives way, and what the reader is told.

A folder's images are scaled and cropped to the network's resolution. Known sets are not touched: there the network
takes the resolution of the data. The number of channels is always that of the data, and so is the number of classes,
for a network that is told the class.
"""

from dataclasses import replace
from pathlib import Path

from lib.cud.config import PRESETS, CUDConfig
from lib.cud.networks.config import MLPConfig, UNetConfig
from lib.cud.points import SHAPES
from lib.cud.train import Data, load_data
from lib.errors import UserError
from lib.files import at_home
from lib.vision.data import EMBEDDED_NAMES, KNOWN_SETS, ImageSet


def load_suited(config: CUDConfig, name: str | None) -> tuple[CUDConfig, Data, list[str]]:
    """The training data ``name`` (None: the preset's own), the configuration that takes them, and notes on changes.

    Raises:
        UserError: points for a network of images or the other way round, images that the network cannot be built for,
            or whatever is wrong with the data themselves.
    """
    name = _resolved(config, name)
    if isinstance(config.network, MLPConfig):
        if name not in SHAPES:
            raise UserError(
                f"preset '{config.name}' takes points of the plane ({', '.join(SHAPES)}), not '{name}': for images "
                f"choose one of the presets {', '.join(_image_presets())}."
            )
        return replace(config, data=name), load_data(name), []
    if name in SHAPES:
        raise UserError(f"preset '{config.name}' takes images, and '{name}' is a cloud of points: choose preset toy.")
    folder = Path(name).is_dir()
    images = load_data(name, size=config.network.resolution if folder else None)
    notes = [f"data: {images.describe()}."]
    if folder:
        notes.append(f"note: images are scaled and cropped to {config.network.resolution}x{config.network.resolution}.")
    config, changes = suited(replace(config, data=name), images)
    return config, images, notes + changes


def suited(config: CUDConfig, images: ImageSet) -> tuple[CUDConfig, list[str]]:
    """The configuration with the channels, resolution and classes of ``images``, and notes on what was changed.

    A network without classes stays so, and so does the encoder of a learnt coupling.

    Raises:
        UserError: images that are not square, or a side that the network cannot halve often enough.
    """
    channels, height, width = images.shape
    network, notes = config.network, []
    if (network.in_channels, network.resolution) != (channels, height) or height != width:
        halvings = 2 ** (len(network.multipliers) - 1)
        if height != width or height % halvings:
            raise UserError(
                f"{images.name} has images of {height}x{width}; the network of preset '{config.name}' needs squares "
                f"with a side that {halvings} divides: {_advice(height, width)}."
            )
        encoder = config.coupling.encoder
        if encoder is not None:
            encoder = replace(encoder, in_channels=channels, out_channels=2 * channels, resolution=height)
        network = replace(network, in_channels=channels, resolution=height)
        config = replace(config, coupling=replace(config.coupling, encoder=encoder))
        notes.append(f"takes {_shape(network)} instead of {_shape(config.network)}")
    classes = len(images.class_names)
    if network.classes and network.classes != classes:
        network = replace(network, classes=classes)
        notes.append(f"knows {classes} class{'es' * (classes != 1)} instead of {config.network.classes}")
    if not notes:
        return config, []
    changed = replace(config, network=network)
    return changed, [f"note: the network of preset '{config.name}' {' and '.join(notes)}, as the data do."]


def _resolved(config: CUDConfig, name: str | None) -> str:
    if name is None or (name in EMBEDDED_NAMES and isinstance(config.network, MLPConfig)):
        name = config.data
    if name in SHAPES or name in EMBEDDED_NAMES or name in KNOWN_SETS:
        return name
    if name in PRESETS:
        raise UserError(
            f"preset '{config.name}' brings no data of its own: name a folder of images with --data FOLDER."
        )
    path = at_home(name)
    return str(path.resolve()) if path.exists() else name


def _advice(height: int, width: int) -> str:
    if height != width:
        return "crop them, or keep them as files in a folder, which are cropped on reading"
    fitting = [n for n, make in _image_presets().items() if height % 2 ** (len(make().network.multipliers) - 1) == 0]
    return f"choose preset {' or '.join(fitting)}" if fitting else "put them into a folder: its images are scaled"


def _image_presets() -> dict:
    return {name: make for name, make in PRESETS.items() if isinstance(make().network, UNetConfig)}


def _shape(network: UNetConfig) -> str:
    return f"{network.in_channels}x{network.resolution}x{network.resolution}"
