"""One random number for each example of a batch."""

from collections.abc import Sequence

import torch
from torch import Tensor

from lib.errors import UserError


def uniform(count: int, low: float, high: float, generator: torch.Generator) -> Tensor:
    """float32 (count,), evenly between low and high; on the generator's device."""
    if not low <= high:
        raise UserError(f"A range goes from its lower to its upper end, not from {low:g} to {high:g}.")
    return low + (high - low) * torch.rand(count, generator=generator, device=generator.device)


def one_of(values: Sequence[float], count: int, generator: torch.Generator) -> Tensor:
    """float32 (count,): each is one of the values, with even odds; for levels such as 15, 10, 5 and 0 dB."""
    if not len(values):
        raise UserError("There is nothing to choose from: name one value or more.")
    choice = torch.randint(len(values), (count,), generator=generator, device=generator.device)
    return torch.tensor(values, dtype=torch.float32, device=generator.device)[choice]


def whole_up_to(limits: Tensor, generator: torch.Generator) -> Tensor:
    """int64, of the shape of `limits`: each a whole number in 0 ... its limit, with even odds."""
    # float64 and a cut: limits are numbers of samples, which float32 does not tell apart beyond 16 million.
    share = torch.rand(limits.shape, generator=generator, device=generator.device, dtype=torch.float64)
    return torch.minimum((share.to(limits.device) * (limits + 1)).long(), limits)
