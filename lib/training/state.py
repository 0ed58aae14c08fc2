"""All that a training run must remember to go on as if it had never stopped, as one flat dict of tensors."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lib.errors import UserError
from lib.training.checkpoint import check_tensors, has_checkpoint, load_checkpoint, restore_module, save_checkpoint
from lib.training.ema import ExponentialMovingAverage

TRAINING = "training"  # the key of config.json that holds the run's own record


@dataclass
class TrainingState:
    """What changes while a system trains. Names are free; they become the names of the tensors in the file.

    kind         the system, as "cud"
    config       its settings (anything JSON can hold); a run can be resumed only with equal settings
    modules      networks                          -> `module.<name>.<parameter>`
    optimizers   their optimisers                  -> `optimizer.<name>.<number>.<key>`
    averages     moving averages                   -> `average.<name>.module.<parameter>`
    generators   random generators in use          -> `generator.<name>`; torch's global ones are added (dropout)
    fabric       Lightning Fabric, when the run goes through it: only the first process writes
    """

    kind: str
    config: dict[str, Any]
    modules: dict[str, nn.Module]
    optimizers: dict[str, torch.optim.Optimizer] = field(default_factory=dict)
    averages: dict[str, ExponentialMovingAverage] = field(default_factory=dict)
    generators: dict[str, torch.Generator] = field(default_factory=dict)
    fabric: Any = None

    def __post_init__(self):
        if TRAINING in self.config:
            raise ValueError(f"'{TRAINING}' is the loop's own key in config.json: call the setting something else")

    @property
    def rank(self) -> int:
        """Number of this process, from 0."""
        return 0 if self.fabric is None else self.fabric.global_rank

    @property
    def world_size(self) -> int:
        """Number of processes."""
        return 1 if self.fabric is None else self.fabric.world_size

    def save(self, folder: Path | str, record: dict[str, Any], extra: dict[str, Tensor], *, new: bool = False) -> None:
        """Write the state, the loop's `record` and its `extra` tensors. All processes call it, one writes.

        Raises UserError when a weight is not a finite number, or when a `new` run finds the checkpoint of another one
        that ran beside it; then the last good checkpoint stays.
        """
        tensors = self._tensors() | extra
        groups = {name: _groups(optimizer) for name, optimizer in self.optimizers.items()}
        config = self.config | {TRAINING: record | {"world_size": self.world_size, "optimizers": groups}}
        fault = None
        if self.rank == 0:
            try:
                if new and has_checkpoint(folder):
                    raise UserError(f"Another run wrote to {folder} meanwhile: start this one anew in its own folder.")
                self._check_finite(tensors)
                save_checkpoint(folder, tensors, config, self.kind)
            except UserError as error:
                fault = str(error)
        if self.world_size > 1:  # the others wait, and stop too when the first one could not write
            fault = self.fabric.broadcast(fault)
        if fault is not None:
            raise UserError(fault)

    def restore(self, folder: Path | str) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """Take back what `save` wrote: returns the loop's record and its extra tensors (`history.*`)."""
        tensors, config = load_checkpoint(folder, self.kind)
        record = config.pop(TRAINING, None)
        if not isinstance(record, dict):
            raise UserError(f"{folder} holds a finished model without a training state: it cannot be resumed.")
        _check_same_settings(json.loads(json.dumps(self.config)), config, folder)
        if record.get("world_size") != self.world_size:
            raise UserError(
                f"The run in {folder} used {record.get('world_size')} device(s), this one has {self.world_size}: "
                "resume it with the same number, else its random numbers would differ."
            )
        try:
            self._restore(tensors, record, folder)
        except (LookupError, TypeError, ValueError, RuntimeError, AttributeError) as error:
            raise UserError(f"The training state in {folder} does not fit this run ({error}).") from None
        return record, {name: value for name, value in tensors.items() if name.startswith("history.")}

    def _tensors(self) -> dict[str, Tensor]:
        tensors: dict[str, Tensor] = {}
        for name, module in self.modules.items():
            tensors |= {f"module.{name}.{key}": value for key, value in module.state_dict().items()}
        for name, average in self.averages.items():
            tensors |= {f"average.{name}.{key}": value for key, value in average.state_dict().items()}
        for name, optimizer in self.optimizers.items():
            for number, state in optimizer.state_dict()["state"].items():
                for key, value in state.items():
                    tensors[f"optimizer.{name}.{number}.{key}"] = torch.as_tensor(value)
        for name, value in self._random_states().items():
            tensors |= {f"{name}.{rank}": part for rank, part in enumerate(self._of_all_processes(value))}
        return tensors

    def _restore(self, tensors: dict[str, Tensor], record: dict[str, Any], folder: Path | str) -> None:
        for name, module in self.modules.items():
            restore_module(module, tensors, f"module.{name}.", folder)
        for name, average in self.averages.items():
            state = _part(tensors, f"average.{name}.")
            check_tensors(state, average.state_dict(), f"average.{name}.", folder)
            average.load_state_dict(state)
        for name, optimizer in self.optimizers.items():
            _restore_optimizer(optimizer, _part(tensors, f"optimizer.{name}."), record["optimizers"][name])
        for name, set_state in self._random_setters().items():
            set_state(tensors[f"{name}.{self.rank}"])

    def _random_states(self) -> dict[str, Tensor]:
        states = {f"generator.{name}": source.get_state() for name, source in self.generators.items()}
        states["random.cpu"] = torch.get_rng_state()
        if self._on_cuda():
            states["random.cuda"] = torch.cuda.get_rng_state()
        return states

    def _random_setters(self) -> dict[str, Callable[[Tensor], None]]:
        setters = {f"generator.{name}": source.set_state for name, source in self.generators.items()}
        setters["random.cpu"] = torch.set_rng_state
        if self._on_cuda():
            setters["random.cuda"] = torch.cuda.set_rng_state
        return setters

    def _on_cuda(self) -> bool:
        return any(weight.is_cuda for module in self.modules.values() for weight in module.parameters())

    def _of_all_processes(self, value: Tensor) -> list[Tensor]:
        if self.world_size == 1:
            return [value]
        return list(self.fabric.all_gather(value).cpu())

    def _check_finite(self, tensors: dict[str, Tensor]) -> None:
        for name, value in tensors.items():
            if name.startswith("module.") and value.is_floating_point() and not torch.isfinite(value).all():
                raise UserError(
                    f"The weights '{name}' hold NaN or infinity: training diverged. The last good checkpoint was "
                    "kept; lower the learning rate or look for bad samples."
                )


def _part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name[len(prefix) :]: value for name, value in tensors.items() if name.startswith(prefix)}


def _groups(optimizer: torch.optim.Optimizer) -> list[dict[str, Any]]:
    """The optimiser's settings (learning rate and so on), as JSON can hold them."""
    return [
        {key: float(value) if isinstance(value, Tensor) else value for key, value in group.items()}
        for group in optimizer.state_dict()["param_groups"]
    ]


def _restore_optimizer(
    optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor], groups: list[dict[str, Any]]
) -> None:
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        number, key = name.split(".", 1)
        if value.ndim and value.shape != weights[int(number)].shape:
            raise ValueError(f"optimiser state '{name}' has shape {tuple(value.shape)}")
        state.setdefault(int(number), {})[key] = value
    # JSON knows no tuples (Adam's betas): take the type that the optimiser has now.
    for mine, theirs in zip(optimizer.param_groups, groups, strict=True):
        for key, value in theirs.items():
            if isinstance(mine.get(key), tuple):
                theirs[key] = tuple(value)
    optimizer.load_state_dict({"state": state, "param_groups": groups})
    # Fused optimisers pair weights and moments by their place in memory. A checkpoint has everything in the usual
    # order; weights may lie with their channels last.
    for weight, moments in optimizer.state.items():
        for name, value in moments.items():
            if value.shape == weight.shape:
                moments[name] = torch.empty_like(weight, dtype=value.dtype).copy_(value)


def _check_same_settings(now: Any, then: Any, folder: Path | str, path: str = "") -> None:
    if isinstance(now, dict) and isinstance(then, dict):
        for key in sorted(now.keys() | then.keys()):
            _check_same_settings(now.get(key), then.get(key), folder, f"{path}.{key}" if path else key)
    elif now != then:
        raise UserError(
            f"The run in {folder} was started with {path} = {then}, now it is {now}: resume it with the same "
            "settings, or choose another folder."
        )
