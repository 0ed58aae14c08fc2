"""The training objective: one batch in, the paper's loss and its parts out."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lib.cud.catchup import catch_up_loss, loss_weights, scheme_named
from lib.cud.config import CUDConfig
from lib.cud.coupling import couple
from lib.cud.flow import draw_times, flow_matching_loss, interpolate, velocity_target
from lib.cud.step_sizes import draw_step_sizes
from lib.cud.wavelet import wavelet_loss


@dataclass(frozen=True)
class Randomness:
    """Two streams of chance, so that methods that differ in the look-ahead alone see the same noise and times."""

    pairs: torch.Generator
    steps: torch.Generator


@dataclass(frozen=True)
class Objective:
    """L = w1 L_kd + w2 L_ori + β KL + (wavelet weight) L_w  (method figure of the official repository; its code).

    Attributes:
        config: which terms, and their settings.
        model: the student, a ``VelocityModel`` with one head for each aligned moment.
        teacher: whose main head gives slopes and targets. None: the student itself (the final official code);
            otherwise its moving average (the figure, and the first official code).
        encoder: the learnt coupling's network, where the configuration has one.
    """

    config: CUDConfig
    model: nn.Module
    teacher: nn.Module | None = None
    encoder: nn.Module | None = None

    def __call__(
        self, x0: Tensor, randomness: Randomness, *, labels: Tensor | None = None, progress: float = 0.0
    ) -> dict[str, Tensor]:
        """The loss of a batch, under ``loss``, beside its unweighted parts.

        Args:
            x0: data, (batch, ...).
            labels: classes (batch,) of a class-conditional network.
            progress: iteration / iterations, for the weight ramp.
        """
        config, catch_up = self.config, self.config.catch_up
        noise = torch.randn(x0.shape, generator=randomness.pairs, device=randomness.pairs.device).to(x0)
        grid = catch_up.grid if catch_up is not None and catch_up.discrete_time else None
        t = draw_times(x0.shape[0], randomness.pairs, grid=grid, device=x0.device)
        coupled = couple(config.coupling.kind, x0, noise, self.encoder)
        x_t, u = interpolate(x0, coupled.x1, t), velocity_target(x0, coupled.x1)

        predictions = self.model.all_heads(x_t, t, labels=labels)
        parts = {"flow": flow_matching_loss(predictions, u)}
        if catch_up is None:
            loss = parts["flow"]
        else:
            w1, w2 = loss_weights(catch_up.weights, progress, catch_up.catch_up_weight, catch_up.flow_weight)
            h = draw_step_sizes(t, catch_up.step_size, catch_up.grid, randomness.steps, discrete=catch_up.discrete_time)
            teacher = self.model if self.teacher is None else self.teacher
            parts["catch_up"] = catch_up_loss(
                predictions,
                lambda x, s: teacher(x, s, labels=labels),
                x_t,
                t,
                h,
                u,
                scheme_named(catch_up.scheme),
                reuse_first_slope=self.teacher is None and not config.network_has_dropout,
                chained=catch_up.chained,
            )
            loss = torch.add(w2 * parts["flow"], parts["catch_up"], alpha=w1)
        if coupled.divergence is not None:
            parts["divergence"] = coupled.divergence
            loss = loss + config.coupling.beta * coupled.divergence
        if config.wavelet_weight:
            parts["wavelet"] = wavelet_loss(coupled.x1, predictions[0], x0)
            loss = loss + config.wavelet_weight * parts["wavelet"]
        return {"loss": loss, **parts}
