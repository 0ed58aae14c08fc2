"""The graph module: every place of a map looks at every other, once, and what it finds is added to it.

A place is a node; the edges carry learned similarities, computed anew for every sound:

    A = softmax_j( θ(x_i) · φ(x_j) )        adjacency, each row sums to 1
    X̃ = ReLU( A X W )                       context: one step of graph convolution
    X_a = γ X̃ + X                           added back with a learned scale

Source: the paper's section on the graph convolution, as restated by others. The width of θ and φ (a quarter of the
channels) and the biases follow from the published parameter counts. γ starts at 0 (our choice, customary in the paper
that this one builds on), so that the network starts as plain CENet.
"""

import torch
from torch import Tensor, nn

from lib.cenet.config import GraphConfig


class GraphModule(nn.Module):
    """Context from a graph over all places of a map, or from one of its controls at equal weights.

    Attributes:
        theta, phi: the two embeddings, c -> c/4. weight: W, c -> c. gamma: γ, one number.
    """

    def __init__(self, channels: int, config: GraphConfig):
        super().__init__()
        self.config = config
        width = channels // 4
        self.theta = nn.Linear(channels, width)
        self.phi = nn.Linear(channels, width)
        self.weight = nn.Linear(channels, channels)
        self.gamma = nn.Parameter(torch.zeros(()))

    def adjacency(self, x: Tensor) -> Tensor:
        """A of a map (batch, channels, h, w): (batch, N, N) with N = h w nodes, row by row; rows sum to 1."""
        batch, _, height, width = x.shape
        nodes = height * width
        if self.config.adjacency == "identity":
            return torch.eye(nodes, device=x.device, dtype=x.dtype).expand(batch, -1, -1)
        if self.config.adjacency == "uniform":
            return torch.full((batch, nodes, nodes), 1 / nodes, device=x.device, dtype=x.dtype)
        return self._similarity(x).softmax(dim=-1)  # over the sources j, not over the receivers i

    def context(self, x: Tensor) -> Tensor:
        """X̃ = ReLU(A X W) of a map (batch, channels, h, w), as a map of the same shape."""
        values = self.weight(_nodes(x))
        if self.config.adjacency == "uniform":
            mixed = values.mean(1, keepdim=True).expand_as(values)
        elif self.config.adjacency == "identity":
            mixed = values
        else:
            mixed = self.adjacency(x) @ values
        return mixed.relu().transpose(1, 2).unflatten(2, x.shape[2:])

    def forward(self, x: Tensor) -> Tensor:
        """X_a = γ X̃ + X; shapes (batch, channels, h, w)."""
        return x + self.gamma * self.context(x)

    def _similarity(self, x: Tensor) -> Tensor:
        nodes = _nodes(x)
        theta, phi = self.theta(nodes), self.phi(nodes)
        if self.config.scaled:
            theta = theta / theta.shape[-1] ** 0.5
        scores = theta @ phi.transpose(1, 2)
        if self.config.adjacency == "banded":
            scores = scores.masked_fill(~neighbours(x.shape[2], x.shape[3], self.config.reach, x.device), -torch.inf)
        return scores


def _nodes(x: Tensor) -> Tensor:
    """(batch, channels, h, w) -> (batch, N, channels); the nodes run through the bands of the first frame first."""
    return x.flatten(2).transpose(1, 2)


def neighbours(height: int, width: int, reach: int, device: torch.device | str = "cpu") -> Tensor:
    """Which nodes of a map are at most `reach` places apart in both directions: bool (N, N)."""
    rows = torch.arange(height, device=device).repeat_interleave(width)
    columns = torch.arange(width, device=device).repeat(height)
    near = (rows[:, None] - rows).abs() <= reach
    return near & ((columns[:, None] - columns).abs() <= reach)
