"""The search: weights and thresholds learn on the same batches (one-level), then the gates are read.

    warm      weights only; every gate is open, the cost counts nothing
    search    thresholds move, too: the loss is that of ``lib.hqnas.objective``
    frozen    gates stay as they are, and the weights settle

Freezing is ours: if weights stop learning while thresholds still move, late decisions are never repaired. The rate of
the thresholds falls to zero before it for the same reason.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lib.errors import UserError
from lib.hqnas.config import SearchConfig
from lib.hqnas.cost import CostTable
from lib.hqnas.gates import ROW, Gates
from lib.hqnas.model import Decision, Supernet
from lib.hqnas.objective import WITH_TARGET, Objective
from lib.hqnas.optimise import Images, make_optimizer, rate_of
from lib.hqnas.space import BITS, PARTS, Choices, SearchSpace
from lib.training.loop import History, train_loop
from lib.training.run import Run
from lib.training.schedule import learning_rate, set_learning_rate
from lib.training.seeding import derive_seed, isolated_seed
from lib.training.state import TrainingState
from lib.vision.data import ImageSet

KIND = "hqnas-search"
SLACK = 1 + 1e-6
"""Rounding that is no overrun of a target."""
LOGGED = 400
"""Rows of a log, about: what a picture can show."""


class GateLog(nn.Module):
    """Every norm, threshold and gate at regular steps; it travels with the checkpoint.

    Attributes:
        step: (rows,), -1 where nothing was written yet. norms, thresholds, gates: (rows, blocks, 9), in the order of
            ``lib.hqnas.gates.ROW``. cost: (rows,).
    """

    def __init__(self, steps: int, blocks: int):
        super().__init__()
        self.every = max(1, steps // LOGGED)
        rows = -(-steps // self.every)
        self.register_buffer("step", torch.full((rows,), -1))
        self.register_buffer("cost", torch.zeros(rows))
        for name in ("norms", "thresholds", "gates"):
            self.register_buffer(name, torch.zeros(rows, blocks, len(ROW)))

    @torch.no_grad()
    def note(self, step: int, decision: Decision, gates: Gates, cost: Tensor) -> None:
        """Remember a step, if its turn has come."""
        if step % self.every:
            return
        row = step // self.every
        self.step[row] = step
        self.cost[row] = cost.detach()
        self.norms[row], self.thresholds[row], self.gates[row] = decision.norms, decision.thresholds, gates.flat()

    @property
    def rows(self) -> int:
        """How many were written."""
        return int((self.step >= 0).sum())


@dataclass(frozen=True)
class Flip:
    """A decision that changed: at ``step`` the ``gate`` of ``block`` opened or closed, because of these two numbers.

    Only when the gates freeze a gate may move against them, so that the budget is kept, or used.
    """

    step: int
    block: str
    gate: str
    opened: bool
    norm: float
    threshold: float

    def __str__(self) -> str:
        verb = "opened" if self.opened else "closed"
        if self.opened != (self.norm >= self.threshold):
            return f"step {self.step}: {self.block}, {self.gate} {verb} when the gates were frozen, for the budget"
        sign = ">=" if self.opened else "<"
        return f"step {self.step}: {self.block}, {self.gate} {verb}: {self.norm:.3f} {sign} {self.threshold:.3f}"


@dataclass
class Found:
    """What a search found.

    Attributes:
        choices: the policy. cost: of it, in the unit of ``table``. target: what was asked for, or None.
        supernet: with its weights, in evaluation mode. Its norms went on while the gates were frozen: to use it as it
            was found, slice it (``lib.hqnas.model.sliced_from(supernet, choices)``).
        log: every gate on the way. history: losses and costs.
        steps: of training that it took in all.
    """

    space: SearchSpace
    table: CostTable
    choices: Choices
    cost: float
    target: float | None
    supernet: Supernet
    log: GateLog
    history: History = field(default_factory=History)
    steps: int = 0

    def flips(self) -> Iterator[Flip]:
        """Every decision that changed, in its order, as far as the log is fine enough to see it."""
        log = self.log
        for row in range(1, log.rows):
            for block, place in (log.gates[row] != log.gates[row - 1]).nonzero().tolist():
                yield Flip(
                    int(log.step[row]),
                    self.space.blocks[block].name,
                    ROW[place],
                    bool(log.gates[row, block, place] > 0.5),
                    float(log.norms[row, block, place]),
                    float(log.thresholds[row, block, place]),
                )


class _Remembered(nn.Module):
    """Gates that later steps need, also after a restart: the last that kept the target, and the frozen ones."""

    def __init__(self, blocks: int):
        super().__init__()
        for name in ("affordable", "frozen"):
            self.register_buffer(name, torch.zeros(blocks, len(ROW)))
            self.register_buffer(f"{name}_known", torch.zeros((), dtype=torch.bool))

    @torch.no_grad()
    def keep(self, name: str, gates: Gates) -> None:
        """Remember these as ``affordable`` or ``frozen``."""
        getattr(self, name).copy_(gates.flat())
        getattr(self, f"{name}_known").fill_(True)

    def get(self, name: str) -> Gates | None:
        """What was remembered, if anything."""
        return gates_of_rows(getattr(self, name)) if getattr(self, f"{name}_known") else None


def search(
    space: SearchSpace,
    config: SearchConfig,
    table: CostTable,
    data: ImageSet,
    run: Run | None = None,
    *,
    start: Supernet | None = None,
    shape: Choices | None = None,
) -> Found:
    """Search a network of ``space`` for the device of ``table``.

    Args:
        data: images to train on. run: seed, checkpoints, device, bar; the default keeps nothing on disk.
        start: go on from this supernet's weights and thresholds (it is changed) instead of random weights.
        shape: keep kernels, expansions and skips of this policy; only bits are searched.

    Returns:
        The network. With an objective that has a target (hinge, absolute) it keeps the target: if the gates stand above
        it when they are frozen, the last ones that kept it are taken; if none ever did, gates are closed, those first
        that are nearest to closing. What is left of the budget then opens those that are nearest to opening. (Only
        where ``shape`` costs more than the target at 2 bits the cost stays above.)

    Raises:
        UserError: a target that no network of the space can keep, data that do not fit, a diverged loss.
    """
    run = run or Run()
    _check(space, data)
    recipe = config.recipe
    target = table.target(space, config.objective.target)
    supernet = start or Supernet(space, config.gates, derive_seed(run.seed, "supernet"))
    if start is not None and start.space != space:
        raise UserError("The search network to go on from is of another space: start a new search.")
    supernet = supernet.to(run.device).train()
    objective = Objective(config.objective, target).to(run.device)
    log = GateLog(recipe.steps, len(space.blocks)).to(run.device)
    remembered = _Remembered(len(space.blocks)).to(run.device)
    images = Images(data, recipe, run, "search")
    weights = make_optimizer(supernet.weights(), recipe)
    thresholds = _threshold_optimizer(supernet, config)
    called, steppers = supernet, (weights, thresholds)
    if run.fabric is not None:
        called = run.fabric.setup_module(supernet)
        steppers = tuple(run.fabric.setup_optimizers(one) for one in steppers)
    warm = round(config.warm * recipe.steps)
    frozen = recipe.steps - round(config.frozen * recipe.steps)
    bound = config.objective.form in WITH_TARGET
    fixed = None if shape is None else Gates.of(space.checked(shape)).to(run.device)

    def settled() -> Gates:
        if (known := remembered.get("frozen")) is None:
            known = _settled(supernet, fixed, table, remembered.get("affordable"), target, bound=bound)
            remembered.keep("frozen", known)
        return known

    def step(index: int) -> dict[str, Tensor]:
        set_learning_rate(weights, rate_of(recipe, index))
        searching = warm <= index < frozen
        x, labels = images.batch(index)
        for one in steppers:
            one.zero_grad()
        logits, decision = called(x, settled() if index >= frozen else None, fixed)
        gates = decision.gates
        cost = table.expected(gates)
        price = float(cost.detach())
        task = F.cross_entropy(logits, labels, label_smoothing=recipe.label_smoothing)
        loss = objective(task, cost) if searching else task
        if not searching and run.world_size > 1:  # every weight must have a gradient, if only 0
            loss = loss + 0 * supernet.thresholds.levels.sum()
        loss.backward() if run.fabric is None else run.fabric.backward(loss)
        steppers[0].step()
        if searching:
            set_learning_rate(
                thresholds, learning_rate(index - warm, base=config.threshold_rate, total=max(1, frozen - warm))
            )
            steppers[1].step()
            objective.press(cost)
            if price <= target * SLACK:
                remembered.keep("affordable", gates)
        log.note(index, decision, gates, cost)
        right = (logits.detach().argmax(1) == labels).float().mean()
        return {"loss": task, "accuracy": right, "cost": cost.detach()}

    state = TrainingState(
        kind=KIND,
        config={
            **space.to_dict(),
            "search": _as_dict(config),
            "device": table.device,
            "target": target,
            "seed": run.seed,
        },
        modules={"supernet": supernet, "objective": objective, "log": log, "remembered": remembered},
        optimizers={"weights": weights, "thresholds": thresholds},
        fabric=run.fabric,
    )
    settings = run.loop_settings(recipe.steps)
    with isolated_seed(derive_seed(run.seed, "dropout", run.rank)):
        history = train_loop(
            step, state=state, settings=settings, progress=run.progress, curve=run.curve, description=run.description
        )
    choices = space.checked(settled().choices())
    supernet.eval()
    return Found(space, table, choices, table.of(choices), target, supernet, log.cpu(), history, history.steps)


def _threshold_optimizer(supernet: Supernet, config: SearchConfig) -> torch.optim.Optimizer:
    if config.threshold_optimiser == "adam":
        return torch.optim.Adam(supernet.thresholds.parameters(), config.threshold_rate, betas=(0.9, 0.99))
    return torch.optim.SGD(supernet.thresholds.parameters(), config.threshold_rate, momentum=0.9)


def _settled(
    supernet: Supernet, shape: Gates | None, table: CostTable, affordable: Gates | None, target: float, *, bound: bool
) -> Gates:
    """The gates to keep: those of now, unless the target says otherwise."""
    decision = supernet.decision(shape)
    if not bound:
        return decision.gates
    free = torch.ones_like(decision.norms, dtype=torch.bool)
    free[:, 0] = supernet.thresholds.skippable
    free[:, :3] &= shape is None
    free[:, 3:] &= supernet.config.bits
    margins = decision.norms - decision.thresholds
    gates = decision.gates
    if float(table.expected(gates)) > target * SLACK:
        gates = affordable or closed_until(gates, margins, table, target, free)
    return filled(gates, margins, table, target, free)


def gates_of_rows(rows: Tensor) -> Gates:
    """``Gates.flat`` undone."""
    return Gates(rows[:, 0], rows[:, 1], rows[:, 2], rows[:, 3:].unflatten(1, (len(PARTS), len(BITS) - 1)))


def closed_until(gates: Gates, margins: Tensor, table: CostTable, target: float, free: Tensor) -> Gates:
    """Close gates, those with the smallest margin (norm minus threshold) first, until the cost keeps the target.

    Args:
        margins: (blocks, 9). free: which gates may be closed, bool (blocks, 9).
    """
    rows = gates.flat().clone()
    for place in torch.where(free, margins, torch.inf).flatten().argsort().tolist():
        if float(table.expected(gates_of_rows(rows))) <= target * SLACK:
            break
        block, gate = divmod(place, len(ROW))
        if free[block, gate]:
            rows[block, gate] = 0.0
    return gates_of_rows(rows)


def filled(gates: Gates, margins: Tensor, table: CostTable, target: float, free: Tensor) -> Gates:
    """Open closed gates, those with the largest margin first, wherever the cost still keeps the target.

    So no budget is left unused, and nothing stays closed that saves nothing.
    """
    rows = gates.flat().clone()
    order = margins.flatten().argsort(descending=True).tolist()
    opened = True
    while opened:  # once more, since a gate may have stood behind one that opened later
        opened = False
        for place in order:
            block, gate = divmod(place, len(ROW))
            if rows[block, gate] or not free[block, gate] or _idle(rows[block], gate):
                continue
            rows[block, gate] = 1.0
            if float(table.expected(gates_of_rows(rows))) > target * SLACK:
                rows[block, gate] = 0.0
            else:
                opened = True
    return gates_of_rows(rows)


def _idle(row: Tensor, gate: int) -> bool:
    """Whether a gate would change nothing: its block is left out, or its 4 bits are closed."""
    behind_four = gate >= 3 and (gate - 3) % 2 == 1 and not row[gate - 1]
    return bool(behind_four or (gate > 0 and not row[0]))


def _check(space: SearchSpace, data: ImageSet) -> None:
    if tuple(data.shape) != space.image_shape:
        raise UserError(
            f"{data.name} has images of shape {tuple(data.shape)}, and the space is for {space.image_shape}: build it "
            "for these images."
        )
    if len(data.labels.unique()) < 2:
        raise UserError(f"{data.name} has images of one class only: at least two are needed to tell apart.")


def _as_dict(config: SearchConfig) -> dict:
    from pydantic import TypeAdapter

    return TypeAdapter(SearchConfig).dump_python(config, mode="json")
