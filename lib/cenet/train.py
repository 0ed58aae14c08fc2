"""Train a keyword spotter from a configuration."""

from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lib.cenet.clips import Clips
from lib.cenet.config import KeywordConfig, RecipeConfig
from lib.cenet.spotter import KIND, KeywordModel, Spotter
from lib.cenet.stream import Stream
from lib.cenet.task import Task
from lib.errors import UserError
from lib.speech.augment.masking import SpecAugment, spec_augment
from lib.training.digest import weights_digest
from lib.training.loop import train_loop
from lib.training.run import Run
from lib.training.schedule import learning_rate, set_learning_rate
from lib.training.seeding import derive_seed, isolated_seed
from lib.training.state import TrainingState

FITTED_STEPS = 8
"""Batches from which the statistics of the features are taken."""


def train(
    config: KeywordConfig,
    data: Clips | Stream,
    run: Run | None = None,
    *,
    task: Task | None = None,
    start: Spotter | None = None,
) -> Spotter:
    """One training, from random weights or from those of another spotter.

    Args:
        data: clips to train on; or a stream of them, so that several networks hear the very same batches.
        run: seed, checkpoints, device, bar; the default keeps nothing on disk.
        task: where the clips come from, for whoever reads the checkpoint.
        start: a spotter whose weights are taken over, all but the last layer's; graph modules that it has not stay
            random, with γ = 0.

    Raises:
        UserError: fewer than two classes, clips or a start that do not fit, a checkpoint that cannot be used, a
            diverged loss.
    """
    run = run or Run()
    clips = data.clips if isinstance(data, Stream) else data
    _check(clips)
    stream = data if isinstance(data, Stream) else _stream(clips, config, run)
    _check_fit(stream, config)
    model = KeywordModel(config, len(clips.class_names), derive_seed(run.seed, "model")).to(run.device)
    # the statistics are those of rank 0's batches on every device
    model.normalise.fit(torch.cat([stream.batch(step)[0] for step in range(FITTED_STEPS)]))
    if start is not None:
        _take_over(model, start, config)
    model.train()
    optimizer = _optimizer(model, config.recipe, run)
    called, stepped = model, optimizer
    if run.fabric is not None:
        called = run.fabric.setup_module(model)
        stepped = run.fabric.setup_optimizers(optimizer)
    recipe = config.recipe
    masks = _masks(config)

    def step(index: int) -> dict[str, Tensor]:
        set_learning_rate(optimizer, rate_of(recipe, index))
        features, labels = stream.batch(index)
        if masks is not None:
            mean = features.mean(1, keepdim=True) if config.own_mean else model.normalise.mean
            features = spec_augment(features - mean, masks, run.generator("masks", index)) + mean
        stepped.zero_grad()
        found = []
        for part_features, part_labels in zip(
            features.chunk(run.accumulate), labels.chunk(run.accumulate), strict=True
        ):
            logits = called(part_features)
            loss = F.cross_entropy(logits, part_labels, label_smoothing=recipe.label_smoothing)
            share = loss * (len(part_labels) / len(labels))
            share.backward() if run.fabric is None else run.fabric.backward(share)
            found.append(torch.stack([share.detach(), (logits.detach().argmax(1) == part_labels).sum() / len(labels)]))
        stepped.step()
        loss, accuracy = torch.stack(found).sum(0)
        return {"loss": loss, "accuracy": accuracy, **_gammas(model)}

    settings = run.loop_settings(recipe.steps)
    about = {
        "cenet": config.to_dict(), "class_names": list(clips.class_names), "data": clips.name, "seed": run.seed,
        "accumulate": run.accumulate, "task": {} if task is None else asdict(task),
    }  # fmt: skip
    if start is not None:
        about["source"] = {"weights": weights_digest(start.model)}
    state = TrainingState(
        kind=KIND, config=about, modules={"model": model}, optimizers={recipe.optimiser: optimizer}, fabric=run.fabric
    )
    with isolated_seed(derive_seed(run.seed, "dropout", run.rank)):
        history = train_loop(
            step, state=state, settings=settings, progress=run.progress, curve=run.curve, description=run.description
        )
    model.eval().requires_grad_(False)
    return Spotter(config, model, clips.class_names, clips.name, run.seed, about["task"], history)


def rate_of(recipe: RecipeConfig, step: int) -> float:
    """The learning rate of a step, from 0."""
    if recipe.schedule == "steps":
        return recipe.learning_rate * 0.1 ** sum(step >= boundary for boundary in recipe.boundaries)
    return learning_rate(step, base=recipe.learning_rate, warmup=recipe.warmup, total=recipe.steps)


def _take_over(model: KeywordModel, source: Spotter, config: KeywordConfig) -> None:
    wanted, found = model.state_dict(), source.model.state_dict()
    taken = {name: value for name, value in found.items() if name in wanted and "classifier" not in name}
    missing = [name for name in wanted.keys() - taken.keys() if "classifier" not in name and ".graphs." not in name]
    same = not missing and all(wanted[name].shape == value.shape for name, value in taken.items())
    alike = (source.config.features, source.config.own_mean) == (config.features, config.own_mean)
    if not (same and alike):
        raise UserError("The network to start from has other layers or features: start from one of the same.")
    model.load_state_dict(wanted | taken)


def _check(clips: Clips) -> None:
    filled = [name for name, count in clips.counts.items() if count]
    if len(filled) < 2:
        raise UserError(
            f"{clips.name} has only the class '{filled[0] if filled else 'none'}': at least two are needed, or there "
            "is nothing to tell apart."
        )
    empty = [name for name, count in clips.counts.items() if not count]
    if empty:
        raise UserError(f"{clips.name} has no clip of the class '{empty[0]}' to train on: add some, or leave it out.")
    if not torch.isfinite(clips.waveforms).all():
        raise UserError(f"{clips.name} holds NaN or infinity: remove those recordings.")


def _check_fit(stream: Stream, config: KeywordConfig) -> None:
    """Refuse what the trained spotter would not hear in the same way later."""
    samples = round(config.seconds * config.features.sample_rate)
    if stream.clips.waveforms.shape[1] != samples:
        raise UserError(
            f"{stream.clips.name} has clips of {stream.clips.waveforms.shape[1]} samples and the spotter is to hear "
            f"{samples}: cut them to its {config.seconds:g} s."
        )
    if stream.features != config.features:
        raise UserError("The stream makes other features than the spotter has: make it from the same configuration.")


def _stream(clips: Clips, config: KeywordConfig, run: Run) -> Stream:
    return Stream(clips, config, run.seed, rank=run.rank, world_size=run.world_size, device=run.device)


def _masks(config: KeywordConfig) -> SpecAugment | None:
    augment = config.augment
    if not (augment.time_mask or augment.frequency_mask):
        return None
    return SpecAugment(
        frequency_masks=1 if augment.frequency_mask else 0,
        frequency_width=augment.frequency_mask,
        time_masks=1 if augment.time_mask else 0,
        time_width=augment.time_mask,
        time_fraction=0.5,
    )


def _optimizer(model: nn.Module, recipe: RecipeConfig, run: Run) -> torch.optim.Optimizer:
    decayed = [weight for weight in model.parameters() if weight.ndim > 1]
    free = [weight for weight in model.parameters() if weight.ndim <= 1]  # biases, normalisation, the graph's γ
    groups = [{"params": decayed, "weight_decay": recipe.weight_decay}, {"params": free, "weight_decay": 0.0}]
    fused = run.device.type in ("cpu", "cuda")
    if recipe.optimiser == "sgd":
        return torch.optim.SGD(groups, recipe.learning_rate, momentum=recipe.momentum, fused=fused)
    return torch.optim.AdamW(groups, recipe.learning_rate, fused=fused)


def _gammas(model: KeywordModel) -> dict[str, Any]:
    graphs = getattr(model.network, "graphs", {})
    return {f"gamma {stage}": graph.gamma.detach().clone() for stage, graph in graphs.items()}
