"""The second session: a trained flow becomes a generator that needs one step.

The trained flow walks from many noises; its clean estimates on the way are the targets, the blurrier ones first.
Source: official code, ``train_distill_update.py``. One departure: the official script forgets
Prior ShakeDrop, which the checkpoint was trained with. Here the network keeps it.
"""

from dataclasses import replace

import torch
from torch import Tensor, nn

from lib.cud.config import OptimiserConfig, SecondSessionConfig
from lib.cud.fit import Run, fit
from lib.cud.samplers import trajectory
from lib.cud.train import TrainedFlow, copy_network, piece_size, require_teacher
from lib.errors import UserError
from lib.training.digest import weights_digest
from lib.training.seeding import derive_seed


def distillation_targets(flow: TrainedFlow, noise: Tensor, session: SecondSessionConfig) -> Tensor:
    """x̂_m = x - t v(x, t) at the chosen evaluations of the flow's Euler walk.

    Args:
        noise: z, (n, ...).

    Returns:
        (n, stages, ...): for each noise, the clean estimates m of ``session.stages``; m = 0 is the one at t = 1.
    """
    device = next(flow.model.parameters()).device
    estimates = [
        trajectory(flow.model, piece.to(device), session.teacher_steps).clean_estimates[list(session.stages)].cpu()
        for piece in noise.split(piece_size(flow.sample_shape))
    ]
    return torch.cat(estimates, dim=1).transpose(0, 1).contiguous()


def one_step_loss(
    student: nn.Module, average: nn.Module, noise: Tensor, target: Tensor, *, head: int, anchor: float
) -> dict[str, Tensor]:
    """MSE(z - v(z, 1), x̂_m) + 0.1 MSE(v(z, 1), sg[v_EMA(z, 1)])."""
    t = torch.ones((), device=noise.device)
    velocity = student(noise, t, head=head)
    with torch.no_grad():
        anchored = average(noise, t, head=head)
    distillation = nn.functional.mse_loss(noise - velocity, target)
    pull = nn.functional.mse_loss(velocity, anchored)
    return {"loss": distillation + anchor * pull, "distillation": distillation, "anchor": pull}


def second_session(
    flow: TrainedFlow, run: Run | None = None, session: SecondSessionConfig | None = None
) -> TrainedFlow:
    """Distil a trained flow, stage after stage, into a one-step generator of the same network.

    Args:
        flow: the result of the first session; it is left as it is.
        session: settings; those of the flow's configuration if None.

    Raises:
        UserError: no settings anywhere, or a flow that cannot be walked in small steps.
    """
    run, session = run or Run(), session or flow.config.second_session
    if session is None:
        raise UserError(f"preset '{flow.config.name}' has no second session: pass its settings.")
    require_teacher(flow)
    if getattr(flow.config.network, "classes", 0):
        raise UserError("the second session is defined for networks without classes (CIFAR-10, MNIST and below).")

    config = replace(flow.config, second_session=session)
    noise = flow.noise(session.pairs, derive_seed(run.seed, "session 2"))
    targets = distillation_targets(flow, noise, session)
    pairs = run.batches(torch.cat([noise[:, None], targets], dim=1), session.batch_size, "session 2 order")
    head = len(flow.model.heads)
    student = copy_network(flow, head)
    # Only the last head learns: several devices wait for a gradient from each weight that asks for one.
    student.heads[:-1].requires_grad_(False)

    def make_loss(modules, average):
        def loss_of(step: int, part: int) -> dict[str, Tensor]:
            rows, _ = pairs.batch(part)
            stage = step // session.steps
            return one_step_loss(
                modules["model"], average.module, rows[:, 0], rows[:, 1 + stage], head=head, anchor=session.anchor
            )

        return loss_of

    averaged, history = fit(
        student,
        make_loss,
        OptimiserConfig(
            steps=session.steps * len(session.stages),
            batch_size=session.batch_size,
            learning_rate=session.learning_rate,
            cosine=session.cosine,
            ema_decay=session.ema_decay,
            ema_start=session.ema_start,
        ),
        run,
        # The source's weights, too: a run that is resumed from another flow would learn from two teachers.
        config={
            "cud": config.to_dict(),
            "data": flow.data,
            "seed": run.seed,
            "session": 2,
            "source": {"weights": weights_digest(flow.model)},
        },
        generators={},
    )
    return TrainedFlow(config, averaged, flow.data, 2, history)
