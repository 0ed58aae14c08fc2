"""A trained spotter as one ONNX file, for other programs: features in, logits out, and all that one needs to know.

The file holds the normalisation of the features and the network. Features are computed outside, as its metadata say:
`class_names` and `features` (JSON; `lib.speech.features.FeatureConfig`), `sample_rate` (Hz) and `seconds`.
"""

import contextlib
import copy
import io
import json
import logging
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from lib.cenet.spotter import Spotter
from lib.errors import UserError
from lib.files import write_whole
from lib.speech.features import FeatureConfig
from lib.training.seeding import generator

if TYPE_CHECKING:
    import onnx
    import onnxruntime

INPUT, OUTPUT = "features", "logits"
TOLERANCE = 1e-3
"""Of a logit; rounding alone makes a thousandth of that."""
CHECKED_BATCHES = (1, 5)


def export_onnx(spotter: Spotter, path: Path | str) -> float:
    """Write features (batch, frames, width) -> logits (batch, classes), any batch, frames as many as the spotter's.

    Returns:
        How far the logits of ONNX Runtime and ours lie apart at most, for random features.

    Raises:
        UserError: they lie more than `TOLERANCE` apart, and nothing is written; or the file cannot be.
    """
    network = copy.deepcopy(nn.Sequential(spotter.model.normalise, spotter.model.network)).eval().cpu()
    content = _described(_exported(network, _features(spotter, 2)), spotter).SerializeToString()
    session = _session(content)
    differences = []
    for batch in CHECKED_BATCHES:
        features = _features(spotter, batch)
        with torch.inference_mode():
            ours = network(features).numpy()
        differences.append(np.abs(ours - session.run([OUTPUT], {INPUT: features.numpy()})[0]).max())
    difference = float(np.max(differences))  # NaN, if there is one
    if not difference <= TOLERANCE:
        raise UserError(
            f"{path} was not written: as ONNX the logits differ by {difference:.1e}, over {TOLERANCE:g}; export a "
            "spotter whose training did not diverge."
        )
    try:
        write_whole(Path(path), content)
    except OSError as fault:
        raise UserError(f"{path} cannot be written ({fault.strerror}): choose another place.") from None
    return difference


@dataclass(frozen=True)
class OnnxSpotter:
    """What was exported, read back: a function from features to logits.

    Attributes:
        class_names: in the order of the logits. features: how to compute them. seconds: of sound heard at once.
    """

    session: "onnxruntime.InferenceSession"
    class_names: tuple[str, ...]
    features: FeatureConfig
    seconds: float

    def __call__(self, features: np.ndarray) -> np.ndarray:
        """Raw features, float32 (batch, frames, width) -> logits (batch, classes)."""
        return self.session.run([OUTPUT], {INPUT: np.asarray(features, np.float32)})[0]


def load_onnx(path: Path | str) -> OnnxSpotter:
    """Read what `export_onnx` wrote. Raises UserError for a file that is missing, damaged or another's."""
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path} is no file: name one that `papers export cenet` wrote.")
    from onnxruntime.capi import onnxruntime_pybind11_state as runtime

    try:
        session = _session(path.read_bytes())
    except (runtime.InvalidProtobuf, runtime.InvalidGraph, runtime.Fail, runtime.InvalidArgument):
        raise UserError(f"{path} cannot be read as ONNX: export it again.") from None
    about = session.get_modelmeta().custom_metadata_map
    try:
        names, features = json.loads(about["class_names"]), json.loads(about["features"])
        return OnnxSpotter(session, tuple(names), FeatureConfig.from_dict(features), float(about["seconds"]))
    except (KeyError, ValueError, TypeError):
        raise UserError(f"{path} says nothing of classes and features: it is no keyword spotter of ours.") from None


def _features(spotter: Spotter, batch: int) -> torch.Tensor:
    """Random features around those of the training, the same each time."""
    config = spotter.config.features
    chance = torch.randn(batch, config.frames(spotter.samples), config.width, generator=generator(batch))
    return spotter.model.normalise.mean.cpu() + spotter.model.normalise.deviation.cpu() * chance


def _exported(network: nn.Module, features: torch.Tensor) -> "onnx.ModelProto":
    with _quiet():
        program = torch.onnx.export(
            network,
            (features,),
            dynamo=True,
            verbose=False,
            input_names=[INPUT],
            output_names=[OUTPUT],
            dynamic_shapes=({0: torch.export.Dim("batch")},),
        )
        return program.model_proto


def _described(model: "onnx.ModelProto", spotter: Spotter) -> "onnx.ModelProto":
    """The model with what one must know of it, without the exporter's notes: they hold paths of this machine."""
    import onnx

    for node in (*model.graph.node, *(node for function in model.functions for node in function.node)):
        del node.metadata_props[:]
        node.doc_string = ""
    for part in (model.graph, *model.graph.value_info, *model.graph.input, *model.graph.output):
        del part.metadata_props[:]
        part.doc_string = ""
    config = spotter.config
    about = {
        "class_names": json.dumps(spotter.class_names),
        "features": json.dumps(config.features.to_dict()),
        "sample_rate": str(config.features.sample_rate),
        "seconds": str(config.seconds),
    }
    onnx.helper.set_model_props(model, about)
    return model


def _session(content: bytes) -> "onnxruntime.InferenceSession":
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3  # errors
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporter's chatter, which it prints, warns and logs."""
    chatty = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [one.level for one in chatty]
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        for one in chatty:
            one.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for one, level in zip(chatty, levels, strict=True):
                one.setLevel(level)
