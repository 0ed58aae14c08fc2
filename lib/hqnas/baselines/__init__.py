"""What the joint search is compared with, on the same space, device, data and steps.

two_step    an architecture search at 8 bits, then a search of the bits in what it found
policies    the same bits everywhere; random policies that keep the target
greedy      bits taken away where it hurts least (sensitivity)
evolution   random policies share one supernet; then crossover, mutation and selection
branches    a supernet with parallel branches, as DARTS has it: for time and memory
"""

from dataclasses import dataclass

from lib.hqnas.model import Network
from lib.hqnas.space import Choices


@dataclass(frozen=True)
class Candidate:
    """A policy to be trained, with the same recipe as what the joint search found.

    Attributes:
        start: weights to begin with, or None. steps: of training that it took to find it.
    """

    choices: Choices
    start: Network | None
    steps: int
