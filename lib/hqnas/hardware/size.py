"""Model size: bytes that the weights of a network take, bits times kept parameters over 8.

Scales and biases, a few numbers for each channel, are not counted.
"""

from dataclasses import dataclass

from lib.hqnas.hardware.device import Formula
from lib.hqnas.space import Conv


@dataclass(frozen=True)
class ModelSize(Formula):
    """Not a device, but counted as one: memory for the weights."""

    name: str = "size"
    unit: str = "bytes"
    words: str = "No device, but the size of the model: the memory that its weights take."

    def cost(self, conv: Conv, weight_bits: int) -> float:
        """Bytes."""
        return weight_bits * conv.parameters / 8
