"""How long an ONNX model takes under ONNX Runtime, on one thread.

On a busy machine single times are noise. So models take turns, each in many short ones, and what counts is the least
time of one call: what the machine can do when nothing comes between.
"""

import time
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from lib.errors import UserError
from lib.hqnas.hardware.graphs import random_inputs
from lib.hqnas.hardware.session import session_options

if TYPE_CHECKING:
    import onnxruntime

ROUNDS = 20
"""Turns of each model."""
CALLS = 10
"""Calls in a turn, at most."""
TURN_NANOSECONDS = 3_000_000
"""After so long a turn ends, be it with one call."""
Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True)
class Latency:
    """Microseconds of one call: the least, and the median of all calls."""

    minimum_us: float
    median_us: float


def latency_of(model: bytes, feeds: Mapping[str, np.ndarray] | None = None, *, rounds: int = ROUNDS) -> Latency:
    """Time one ONNX model.

    Args:
        feeds: its inputs by name; random float32 ones if None, with a batch of 1 where it is open.

    Raises:
        UserError: the model cannot be read.
    """
    return latencies_of({"model": model}, None if feeds is None else {"model": feeds}, rounds=rounds)["model"]


def latencies_of(
    models: Mapping[Key, bytes], feeds: Mapping[Key, Mapping[str, np.ndarray]] | None = None, *, rounds: int = ROUNDS
) -> dict[Key, Latency]:
    """Time several ONNX models in turns. Arguments and errors as for ``latency_of``."""
    if rounds < 1:
        raise ValueError(f"rounds are 1 or more, this is {rounds}")
    feeds = {} if feeds is None else feeds
    sessions = {name: _session(model) for name, model in models.items()}
    inputs = {name: feeds[name] if name in feeds else random_inputs(model) for name, model in models.items()}
    for name, session in sessions.items():
        session.run(None, inputs[name])  # the first call also allocates
    spent: dict[Key, list[int]] = {name: [] for name in models}
    for _ in range(rounds):
        for name, session in sessions.items():
            _turn(session, inputs[name], spent[name])
    return {name: Latency(min(times) / 1000, median(times) / 1000) for name, times in spent.items()}


def _turn(session: "onnxruntime.InferenceSession", feed: Mapping[str, np.ndarray], spent: list[int]) -> None:
    """Add the nanoseconds of each call of one turn."""
    begin = time.perf_counter_ns()
    for _ in range(CALLS):
        start = time.perf_counter_ns()
        session.run(None, feed)
        end = time.perf_counter_ns()
        spent.append(end - start)
        if end - begin > TURN_NANOSECONDS:
            break


def _session(model: bytes) -> "onnxruntime.InferenceSession":
    import onnxruntime
    from onnxruntime.capi import onnxruntime_pybind11_state as runtime

    try:
        return onnxruntime.InferenceSession(model, session_options(), providers=["CPUExecutionProvider"])
    except (runtime.InvalidProtobuf, runtime.InvalidGraph, runtime.Fail, runtime.InvalidArgument):
        raise UserError("The model to be timed cannot be read as ONNX: export it again.") from None
