"""Which noise goes with which datum: independent pairs, an optimal assignment in the batch, or a learnt encoder."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from lib.errors import UserError

COUPLINGS = ("independent", "minibatch_ot", "learned")


@dataclass(frozen=True)
class Coupled:
    """A batch of pairs: noise ``x1`` (batch, ...) for the data, and the Kullback-Leibler term of a learnt coupling."""

    x1: Tensor
    divergence: Tensor | None = None


def couple(
    kind: str, x0: Tensor, noise: Tensor, encoder: Callable[[Tensor], tuple[Tensor, Tensor]] | None = None
) -> Coupled:
    """Pair each datum with a noise, by the named rule.

    Raises:
        UserError: unknown rule, or ``learned`` without an encoder.
    """
    if kind == "independent":
        return Coupled(noise)
    if kind == "minibatch_ot":
        return Coupled(optimal_pairing(x0, noise))
    if kind == "learned":
        if encoder is None:
            raise UserError("the learned coupling needs an encoder: set coupling.encoder in the configuration.")
        return learned_pairing(encoder, x0, noise)
    raise UserError(f"coupling '{kind}' is not known: choose one of {', '.join(COUPLINGS)}.")


@torch.no_grad()
def optimal_pairing(x0: Tensor, noise: Tensor) -> Tensor:
    """The noises of the batch in the order that minimises Σ |x_0 - x_1|² (minibatch optimal transport).

    A peer, not part of the paper: Tong et al., "Improving and generalizing flow-based generative models with minibatch
    optimal transport", 2023. The assignment is SciPy's exact one, O(batch³).
    """
    cost = torch.cdist(x0.flatten(1).double(), noise.flatten(1).double()).square()
    _, columns = linear_sum_assignment(cost.cpu().numpy())
    return noise[torch.as_tensor(columns, device=noise.device)]


def learned_pairing(encoder: Callable[[Tensor], tuple[Tensor, Tensor]], x0: Tensor, noise: Tensor) -> Coupled:
    """x_1 = μ_q(x_0) + exp(log σ²_q(x_0) / 2) · noise, with KL(q || N(0, I)) as a mean over batch and dimensions.

    The gradient reaches the encoder through x_t and through the target x_1 - x_0. The published CIFAR-10 and MNIST
    commands have this switched on silently (β = 20); on ImageNet-64 the author discarded it (official code).
    It goes back to Lee, Kim and Ye, "Minimizing trajectory curvature of ODE-based generative models", ICML 2023.
    """
    mean, log_variance = encoder(x0)
    x1 = mean + torch.exp(log_variance / 2) * noise
    divergence = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).mean()
    return Coupled(x1, divergence)
