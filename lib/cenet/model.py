"""CENet and CENet-GCN, from one configuration; and the way to every network of the chapter, by name."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lib.cenet.baselines import BCResNet, SpeechResNet, TCResNet
from lib.cenet.blocks import Bottleneck, initial_block
from lib.cenet.config import BCResNetConfig, CENetConfig, GraphConfig, NetworkConfig, SpeechResNetConfig, TCResNetConfig
from lib.cenet.graph import GraphModule
from lib.training.multiplies import Multiplies, count_multiplies
from lib.training.seeding import isolated_seed


@dataclass(frozen=True)
class Trace:
    """What a graph module saw and did in one pass.

    Attributes:
        stage: 1, 2 or 3. before, after: the maps around the module, (batch, channels, h, w).
        adjacency: (batch, N, N) with N = h w. gamma: the scale of the context.
    """

    stage: int
    before: Tensor
    after: Tensor
    adjacency: Tensor
    gamma: float


class CENet(nn.Module):
    """Initial block, three stages of bottlenecks that each end in a connection block, mean over all places, one layer.

    A graph module stands at the end of every stage that the configuration names.
    """

    def __init__(self, config: CENetConfig, classes: int):
        super().__init__()
        self.config = config
        first, *widths = config.channels
        self.initial = initial_block(first)
        self.stages, self.graphs = nn.ModuleList(), nn.ModuleDict()
        inputs = first
        for outputs, repeats, ratio in zip(widths, config.repetitions, config.ratios, strict=True):
            middle = inputs // ratio
            blocks = [Bottleneck(inputs, middle, inputs) for _ in range(repeats)]
            self.stages.append(nn.Sequential(*blocks, Bottleneck(inputs, middle, outputs, stride=2)))
            inputs = outputs
        # after the backbone, so that equal seeds give equal backbones with and without graphs
        self.classifier = nn.Linear(inputs, classes, bias=False)
        graph = config.graph or GraphConfig(stages=())
        for stage in graph.stages:
            self.graphs[str(stage)] = GraphModule(widths[stage - 1], graph)

    def forward(self, features: Tensor) -> Tensor:
        """(batch, frames, bands) -> logits (batch, classes)."""
        x = self.initial(features.unsqueeze(1))
        for stage, blocks in enumerate(self.stages, start=1):
            x = blocks(x)
            if str(stage) in self.graphs:
                x = self.graphs[str(stage)](x)
        return self.classifier(x.mean((2, 3)))

    @torch.no_grad()
    def trace(self, features: Tensor) -> list[Trace]:
        """The same pass, with what each graph module saw, for pictures."""
        found = []
        x = self.initial(features.unsqueeze(1))
        for stage, blocks in enumerate(self.stages, start=1):
            x = blocks(x)
            if str(stage) in self.graphs:
                module = self.graphs[str(stage)]
                after = module(x)
                found.append(Trace(stage, x, after, module.adjacency(x), module.gamma.item()))
                x = after
        return found


BUILDERS = {
    CENetConfig: CENet,
    TCResNetConfig: TCResNet,
    SpeechResNetConfig: SpeechResNet,
    BCResNetConfig: BCResNet,
}


def build_network(config: NetworkConfig, classes: int, seed: int = 0) -> nn.Module:
    """A network that takes features (batch, frames, bands) and gives logits (batch, classes).

    The same seed gives the same weights; the global random state is left as it was.
    """
    with isolated_seed(seed):
        network = BUILDERS[type(config)](config, classes)
    # measured on one core: training steps a third shorter, results the same
    return network.to(memory_format=torch.channels_last)


def network_multiplies(config: NetworkConfig, frames: int, bands: int, classes: int = 12) -> Multiplies:
    """Multiplications of one network for one sound of so many frames; nothing is computed."""
    with torch.device("meta"):
        network = BUILDERS[type(config)](config, classes).eval()
        features = torch.zeros(1, frames, bands)
    return count_multiplies(lambda: network(features))
