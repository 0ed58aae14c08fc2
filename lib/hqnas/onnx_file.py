"""What an exported file says of itself, and reading it back: a function from images to logits.

Metadata, as JSON where it is not a word: `format`, `version`, `form`, `class_names`, `image_shape` (channels, height,
width), `pixel_range`, `policy` (the choice of each searched block), and `bits` of each convolution by name.

On x86 processors without VNNI sums of two int8 products may overflow in ONNX Runtime. Here a session option mends that,
`session.x64quantprecision`; other programs should set it, too.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lib.errors import UserError
from lib.hqnas.folding import IMAGE
from lib.hqnas.hardware.session import session_options
from lib.hqnas.model import Network
from lib.hqnas.onnx_graph import LOGITS
from lib.hqnas.space import choices_to_list

if TYPE_CHECKING:
    import onnxruntime

FORMAT, VERSION = "hqnas-network", "1"
FORMS = ("float32", "int8")


@dataclass(frozen=True)
class OnnxNetwork:
    """What was exported, read back: a function from images to logits, on one thread.

    Attributes:
        class_names: in the order of the logits. image_shape: (channels, height, width). form: ``float32`` or ``int8``.
    """

    session: "onnxruntime.InferenceSession"
    class_names: tuple[str, ...]
    image_shape: tuple[int, int, int]
    form: str

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Images (batch, channels, height, width) in -1 ... 1 -> logits (batch, classes), float32.

        Raises:
            UserError: images of another shape.
        """
        images = np.asarray(images, np.float32)
        if images.shape[1:] != self.image_shape:
            raise UserError(
                f"The images have the shape {images.shape} and the network takes (batch, "
                f"{', '.join(map(str, self.image_shape))}): scale and crop them to it."
            )
        return self.session.run([LOGITS], {IMAGE: images})[0]


def load_onnx(path: Path | str) -> OnnxNetwork:
    """Read what ``lib.hqnas.export`` wrote. Raises UserError for a file that is missing, damaged or another's."""
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path} is no file: name one that `papers export hqnas` wrote.")
    try:
        content = path.read_bytes()
    except OSError as fault:
        raise UserError(f"{path} cannot be read ({fault.strerror}): name a file that you may read.") from None
    return network_of(content, str(path))


def network_of(content: bytes, source: str) -> OnnxNetwork:
    """The content of a file as a function. Raises UserError, with the name of its source, when it is none of ours."""
    session = _session(content, source)
    about = session.get_modelmeta().custom_metadata_map
    if about.get("format") != FORMAT:
        raise UserError(f"{source} is no network of ours: name a file that `papers export hqnas` wrote.")
    if about.get("version") != VERSION:
        raise UserError(f"{source} has version {about.get('version')}, and {VERSION} is read here: export it again.")
    try:
        names, shape, form = json.loads(about["class_names"]), json.loads(about["image_shape"]), about["form"]
        (image,), (logits,) = session.get_inputs(), session.get_outputs()
        found = image.name, image.shape[1:], logits.name, logits.shape[1:]
        if found != (IMAGE, shape, LOGITS, [len(names)]) or form not in FORMS:
            raise ValueError("the metadata are of another graph")
        return OnnxNetwork(session, tuple(map(str, names)), tuple(shape), form)
    except (KeyError, ValueError, TypeError):
        raise UserError(f"{source} does not say which classes and images it is for: export it again.") from None


def metadata(network: Network, form: str, class_names: Sequence[str]) -> dict[str, str]:
    """All that one needs to know of a network."""
    bits = {name: bits if network.quantized else 32 for name, _, bits in network.space.convs(network.choices)}
    return {
        "format": FORMAT,
        "version": VERSION,
        "form": form,
        "class_names": json.dumps(list(class_names)),
        "image_shape": json.dumps(network.space.image_shape),
        "pixel_range": json.dumps([-1, 1]),
        "policy": json.dumps(choices_to_list(network.choices)),
        "bits": json.dumps(bits),
    }


def _session(content: bytes, source: str) -> "onnxruntime.InferenceSession":
    import onnxruntime
    from onnxruntime.capi import onnxruntime_pybind11_state as runtime

    try:
        return onnxruntime.InferenceSession(content, session_options(), providers=["CPUExecutionProvider"])
    except (
        runtime.InvalidProtobuf,
        runtime.InvalidGraph,
        runtime.InvalidArgument,
        runtime.Fail,
        runtime.NotImplemented,
        runtime.RuntimeException,
    ):
        raise UserError(f"{source} cannot be read as ONNX: export it again.") from None
