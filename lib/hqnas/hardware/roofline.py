"""A bit-serial device with two numbers: multiply-accumulates per cycle, and bytes per cycle. Ours, for teaching.

    cycles = max(macs * (w / 8) (a / 8) / rate, bytes that move / bandwidth)

A product of w and a bits takes time in proportion to both, as multipliers do that take one bit after the other.
Whichever is the bottleneck counts, which is the roofline model. One device computes slowly and the other moves slowly:
on the first, halving the bits of the weights nearly halves the time; on the second it saves next to nothing.
"""

from dataclasses import dataclass

from lib.hqnas.hardware.device import Formula
from lib.hqnas.space import Conv


@dataclass(frozen=True)
class BitSerial(Formula):
    """Cycles of one image.

    Attributes:
        macs_per_cycle: with 8 x 8 bits. bytes_per_cycle: input, output and weights move once each.
        images_per_load: images that are computed with weights once loaded; each bears its share of the load.
        depthwise_penalty: how much slower a depthwise product is, which uses less of the array (ours).
    """

    name: str
    words: str
    macs_per_cycle: float
    bytes_per_cycle: float
    images_per_load: int = 1
    depthwise_penalty: float = 2.5
    activation_bits: int = 8
    unit: str = "kilocycles"

    def compute_cycles(self, conv: Conv, weight_bits: int) -> float:
        """Cycles of the multipliers."""
        penalty = self.depthwise_penalty if conv.groups == conv.in_channels > 1 else 1
        return conv.macs * penalty * weight_bits / 8 * self.activation_bits / 8 / self.macs_per_cycle

    def memory_cycles(self, conv: Conv, weight_bits: int) -> float:
        """Cycles of the memory."""
        maps = (conv.inputs + conv.outputs) * self.activation_bits / 8
        weights = conv.parameters * weight_bits / 8 / self.images_per_load
        return (maps + weights) / self.bytes_per_cycle

    def cost(self, conv: Conv, weight_bits: int) -> float:
        """Kilocycles."""
        return max(self.compute_cycles(conv, weight_bits), self.memory_cycles(conv, weight_bits)) / 1000


COMPUTE_BOUND = BitSerial(
    name="compute-bound",
    words="A bit-serial device with a slow multiplier and a fast memory: time follows the bits of the weights.",
    macs_per_cycle=16,
    bytes_per_cycle=16,
)
MEMORY_BOUND = BitSerial(
    name="memory-bound",
    words="A bit-serial device with a fast multiplier and a slow memory, four images at a time: time follows the maps, "
    "and the bits of the weights are worth little.",
    macs_per_cycle=1024,
    bytes_per_cycle=4,
    images_per_load=4,
)
