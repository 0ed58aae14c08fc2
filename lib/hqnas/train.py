"""The whole system: search, slice, retrain. One configuration in, a network for a device out.

A run's folder holds the checkpoint of the network, its policy as ``policy.json``, and in ``search`` the checkpoint of
the supernet, from which a lifelong search goes on.
"""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from lib.errors import UserError
from lib.hqnas.config import HQNASConfig
from lib.hqnas.cost import CostTable
from lib.hqnas.hardware import hardware_named
from lib.hqnas.lifelong import continue_search
from lib.hqnas.model import Network, Supernet
from lib.hqnas.retrain import KIND, retrain
from lib.hqnas.search import KIND as SEARCH_KIND
from lib.hqnas.search import Found, search
from lib.hqnas.space import Choices, SearchSpace, choices_from_list, save_policy
from lib.training.checkpoint import load_checkpoint, restore_module
from lib.training.loop import History
from lib.training.run import Run
from lib.vision.data import ImageSet

SEARCH_FOLDER, POLICY_FILE = "search", "policy.json"


@dataclass
class Deployable:
    """A searched and trained network, and what is needed to use and to judge it.

    Attributes:
        network: in evaluation mode. cost, unit, device: what it costs, modelled. target: what was asked for.
        class_names: in the order of the outputs. data: the name of what it was trained on.
        found: the search; None for one that was read from a checkpoint. history: of the retraining.
    """

    config: HQNASConfig
    network: Network
    class_names: tuple[str, ...]
    cost: float
    target: float
    unit: str
    device: str
    data: str = ""
    seed: int = 0
    found: Found | None = None
    history: History = field(default_factory=History)

    @property
    def space(self) -> SearchSpace:
        """Of which it is a network."""
        return self.network.space

    @property
    def choices(self) -> Choices:
        """Its policy."""
        return self.network.choices


def train(
    config: HQNASConfig,
    data: ImageSet,
    run: Run | None = None,
    *,
    table: CostTable | None = None,
    start: Supernet | None = None,
    policy: Choices | None = None,
) -> Deployable:
    """Search a network for a device, and train it with its bits fixed.

    Args:
        run: its ``max_steps`` hold for the search and for the retraining, each.
        table: costs on the device; None: of ``config.hardware``.
        start: a supernet to go on from (``lib.hqnas.lifelong``). policy: train this one from random weights, without a
            search.

    Raises:
        UserError: hardware that is not known, a budget that no network keeps, data that do not fit, a run's folder that
            holds something else, a diverged loss.
    """
    run = run or Run()
    space = SearchSpace(config.space, data.shape, len(data.class_names))
    table = table or hardware_named(config.hardware).cost_table(space)
    found = None
    if policy is None:
        found = _searched(config, space, table, data, run, start)
        policy = found.choices
    cost = table.of(policy)
    target = found.target if found else cost
    about = {
        "hqnas": config.to_dict(), "class_names": list(data.class_names), "data": data.name,
        "cost": cost, "target": target, "unit": table.unit, "device": table.device,
    }  # fmt: skip
    network, history = retrain(
        space, policy, config.retrain, data, run.named("retrain"),
        start=found.supernet if found and config.inherit else None, clip=config.search.gates.clip,
        quantized=config.search.gates.start_bits > 0, about=about,
    )  # fmt: skip
    if run.out is not None and run.rank == 0:
        save_policy(run.out / POLICY_FILE, space, policy)
    return Deployable(
        config, network, tuple(data.class_names), cost, target, table.unit, table.device, data.name, run.seed, found,
        history,
    )  # fmt: skip


def _searched(
    config: HQNASConfig, space: SearchSpace, table: CostTable, data: ImageSet, run: Run, start: Supernet | None
) -> Found:
    searching = (replace(run, out=run.out / SEARCH_FOLDER) if run.out else run).named("search")
    if start is None:
        return search(space, config.search, table, data, searching)
    return continue_search(start, config.search, table, data, searching)


def load_trained(folder: Path | str) -> Deployable:
    """Read the network of a run. Raises UserError when that is not possible."""
    tensors, settings = load_checkpoint(folder, KIND)
    space, config, names = _settings(settings, folder)
    choices = choices_from_list(settings.get("blocks"), space, f"config.json in {folder}")
    network = Network(space, choices, settings.get("clip", "per_width"), quantized=settings.get("quantized", True))
    restore_module(network, tensors, "module.network.", folder)
    network.eval().requires_grad_(False)
    return Deployable(
        config, network, names, float(settings["cost"]), float(settings["target"]), str(settings["unit"]),
        str(settings["device"]), str(settings["data"]), int(settings["seed"]),
    )  # fmt: skip


def load_supernet(folder: Path | str) -> Supernet:
    """Read the supernet of a run, to go on from. Raises UserError when that is not possible."""
    _, settings = load_checkpoint(folder, KIND)
    space, config, _ = _settings(settings, folder)
    supernet = Supernet(space, config.search.gates)
    tensors, _ = load_checkpoint(Path(folder) / SEARCH_FOLDER, SEARCH_KIND)
    restore_module(supernet, tensors, "module.supernet.", folder)
    return supernet


def _settings(settings: dict[str, Any], folder: Path | str) -> tuple[SearchSpace, HQNASConfig, tuple[str, ...]]:
    names, shape = settings.get("class_names"), settings.get("image_shape")
    whole = isinstance(settings.get("hqnas"), dict) and isinstance(names, list) and isinstance(shape, list)
    numbers = all(isinstance(settings.get(key), int | float) for key in ("cost", "target", "seed"))
    if not whole or not numbers or not all(key in settings for key in ("unit", "device", "data")):
        raise UserError(f"config.json in {folder} describes no searched network: it is not a checkpoint of ours.")
    config = HQNASConfig.from_dict(settings["hqnas"])
    return SearchSpace(config.space, tuple(shape), len(names)), config, tuple(map(str, names))
