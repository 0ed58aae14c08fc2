"""Mini-batches as a pure function of (seed, step): a run that was killed and resumed sees the same data."""

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from lib.errors import UserError
from lib.training.order import Order
from lib.training.seeding import derive_seed, generator
from lib.vision.data import ImageSet, to_float

PREPARED_LIMIT_BYTES = 256 * 1024**2  # up to here images are kept as floats, beyond as uint8 (a quarter)


class Batches:
    """Endless random mini-batches of a data set, in the order of `lib.training.order`.

    data         an ImageSet, or a float tensor (n, ...) that is used as it stands (images or 2-D points)
    batch_size   samples a step over ALL ranks; each rank gets its share of the same batch, so that the
                 training does not depend on the number of devices
    seed         the order of the samples, and the flips
    flip         mirror each image left to right with probability one half
    labels       for a tensor: int64 (n,), optional
    device       where the batches are wanted; a set in memory is moved there once
    workers      lazy sets: processes that read files ahead (0 reads in this one)
    """

    def __init__(
        self,
        data: ImageSet | Tensor,
        batch_size: int,
        seed: int,
        flip: bool = False,
        rank: int = 0,
        world_size: int = 1,
        *,
        labels: Tensor | None = None,
        device: torch.device | str = "cpu",
        workers: int = 0,
    ):
        self._order = Order(len(data), batch_size, seed, rank, world_size)
        self.batch_size, self.seed, self.flip = batch_size, seed, flip
        self.device, self.workers = torch.device(device), workers
        self._set = data if isinstance(data, ImageSet) and data.lazy else None
        self._ahead: tuple[int, Iterator] | None = None  # next step of the loader, and the loader

        if isinstance(data, ImageSet):
            labels = data.labels
            images = data.images
            if images is not None and 4 * images.numel() <= PREPARED_LIMIT_BYTES:
                images = to_float(images)
        else:
            if not torch.isfinite(data).all():
                raise UserError("The training data hold NaN or infinity: remove those samples first.")
            images = data
        self._images = None if images is None else images.to(self.device)
        self._labels = None if labels is None else labels.to(self.device)

    def __len__(self) -> int:
        """Number of samples in the data set."""
        return self._order.count

    def batch(self, step: int) -> tuple[Tensor, Tensor | None]:
        """Images (float, in [-1, 1] for an ImageSet) and labels of `step` (from 0), this rank's share."""
        indices = self._order.batch(step)
        place = indices.to(self.device, non_blocking=True)
        if self._images is not None:
            images = self._images.index_select(0, place)
        else:
            images = self._read_ahead(step, indices).to(self.device, non_blocking=True)
        if images.dtype == torch.uint8:
            images = to_float(images)
        if self.flip:
            images = self._mirror(images, step)
        return images, None if self._labels is None else self._labels.index_select(0, place)

    def _mirror(self, images: Tensor, step: int) -> Tensor:
        # Drawn for the whole batch, then shared out, so that the ranks together flip what one device would.
        coins = torch.randint(2, (self.batch_size,), generator=generator(derive_seed(self.seed, "flip", step)))
        mirrored = self._order.share(coins).bool().to(self.device)
        return torch.where(mirrored.view(-1, *[1] * (images.ndim - 1)), images.flip(-1), images)

    def _read_ahead(self, step: int, indices: Tensor) -> Tensor:
        """Read a lazy set's files, by worker processes that are a few steps ahead when there are any."""
        if not self.workers:
            return self._set.read(indices)
        if self._ahead is None or self._ahead[0] != step:
            self._ahead = (step, self._loader(step))
        loader = self._ahead[1]
        self._ahead = (step + 1, loader)
        images, fault = next(loader)
        if fault is not None:
            raise UserError(fault)
        return images

    def _loader(self, first_step: int) -> Iterator:
        def steps() -> Iterator[list[int]]:
            step = first_step
            while True:
                yield self._order.batch(step).tolist()
                step += 1

        return iter(
            DataLoader(
                _Files(self._set),
                batch_sampler=_Endless(steps),
                num_workers=self.workers,
                collate_fn=_collate,
                generator=torch.Generator(),  # else it would draw from torch's global stream, which serves the dropout
            )
        )


class _Endless:
    """A batch sampler for the DataLoader: it wants an object that can be iterated."""

    def __init__(self, steps):
        self._steps = steps

    def __iter__(self):
        return self._steps()


class _Files(Dataset):
    """One file a sample. A fault is handed over as text: the DataLoader would wrap it in a traceback."""

    def __init__(self, images: ImageSet):
        self._set = images

    def __len__(self) -> int:
        return len(self._set)

    def __getitem__(self, index: int) -> tuple[Tensor | None, str | None]:
        try:
            return self._set.reader(index), None
        except UserError as fault:
            return None, str(fault)


def _collate(samples: list[tuple[Tensor | None, str | None]]) -> tuple[Tensor | None, str | None]:
    faults = [fault for _, fault in samples if fault is not None]
    return (None, faults[0]) if faults else (torch.stack([image for image, _ in samples]), None)
