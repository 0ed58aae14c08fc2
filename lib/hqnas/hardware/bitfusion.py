"""An accelerator whose multipliers split: BitFusion's time and energy, in a few lines.

An array of N x M units computes, in each cycle, M outputs of one position from N inputs each. A unit splits into
narrower ones, so that each makes floor(8 / a) floor(8 / w) products at once for activations of a bits and weights of
w bits (at least 2). A convolution of one image, as a product of matrices (im2col):

    compute cycles = groups * positions * ceil(outputs / M) * ceil(inputs * k * k / (N * products))
    memory cycles  = ceil(bits that move / width of the memory interface)

Formula, array and both configurations are those of BitFusion's released simulator (github.com/hsharma35/bitfusion).
What HQNAS measured its latency on is not known: that it is such a device is our reading. Ours are also:

- A depthwise convolution is computed group by group: its k * k inputs lie in one column, the other columns idle.
- Input, weights and output move once each. The simulator also searches for tiles that fit the buffers.
- Loads overlap with computing, so the larger of the two counts. The simulator adds the first load and the last store.

Where the rows of the array are not full, fewer bits save nothing: 9 products of a 3x3 depthwise kernel take one cycle
at 8 bits, and the 25 of a 5x5 kernel two; at 4 bits both take one. APQ's published table of such a device gives a 1x1
convolution 0.074 ms at 8 bits, 3x3 and 5x5 depthwise ones 0.228 and 0.625 ms; this model, with the small
configuration, 0.035, 0.191 and 0.383 ms. There, 3x3 depthwise kernels gain from fewer bits too; here they do not.
"""

import math
from dataclasses import dataclass

from lib.hqnas.hardware.device import Formula
from lib.hqnas.space import Conv

HIGHEST, LOWEST = 8, 2
"""Bits of a whole unit, and of the narrowest part of one."""
MULTIPLY_PICOJOULES = 3673.5e-6 / 500e6 / 16 * 1e12
"""Of one product of 8 x 8 bits: 0.46. A synthesised array of 4 x 4 units takes 3,673.5 uW at 500 MHz (the simulator's
``systolic_array_synth.csv``), and each unit makes one such product in a cycle."""


@dataclass(frozen=True)
class BitFusion(Formula):
    """Time of one image.

    Attributes:
        megahertz, interface_bits: clock, and bits that the memory moves in a cycle.
        picojoules_per_bit: what moving one of them takes; only ``BitFusionEnergy`` asks.
        rows, columns: N and M.
    """

    name: str
    words: str
    megahertz: float
    interface_bits: int
    picojoules_per_bit: float
    rows: int = 16
    columns: int = 32
    activation_bits: int = 8
    unit: str = "microseconds"

    def products(self, weight_bits: int) -> int:
        """Products that one unit makes in a cycle."""
        return (HIGHEST // max(self.activation_bits, LOWEST)) * (HIGHEST // max(weight_bits, LOWEST))

    def compute_cycles(self, conv: Conv, weight_bits: int) -> int:
        """Cycles of the array."""
        columns = math.ceil(conv.out_channels / conv.groups / self.columns)
        rows = math.ceil(conv.taps / (self.rows * self.products(weight_bits)))
        return conv.groups * conv.positions * columns * rows

    def bits_moved(self, conv: Conv, weight_bits: int) -> int:
        """Bits through the memory interface: input, output and weights, once each."""
        return (conv.inputs + conv.outputs) * self.activation_bits + conv.parameters * weight_bits

    def memory_cycles(self, conv: Conv, weight_bits: int) -> int:
        """Cycles of the memory."""
        return math.ceil(self.bits_moved(conv, weight_bits) / self.interface_bits)

    def cycles(self, conv: Conv, weight_bits: int) -> int:
        """Cycles until both are done."""
        return max(self.compute_cycles(conv, weight_bits), self.memory_cycles(conv, weight_bits))

    def cost(self, conv: Conv, weight_bits: int) -> float:
        """Microseconds."""
        return self.cycles(conv, weight_bits) / self.megahertz


@dataclass(frozen=True)
class BitFusionEnergy(Formula):
    """Energy of one image: products, each in proportion to the product of its bit-widths, and bits moved.

        energy = 0.46 pJ * multiply-accumulates * (a / 8) (w / 8) + picojoules_per_bit * bits moved

    The sum is ours: idle units, buffers on the chip and leakage are left out. On small maps moving is nearly all of it.
    The simulator's code charges 15 pJ for a bit, as we do for the small configuration; its comment beside says 6.
    """

    device: BitFusion
    unit: str = "nanojoules"

    @property
    def name(self) -> str:
        """The device's, and what counts."""
        return f"{self.device.name}-energy"

    @property
    def words(self) -> str:
        """One sentence on what it is."""
        return f"Energy instead of time: {self.device.words[:1].lower()}{self.device.words[1:]}"

    def cost(self, conv: Conv, weight_bits: int) -> float:
        """Nanojoules."""
        share = self.device.activation_bits / HIGHEST * max(weight_bits, LOWEST) / HIGHEST
        moved = self.device.bits_moved(conv, weight_bits) * self.device.picojoules_per_bit
        return (conv.macs * share * MULTIPLY_PICOJOULES + moved) / 1000


SMALL = BitFusion(
    name="bitfusion-small",
    words="An accelerator of 16 x 32 splitting multipliers at 500 MHz, with a memory interface of 192 bits.",
    megahertz=500,
    interface_bits=192,
    picojoules_per_bit=15,  # the simulator's own, for memory outside the chip
)
LARGE = BitFusion(
    name="bitfusion-large",
    words="An accelerator of 16 x 32 splitting multipliers at 980 MHz, with a memory interface of 4,096 bits.",
    megahertz=980,
    interface_bits=4096,
    picojoules_per_bit=3.92,  # so wide an interface is stacked memory (ours): HBM2, after O'Connor et al., MICRO 2017
)
