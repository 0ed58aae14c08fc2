"""Which samples a step sees, as a pure function of (seed, step): a run that was killed and resumed sees the same."""

import torch
from torch import Tensor

from lib.errors import UserError
from lib.training.seeding import derive_seed, generator


class Order:
    """Endless batches of sample numbers: every sample once an epoch, each epoch in its own order.

    The batches cut one endless row of positions (the shuffled epochs laid end to end) into equal pieces, so every batch
    is full and a batch may reach over the end of an epoch.

    count        how many samples there are
    batch_size   samples a step over ALL ranks; each rank gets its share of the same batch
    """

    def __init__(self, count: int, batch_size: int, seed: int, rank: int = 0, world_size: int = 1):
        if batch_size < 1 or batch_size % world_size:
            raise UserError(
                f"The batch size must be a positive multiple of the number of devices ({world_size}), not {batch_size}."
            )
        if not 0 <= rank < world_size:
            raise ValueError(f"rank {rank} of {world_size} does not exist")
        if not count:
            raise UserError("The data set is empty: there is nothing to train on.")
        self.count, self.batch_size, self.seed, self.rank, self.world_size = count, batch_size, seed, rank, world_size
        self._orders: dict[int, Tensor] = {}  # epoch -> its order; only the two that are in use

    def batch(self, step: int) -> Tensor:
        """The samples of this rank at `step` (from 0): int64 (batch_size / world_size,)."""
        start, stop = step * self.batch_size, (step + 1) * self.batch_size
        first, last = start // self.count, (stop - 1) // self.count
        for epoch in [known for known in self._orders if not first <= known <= last]:
            del self._orders[epoch]
        orders = [self._order(epoch) for epoch in range(first, last + 1)]
        row = orders[0] if len(orders) == 1 else torch.cat(orders)
        return self.share(row[start - first * self.count : stop - first * self.count])

    def share(self, whole: Tensor) -> Tensor:
        """This rank's part of what was drawn for a whole batch, (batch_size, ...)."""
        size = self.batch_size // self.world_size
        return whole[self.rank * size : (self.rank + 1) * size]

    def _order(self, epoch: int) -> Tensor:
        if epoch not in self._orders:
            source = generator(derive_seed(self.seed, "order", epoch))
            self._orders[epoch] = torch.randperm(self.count, generator=source)
        return self._orders[epoch]
