"""What is compared with what, on which images: the task of the chapter."""

import torch
from torch.nn import functional as F

from lib.vision.data import ImageSet


def moved_everywhere(data: ImageSet, most: int = 1) -> ImageSet:
    """Every image in each of its (2 most + 1)^2 places: what a training with ``shift`` must get right.

    Nine times the images make a finer ruler, too; they are not nine times the evidence, since copies are alike.
    """
    side = 2 * most + 1
    height, width = data.shape[1:]
    padded = F.pad(data.read(torch.arange(len(data))), (most,) * 4)
    places = [padded[..., y : y + height, x : x + width] for y in range(side) for x in range(side)]
    return ImageSet(
        name=f"{data.name}, each in {side**2} places",
        split=data.split,
        labels=data.labels.repeat(side**2),
        class_names=data.class_names,
        shape=data.shape,
        images=torch.cat(places),
        part=data.part,
    )
