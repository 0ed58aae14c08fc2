"""Devices that a network can cost something on, and what it costs: the hardware of a search.

Every device makes a table of costs of a search space (``cost_table``) and the cost of each layer of one network
(``layers``), in a unit of its own. Never add or compare the costs of two devices.

=====================================  ==================================================
what a device is                       ``device``
BitFusion's cycles and energy          ``bitfusion``: small and large
bit-serial, bound by one resource      ``roofline``: compute-bound and memory-bound
size of the model                      ``size``
the reader's processor, measured       ``cpu``, with ``graphs`` (ONNX) and ``timing``
a table that somebody measured         ``tables``: a JSON file
=====================================  ==================================================

On which device HQNAS's latencies were measured is not known. BitFusion is our reading: accelerators of that kind are
what related work (HAQ, APQ) uses. The bit-serial ones are ours, for teaching: they show how the best network depends on
the device.
"""

from lib.errors import UserError
from lib.files import at_home
from lib.hqnas.hardware.bitfusion import LARGE, SMALL, BitFusion, BitFusionEnergy
from lib.hqnas.hardware.cpu import CPU, CPURow, CPUTable, measure, measure_blocks, measure_network
from lib.hqnas.hardware.device import Formula, Hardware
from lib.hqnas.hardware.graphs import as_int8
from lib.hqnas.hardware.roofline import COMPUTE_BOUND, MEMORY_BOUND, BitSerial
from lib.hqnas.hardware.size import ModelSize
from lib.hqnas.hardware.tables import TableHardware, load_table, save_table, table_hardware
from lib.hqnas.hardware.timing import Latency, latencies_of, latency_of

HARDWARE: dict[str, Hardware] = {
    device.name: device
    for device in (
        SMALL, LARGE, BitFusionEnergy(SMALL), BitFusionEnergy(LARGE), COMPUTE_BOUND, MEMORY_BOUND, ModelSize(), CPU(),
    )
}  # fmt: skip


def hardware_named(name: str) -> Hardware:
    """A device of ``HARDWARE``, or that of a file with a table: a name that ends in .json, or a file that exists.

    Raises:
        UserError: the name is not known, or the file is no table.
    """
    if name in HARDWARE:
        return HARDWARE[name]
    path = at_home(name)
    if path.suffix == ".json" or path.is_file():
        return table_hardware(path)
    raise UserError(f"hardware '{name}' is not known: choose one of {', '.join(HARDWARE)}, or name a table's .json.")


__all__ = [
    "CPU",
    "HARDWARE",
    "BitFusion",
    "BitFusionEnergy",
    "BitSerial",
    "CPURow",
    "CPUTable",
    "Formula",
    "Hardware",
    "Latency",
    "ModelSize",
    "TableHardware",
    "as_int8",
    "hardware_named",
    "latencies_of",
    "latency_of",
    "load_table",
    "measure",
    "measure_blocks",
    "measure_network",
    "save_table",
    "table_hardware",
]
