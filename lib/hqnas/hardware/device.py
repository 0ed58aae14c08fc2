"""What the search asks of a device: a table of costs, and the cost of each layer of one network."""

from abc import ABC, abstractmethod
from typing import Protocol

from lib.hqnas.cost import CostTable, conv_costs, table_of
from lib.hqnas.space import Choices, Conv, SearchSpace


class Hardware(Protocol):
    """A device, or a model of one.

    Attributes:
        name: as in ``lib.hqnas.hardware.HARDWARE``. unit: of all its costs, as "kilocycles".
        words: one sentence on what it is.
    """

    @property
    def name(self) -> str: ...

    @property
    def unit(self) -> str: ...

    @property
    def words(self) -> str: ...

    def cost_table(self, space: SearchSpace) -> CostTable:
        """The cost of every choice of a space, for one image."""
        ...

    def layers(self, space: SearchSpace, choices: Choices) -> list[tuple[str, float]]:
        """(name, cost) of each layer of one network, the fixed ones included: their sum is the cost of the network."""
        ...


class Formula(ABC):
    """A device that is a formula for one convolution; a network costs the sum over its convolutions."""

    name: str
    unit: str
    words: str

    @abstractmethod
    def cost(self, conv: Conv, weight_bits: int) -> float:
        """Of one convolution, for one image, in ``unit``."""

    def cost_table(self, space: SearchSpace) -> CostTable:
        """The cost of every choice of a space."""
        return table_of(space, self.name, self.unit, self.cost)

    def layers(self, space: SearchSpace, choices: Choices) -> list[tuple[str, float]]:
        """(name, cost) of each convolution of one network."""
        return conv_costs(space, choices, self.cost)
