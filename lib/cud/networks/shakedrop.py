"""Prior ShakeDrop: lean on the backbone near the data, on the skip connection near the noise.

Nothing is random here, in spite of the name: the two factors are a straight line in time.
"""

import torch
from torch import Tensor


def backbone_share(t: Tensor | float, phi: float) -> Tensor:
    """p(t) = phi + t (1 - 2 phi): the backbone's share at time t, in [0, 1] for phi in [0, 1]."""
    return phi + torch.as_tensor(t, dtype=torch.float32) * (1.0 - 2.0 * phi)


def prior_shakedrop(backbone: Tensor, skip: Tensor, t: Tensor | float, phi: float) -> Tensor:
    """Concatenate a decoder block's two inputs, each scaled by its share at time t.

        p(t) = phi + t (1 - 2 phi)          [2 p(t) backbone, 2 (1 - p(t)) skip]

    backbone: (batch, c1, height, width); skip: (batch, c2, height, width); t: a float, 0-d or (batch,),
    0 = data, 1 = noise; phi in [0, 1]. Returns (batch, c1 + c2, height, width).
    phi = 0.5 is plain concatenation; phi and 1 - phi are mirror images (t -> 1 - t).

    >>> prior_shakedrop(torch.ones(1, 1, 1, 1), torch.ones(1, 1, 1, 1), t=0.0, phi=0.75).flatten()
    tensor([1.5000, 0.5000])

    Source: Catch-Up Distillation, official code (the decoder of the U-Net), phi = 0.75 for CIFAR-10.
    """
    p = backbone_share(t, phi).reshape(-1, 1, 1, 1).to(backbone)
    return torch.cat([backbone * (2.0 * p), skip * (2.0 - 2.0 * p)], dim=1)
