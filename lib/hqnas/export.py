"""A trained network as one ONNX file, for other programs: compared with the network first, then written.

There are two forms. ``float32`` has the quantized weights as numbers, and activations that are not rounded. ``int8``
has the trained codes themselves, and ONNX Runtime computes with integers. It knows no convolution of 2 or 4 bits: there
each code takes a byte, and ``ExportReport.weight_bytes`` says what a device needs that packs them.
"""

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from lib.errors import UserError
from lib.files import write_whole
from lib.hqnas.evaluate import size_bytes
from lib.hqnas.folding import observed
from lib.hqnas.hardware.timing import ROUNDS, Latency, latencies_of
from lib.hqnas.model import FixedConv, Network
from lib.hqnas.onnx_file import FORMS, OnnxNetwork, load_onnx, metadata, network_of
from lib.hqnas.onnx_graph import FloatGraph, IntegerGraph, model_of
from lib.hqnas.quantizer import fixed_bits
from lib.hqnas.space import FIXED_BITS
from lib.hqnas.train import Deployable
from lib.training.seeding import generator
from lib.vision.data import ImageSet, to_float

TOLERANCE = 1e-3
"""Of a logit in floats; rounding alone makes a thousandth of that."""
MOST_LOST = 0.02
"""Accuracy that a file may lose: two points."""
CALIBRATION_IMAGES = 512
PIECE = 64
"""Images that are compared at once."""


@dataclass(frozen=True)
class Comparison:
    """A file beside the network in PyTorch.

    Attributes:
        images: that both named. torch_accuracy, onnx_accuracy: share that was named rightly. agreement: share that got
            the same name.
        difference: the largest of a logit; of ``float32``: to the network whose activations are not rounded.
    """

    images: int
    torch_accuracy: float
    onnx_accuracy: float
    agreement: float
    difference: float


@dataclass(frozen=True)
class ExportReport(Comparison):
    """What was written.

    Attributes:
        form: ``float32`` or ``int8``. file_bytes: of the file. weight_bytes: of all weights, each with its bits.
    """

    path: Path
    form: str
    file_bytes: int
    weight_bytes: int


def onnx_bytes(
    network: Network, *, int8: bool, calibration: Tensor | None = None, class_names: Sequence[str] | None = None
) -> bytes:
    """The content of an ONNX file, not compared with the network.

    Args:
        int8: whether in integers. calibration: images (n, channels, height, width) in -1 ... 1, on which the ranges of
            ``int8`` are observed. class_names: None: their numbers.

    Raises:
        UserError: numbers that are not finite; names for another number of classes; for ``int8`` a network without
            codes, or no fitting images.
    """
    from onnx import helper

    classes = network.space.classes
    names = [str(number) for number in range(classes)] if class_names is None else class_names
    if len(names) != classes:
        raise UserError(f"There are {len(names)} class names for {classes} outputs: give one name for each.")
    network = _at_rest(network)
    if int8:
        _check_calibration(network, calibration)
        graph = IntegerGraph(observed(network, calibration.float().cpu()))
    else:
        graph = FloatGraph()
    model = model_of(network, graph)
    helper.set_model_props(model, metadata(network, FORMS[int8], names))
    return model.SerializeToString()


def export_onnx(
    trained: Deployable | Network,
    path: Path | str,
    data: ImageSet,
    *,
    int8: bool = True,
    calibration: ImageSet | None = None,
    most_lost: float = MOST_LOST,
) -> ExportReport:
    """Compare the file with the network on images, then write it.

    Args:
        data: images that both name; of a ``Network`` it also tells the names of the classes.
        calibration: images for the ranges of ``int8``, best those of the training; None: ``data``.
        most_lost: accuracy that ``int8`` may lose.

    Raises:
        UserError: data that do not fit; a network that cannot be exported; logits of ``float32`` that lie more than
            ``TOLERANCE`` apart; more accuracy lost than ``most_lost``; a file that cannot be written. Then none is.
    """
    path, form = Path(path), FORMS[int8]
    calibration = data if calibration is None else calibration  # one without images is false, too
    network, names = trained, tuple(data.class_names)
    if isinstance(trained, Deployable):
        network, names = trained.network, trained.class_names
    for images in (data, calibration):
        _check_images(images, network, names)
    content = onnx_bytes(network, int8=int8, calibration=_spread(calibration) if int8 else None, class_names=names)
    found = _compared(_at_rest(network), network_of(content, "The export"), data)
    if not int8 and not found.difference <= TOLERANCE:
        raise UserError(
            f"{path} was not written: as ONNX the logits differ by {found.difference:.1e}, over {TOLERANCE:g}; export "
            "a network whose training did not diverge."
        )
    if int8 and found.torch_accuracy - found.onnx_accuracy > most_lost:
        raise UserError(
            f"{path} was not written: as int8 it names {found.onnx_accuracy:.1%} of {data.name} rightly, and in "
            f"PyTorch {found.torch_accuracy:.1%}; calibrate it on more images like these, or export float32."
        )
    try:
        write_whole(path, content)
    except OSError as fault:
        raise UserError(f"{path} cannot be written ({fault.strerror}): choose another place.") from None
    return ExportReport(
        found.images, found.torch_accuracy, found.onnx_accuracy, found.agreement, found.difference,
        path, form, len(content), _weight_bytes(network),
    )  # fmt: skip


def measured_latency(
    network: Network, *, calibration: Tensor | None = None, rounds: int = ROUNDS
) -> tuple[Latency, Latency]:
    """Time one image on this processor, on one thread: in float32 and in int8, in microseconds.

    Args:
        calibration: images for the ranges of ``int8``; random ones if None, since time does not depend on them.
        rounds: turns of each (``lib.hqnas.hardware.timing``).

    Raises:
        UserError: as for ``onnx_bytes``.
    """
    if calibration is None:
        calibration = torch.rand(8, *network.space.image_shape, generator=generator(0)) * 2 - 1
    models = {form: onnx_bytes(network, int8=form == FORMS[1], calibration=calibration) for form in FORMS}
    found = latencies_of(models, rounds=rounds)
    return found[FORMS[0]], found[FORMS[1]]


@torch.inference_mode()
def _compared(network: Network, file: OnnxNetwork, data: ImageSet) -> Comparison:
    """Both on the same images, read and named in pieces."""
    meant = _unrounded(network) if file.form == FORMS[0] else network
    predictions, others, differences = [], [], []
    for part in torch.arange(len(data)).split(PIECE):
        images = to_float(data.read(part))
        logits, written = network(images), torch.from_numpy(file(images.numpy()))
        predictions.append(logits.argmax(1))
        others.append(written.argmax(1))
        differences.append(float((written - (logits if meant is network else meant(images))).abs().max()))
    ours, theirs = torch.cat(predictions), torch.cat(others)
    shares = [float(equal.double().mean()) for equal in (ours == data.labels, theirs == data.labels, ours == theirs)]
    return Comparison(len(data), *shares, float(np.max(differences)))  # NaN, if there is one


def _at_rest(network: Network) -> Network:
    """A copy in evaluation mode on the processor. Raises UserError when a number of it is not finite."""
    network = copy.deepcopy(network).cpu().eval().requires_grad_(False)
    if not all(bool(value.isfinite().all()) for value in network.state_dict().values()):
        raise UserError("The network has numbers that are not finite: export one whose training did not diverge.")
    return network


def _unrounded(network: Network) -> Network:
    """What ``float32`` computes: the quantized weights, with activations that are not rounded."""
    if not network.quantized:
        return network
    network = copy.deepcopy(network)
    for layer in network.modules():
        if isinstance(layer, FixedConv):
            layer.weight.copy_(fixed_bits(layer.weight, layer.bits, layer.clip))
    network.classifier.weight.copy_(fixed_bits(network.classifier.weight, FIXED_BITS, network.clip))
    network.quantized = False
    return network


def _check_calibration(network: Network, images: Tensor | None) -> None:
    """Raises UserError when ranges cannot be observed on these images, or the network has no codes."""
    if not network.quantized:
        raise UserError(
            "The network has weights in floats, without codes: retrain it with its bits, or export float32."
        )
    shape = network.space.image_shape
    fits = images is not None and len(images) and images.is_floating_point() and tuple(images.shape[1:]) == shape
    if not fits or not float(images.abs().max()) <= 1:
        raise UserError(
            f"An int8 file needs images of {_size(shape)} numbers in -1 ... 1, on which its ranges are observed: "
            "calibrate it on some of the training data."
        )


def _check_images(data: ImageSet, network: Network, class_names: tuple[str, ...]) -> None:
    """Raises UserError when the network cannot name these images."""
    if not len(data):
        raise UserError(f"{data.name} has no image to compare with: name another split or folder.")
    shape = network.space.image_shape
    if tuple(data.shape) != shape:
        raise UserError(
            f"{data.name} has images of {_size(data.shape)} numbers and the network takes {_size(shape)}: name data "
            "like those that it learnt."
        )
    if tuple(data.class_names) != class_names or len(class_names) != network.space.classes:
        raise UserError(f"{data.name} has other classes than the network: name data of the classes that it learnt.")


def _size(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))


def _spread(data: ImageSet) -> Tensor:
    """Some images from all over the data, as floats: folders are sorted by class."""
    count = min(len(data), CALIBRATION_IMAGES)
    return to_float(data.read(torch.arange(count) * len(data) // count))


def _weight_bytes(network: Network) -> int:
    if network.quantized:
        return math.ceil(size_bytes(network.space, network.choices))
    return 4 * sum(conv.parameters for _, conv, _ in network.space.convs(network.choices))


__all__ = ["Comparison", "ExportReport", "OnnxNetwork", "export_onnx", "load_onnx", "measured_latency", "onnx_bytes"]
