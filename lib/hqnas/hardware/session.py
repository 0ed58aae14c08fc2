"""How this book opens ONNX models: one thread, quiet, and with sums that do not overflow."""

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnxruntime


def session_options() -> "onnxruntime.SessionOptions":
    """Options of a session on one thread that says nothing; what is wrong with a model is raised."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    if may_overflow():
        options.add_session_config_entry("session.x64quantprecision", "1")
    return options


@cache
def may_overflow(cpu_info: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether sums of two int8 products may overflow: on x86 without VNNI instructions.

    ONNX Runtime's cure takes up to twice the time, so it is asked for only where it is needed. Where the processor's
    instructions cannot be read, it is asked for.
    """
    try:
        text = cpu_info.read_text()
    except OSError:
        return True
    return "vnni" not in text
