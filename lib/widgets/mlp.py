"""A small velocity network as bytes, to be run by a widget's script, and the same forward pass in NumPy."""

import numpy as np
from torch import nn

from lib.errors import UserError


def pack_mlp(model: nn.Module, head: int = 1) -> bytes:
    """The weights of one head of an MLP velocity model, as float16.

    Layout, little-endian: uint16 [uses time, layers, inputs, outputs, inputs, outputs, …], then for each layer its
    weight (outputs, inputs) and its bias. SiLU stands after every layer but the last.

    Args:
        model: its `trunk` is a sequence of Linear and SiLU layers on (x, y) or (x, y, t); `heads` holds Linear layers.
        head: which head, counted from 1.

    Raises:
        UserError: another kind of network, a head that is not there, or weights beyond float16.
    """
    if not 1 <= head <= len(model.heads):
        raise UserError(f"Head {head} is asked for; the model has heads 1 to {len(model.heads)}.")
    parts = [*model.trunk, model.heads[head - 1]] if isinstance(model.trunk, nn.Sequential) else []
    layers = parts[::2]
    plain = (
        len(parts) >= 3
        and len(parts) % 2 == 1
        and all(isinstance(p, nn.Linear) and p.bias is not None for p in layers)
        and all(isinstance(p, nn.SiLU) for p in parts[1::2])
    )
    if not plain or layers[0].in_features not in (2, 3) or layers[-1].out_features != 2:
        raise UserError("The particle widget runs a plain MLP on points in the plane: Linear and SiLU layers only.")
    header = [int(layers[0].in_features == 3), len(layers)]
    arrays = []
    for layer in layers:
        header += [layer.in_features, layer.out_features]
        arrays += [layer.weight, layer.bias]
    values = np.concatenate([a.detach().cpu().numpy().ravel() for a in arrays])
    if not np.isfinite(values).all() or np.abs(values).max() > np.finfo(np.float16).max:
        raise UserError("The model has weights that are not finite, or too large for 16 bits: did training diverge?")
    return np.array(header, "<u2").tobytes() + values.astype("<f2").tobytes()


def unpack_mlp(packed: bytes) -> tuple[bool, list[tuple[np.ndarray, np.ndarray]]]:
    """Undo `pack_mlp`: does the network take the time, and its layers as (weight, bias) in float32."""
    words = np.frombuffer(packed, "<u2")
    count = int(words[1])
    sizes = words[2 : 2 + 2 * count].reshape(count, 2).astype(int)
    values = words[2 + 2 * count :].view("<f2").astype(np.float32)
    layers, at = [], 0
    for inputs, outputs in sizes:
        weight = values[at : at + inputs * outputs].reshape(outputs, inputs)
        at += inputs * outputs
        layers.append((weight, values[at : at + outputs]))
        at += outputs
    return bool(words[0]), layers


def run_packed(packed: bytes, x: np.ndarray, t: float) -> np.ndarray:
    """v(x, t), shape (batch, 2), of a packed network; the NumPy twin of `velocity` in the widget's script.

    Args:
        packed: from `pack_mlp`.
        x: points, shape (batch, 2).
        t: time in [0, 1].
    """
    uses_time, layers = unpack_mlp(packed)
    values = np.asarray(x, np.float32)
    if uses_time:
        values = np.column_stack([values, np.full(len(values), t, np.float32)])
    for number, (weight, bias) in enumerate(layers):
        values = values @ weight.T + bias
        if number + 1 < len(layers):
            values = values / (1 + np.exp(-values))
    return values
