"""The velocity model: one shared trunk f_theta and K heads g_1 ... g_K.

>>> from lib.cud.networks import presets
>>> model = build_model(presets.digits_unet(), heads=3, seed=0)
>>> x, t = torch.zeros(5, 1, 8, 8), torch.rand(5)
>>> model(x, t, head=2).shape
torch.Size([5, 1, 8, 8])
>>> len(model.all_heads(x, 0.5))
3
"""

import torch
from torch import Tensor, nn

from lib.cud.networks.blocks import NEARLY_ZERO, xavier
from lib.cud.networks.config import MLPConfig, NetworkConfig, UNetConfig
from lib.cud.networks.mlp import MLPTrunk, mlp_head
from lib.cud.networks.unet import UNetHead, UNetTrunk
from lib.errors import UserError
from lib.training.multiplies import count_multiplies as count
from lib.training.seeding import isolated_seed

Time = Tensor | float


class VelocityModel(nn.Module):
    """v_i(x, t) = g_i(f_theta(x, t)), i = 1 ... K, for points or images.

    Time runs from data (t = 0) to noise (t = 1). Head 1 is the main one: it integrates trajectories and makes
    all targets. Head i learns the velocity that head 1 will have i look-ahead steps nearer the data.
    Source: Catch-Up Distillation, method figure. Build it with `build_model`.
    """

    def __init__(self, config: NetworkConfig, heads: int = 1) -> None:
        super().__init__()
        if not isinstance(heads, int) or isinstance(heads, bool) or heads < 1:
            raise UserError(f"The number of heads is {heads!r}; give a whole number of 1 or more.")
        self.config = config
        self.trunk, self.heads = _trunk_and_heads(config, heads)
        if config.output_size != config.input_shape[0]:
            raise UserError(
                f"A velocity has the size of its input, {config.input_shape[0]}; this config gives "
                f"{config.output_size}. Leave out_channels (or out_dimension) empty, or use build_encoder."
            )

    @property
    def head_count(self) -> int:
        """K."""
        return len(self.heads)

    def forward(self, x: Tensor, t: Time, labels: Tensor | None = None, head: int = 1) -> Tensor:
        """Velocity of one head, counted from 1.

        x: (batch, dimension) or (batch, channels, side, side); t: a number, 0-d or (batch,), in [0, 1];
        labels: (batch,) whole numbers, for a model with classes. Returns the shape of x.
        Raises UserError for a wrong shape, missing labels or a head that is not there.
        """
        if not isinstance(head, int) or not 1 <= head <= len(self.heads):
            raise UserError(f"Head {head!r} is asked for; the model has heads 1 to {len(self.heads)}.")
        return self.heads[head - 1](self._features(x, t, labels))

    def all_heads(self, x: Tensor, t: Time, labels: Tensor | None = None) -> tuple[Tensor, ...]:
        """Velocities of all K heads from one pass through the trunk. Arguments as in `forward`."""
        features = self._features(x, t, labels)
        return tuple(head(features) for head in self.heads)

    def _features(self, x: Tensor, t: Time, labels: Tensor | None) -> Tensor:
        _require_shape(x, self.config)
        if not isinstance(t, Tensor):
            t = torch.full((1,), float(t), device=x.device, dtype=torch.float32)
        elif t.ndim == 0:
            t = t.reshape(1)  # embedded once and broadcast
        elif tuple(t.shape) != (len(x),):
            raise UserError(f"The time has shape {tuple(t.shape)}; give one number, or shape ({len(x)},).")
        classes = getattr(self.config, "classes", 0)
        if (labels is None) != (classes == 0):
            wanted = f"needs labels from 0 to {classes - 1}" if classes else "takes no labels"
            raise UserError(f"This model {wanted}.")
        if labels is not None:
            if tuple(labels.shape) != (len(x),):
                raise UserError(f"The labels have shape {tuple(labels.shape)}; give shape ({len(x)},).")
            # On an accelerator the look would cost a wait; there the embedding itself stops the run.
            if labels.device.type == "cpu" and len(x) and not 0 <= labels.min() <= labels.max() < classes:
                raise UserError(f"Labels run from 0 to {classes - 1}; got {labels.min()} to {labels.max()}.")
        return self.trunk(x, t, labels)


class CouplingEncoder(nn.Module):
    """q(x_1 | x_0) of the learned coupling: the mean and log variance of a Gaussian, from a data point.

    The networks are those of the velocity model with twice the outputs. A U-Net encoder is given the constant
    time 1. The last layer starts almost silent, so q starts as N(0, I): the independent coupling.
    Source: Lee, Kim and Ye 2023 ("Minimizing trajectory curvature"), used by the official code of
    Catch-Up Distillation. Build it with `build_encoder`.
    """

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        self.trunk, heads = _trunk_and_heads(config, 1)
        self.head = heads[0]
        if config.output_size != 2 * config.input_shape[0]:
            raise UserError(
                f"An encoder gives a mean and a log variance: set out_channels (or out_dimension) to "
                f"{2 * config.input_shape[0]}, not {config.output_size}."
            )
        if isinstance(self.head, nn.Linear):
            xavier(self.head, gain=NEARLY_ZERO)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """x: a batch of data. Returns mean and log variance, each of the shape of x."""
        _require_shape(x, self.config)
        mean, log_variance = self.head(self.trunk(x, torch.ones(1, device=x.device))).chunk(2, dim=1)
        return mean, log_variance


def _trunk_and_heads(config: NetworkConfig, heads: int) -> tuple[nn.Module, nn.ModuleList]:
    if isinstance(config, MLPConfig):
        return MLPTrunk(config), nn.ModuleList(mlp_head(config) for _ in range(heads))
    if isinstance(config, UNetConfig):
        trunk = UNetTrunk(config)
        return trunk, nn.ModuleList(UNetHead(config, trunk.width) for _ in range(heads))
    raise UserError(f"A network is described by MLPConfig or UNetConfig, not by {type(config).__name__}.")


def _require_shape(x: Tensor, config: NetworkConfig) -> None:
    expected = config.input_shape
    if tuple(x.shape[1:]) != expected:
        raise UserError(
            f"The network takes a batch of shape (batch, {', '.join(map(str, expected))}), "
            f"but was given {tuple(x.shape)}."
        )
    if not x.is_floating_point():
        raise UserError(f"The network takes floating-point numbers, but was given {x.dtype}; scale images to -1 ... 1.")


def build_encoder(network_config: NetworkConfig, seed: int = 0) -> CouplingEncoder:
    """The encoder q of the learned coupling; the same seed gives the same weights (see `build_model`)."""
    with isolated_seed(seed):
        return CouplingEncoder(network_config)


def build_model(network_config: NetworkConfig, heads: int = 1, seed: int = 0) -> VelocityModel:
    """A velocity model with K = `heads` heads; the same seed gives the same weights.

    The global random state is left as it was. Raises UserError for a wrong number of heads.
    """
    with isolated_seed(seed):
        return VelocityModel(network_config, heads)


def count_multiplies(model: nn.Module, x_shape: tuple[int, ...]) -> int:
    """Multiplications of one forward pass on a batch of shape x_shape, with head 1 and a time for each point.

    Counted: the products in linear layers, convolutions and attention (queries with keys, weights with
    values), padding included, as is usual. Not counted: normalisation, activation functions, additions.
    model: a VelocityModel or a CouplingEncoder, on any device; on "meta" nothing is computed.
    """
    device = next(model.parameters()).device
    x = torch.zeros(x_shape, device=device)
    if not isinstance(model, VelocityModel):
        return count(lambda: model(x)).total
    labels = torch.zeros(len(x), dtype=torch.long, device=device) if getattr(model.config, "classes", 0) else None
    return count(lambda: model(x, torch.zeros(len(x), device=device), labels)).total
