"""Distances between two clouds of points, without any network: sliced Wasserstein and energy distance."""

import torch
from torch import Tensor

from lib.training.seeding import generator as make_generator


def sliced_wasserstein(a: Tensor, b: Tensor, projections: int = 256, generator: torch.Generator | None = None) -> float:
    """Sliced Wasserstein-2 distance between the points `a` (n, dimension) and `b` (m, dimension).

        SW_2(a, b) = sqrt( mean over directions of W_2(projected a, projected b)^2 )

    Bonneel et al. 2015. The directions are uniform on the sphere, `projections` of them, drawn from
    `generator`; without one the same directions come at every call, so that methods are judged alike.
    In one dimension W_2 is exact, also for n != m: the root mean square difference of the quantile functions.
    Images may be passed too: everything after the first axis is flattened.
    """
    a, b = _points(a), _points(b)
    _same_dimension(a, b)
    if projections < 1:
        raise ValueError(f"projections must be 1 or more, not {projections}")
    source = generator if generator is not None else make_generator(0)
    directions = torch.randn(a.shape[1], projections, generator=source, device=source.device, dtype=torch.float64)
    directions = (directions / directions.norm(dim=0)).to(a)
    index_a, index_b, widths = _quantile_grid(len(a), len(b))
    total = 0.0
    for piece in directions.split(64, dim=1):  # sorted copies of 64 projections at a time bound the memory
        sorted_a = (a @ piece).sort(dim=0).values
        sorted_b = (b @ piece).sort(dim=0).values
        if len(a) == len(b):
            total += (sorted_a - sorted_b).double().square_().mean(dim=0).sum().item()
        else:
            gaps = (sorted_a[index_a] - sorted_b[index_b]).double().square_()
            total += (widths.to(gaps) @ gaps).sum().item()
    return (total / projections) ** 0.5


def energy_distance(a: Tensor, b: Tensor) -> float:
    """Energy distance between the points `a` (n, dimension) and `b` (m, dimension), exact.

        E(a, b) = 2 E|x - y| - E|x - x'| - E|y - y'|,    x, x' from a,  y, y' from b

    Székely and Rizzo 2013. It is zero only for equal distributions. All pairs count, a point with itself
    too, so it is never negative. (SciPy's one-dimensional `energy_distance` is the root of this.)
    """
    a, b = _points(a).double(), _points(b).double()
    _same_dimension(a, b)
    return 2.0 * _mean_distance(a, b) - _mean_distance(a, a) - _mean_distance(b, b)


def _points(x: Tensor) -> Tensor:
    if x.ndim < 2 or not len(x):
        raise ValueError(f"points must have shape (n, dimension) with n >= 1, these have {tuple(x.shape)}")
    return x.detach().flatten(1)


def _same_dimension(a: Tensor, b: Tensor) -> None:
    if a.shape[1] != b.shape[1]:
        raise ValueError(f"points of {a.shape[1]} and of {b.shape[1]} dimensions cannot be compared")


def _quantile_grid(n: int, m: int) -> tuple[Tensor, Tensor, Tensor]:
    """Where two empirical quantile functions are both constant: index into each, and width of the interval.

    The first jumps at i/n, the second at j/m; between two neighbouring jumps of either nothing moves.
    Integers (multiples of 1/(n m)) keep the grid free of rounding.
    """
    jumps = torch.cat([torch.arange(1, n + 1) * m, torch.arange(1, m + 1) * n]).unique()
    starts = torch.cat([jumps.new_zeros(1), jumps[:-1]])
    return starts // m, starts // n, (jumps - starts).double() / (n * m)


def _mean_distance(a: Tensor, b: Tensor) -> float:
    # The direct formula, not the matrix-product one, which loses digits for points that lie close together.
    mode = "donot_use_mm_for_euclid_dist"
    total = sum(torch.cdist(piece, b, compute_mode=mode).sum().item() for piece in a.split(1024))
    return total / (len(a) * len(b))
