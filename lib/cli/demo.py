"""``papers demo``: the models that a demo shows, and the start of one demo or of the hub with all of them."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from lib.cli.systems import exists, system_named
from lib.commands import note
from lib.errors import UserError
from lib.papers import load_cards

if TYPE_CHECKING:
    import gradio

CUD_RUNS = {
    "Points: catch-up": ("toy", "catch_up"),
    "Points: flow matching": ("toy", "flow_matching"),
    "Digits: catch-up": ("scaled", "catch_up"),
    "Digits: flow matching": ("scaled", "flow_matching"),
}
"""Label -> preset and method; trained once, then read from the folder that `papers train` would use."""

HQNAS_RUN = "runs/hqnas-scaled-compute-bound-0.25-0"
"""The folder of the search that the demo goes on from: where `papers train hqnas` puts it, too."""

CENET_RUNS = {"CENet-GCN-6": "cenet-gcn-6", "CENet-6, without the graph": "cenet-6"}
"""Label -> network, trained on the embedded words with the scaled preset."""


def serve(system: str | None, port: int | None) -> None:
    """Serve one demo, or the hub with all, until Ctrl-C.

    Raises:
        UserError: an unknown system, one without a demo, or a port that cannot be used.
    """
    _check_port(port)
    if system is not None:
        system_named(system)
        if system not in DEMOS:
            raise UserError(f"system '{system}' has no demo: choose one of {', '.join(DEMOS)}.")
        blocks = DEMOS[system]()
    else:
        from lib.demos.hub import build_hub

        cards = [card for card in load_cards() if exists(card.id) and card.id in DEMOS]
        blocks = build_hub({f"{card.chapter}. {card.short_name}": DEMOS[card.id] for card in cards})
    from lib.demos.serve import launch

    launch(blocks, port)


def _check_port(port: int | None) -> None:
    """Before minutes are spent on training."""
    import socket

    if port is None:
        return
    if not 1 <= port <= 65535:
        raise UserError(f"port {port} is out of range: give one from 1 to 65535, or leave it out.")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as fault:
            raise UserError(f"port {port} cannot be used ({fault.strerror}): choose another with --port.") from None


def cud_demo(runs: dict[str, tuple[str, str]] | None = None) -> "gradio.Blocks":
    """The demo of chapter 1. Models that are not in runs/ yet are trained: about two minutes on one core."""
    from lib.cud.command_line import CUDTrainOptions, default_out, train
    from lib.cud.train import load_trained
    from lib.demos.cud import DemoModel, build
    from lib.training.checkpoint import has_checkpoint

    models = {}
    for label, (preset, method) in (runs or CUD_RUNS).items():
        options = CUDTrainOptions(preset=preset, method=method, resume=True, checkpoint_every=0)
        folder = default_out(preset, method, options.seed)
        if not has_checkpoint(folder):
            note(f"The demo needs a model for '{label}': training it once.")
        train(options)  # returns at once when the run is complete
        flow = load_trained(Path(folder))
        models[label] = DemoModel(flow.model, flow.sample_shape)
    return build(models)


def cenet_demo(runs: dict[str, str] | None = None) -> "gradio.Blocks":
    """The demo of chapter 7. Networks that are not in runs/ yet are trained: some 40 seconds each on one core."""
    from lib.cenet.command_line import CENetTrainOptions, train
    from lib.cenet.spotter import load_spotter
    from lib.demos.cenet import build
    from lib.training.checkpoint import has_checkpoint

    spotters = {}
    for label, network in (runs or CENET_RUNS).items():
        folder = Path("runs") / f"cenet-scaled-{network}-0"  # where `papers train cenet --network` puts it, too
        if not has_checkpoint(folder):
            note(f"The demo needs a network for '{label}': training it once.")
        train(CENetTrainOptions(network=network, out=folder, resume=True, checkpoint_every=0))
        spotters[label] = load_spotter(folder)
    return build(spotters)


def hqnas_demo() -> "gradio.Blocks":
    """The demo of chapter 2. If the search that it goes on from is not in runs/ yet: some 15 seconds on one core."""
    from lib.demos.hqnas import build
    from lib.hqnas.command_line import HQNASTrainOptions, train
    from lib.hqnas.train import load_supernet, load_trained
    from lib.training.checkpoint import has_checkpoint
    from lib.vision.data import load_images

    folder = Path(HQNAS_RUN)
    if not has_checkpoint(folder):
        note("The demo needs a supernet to search from: training it once.")
    train(HQNASTrainOptions(out=folder, resume=True, checkpoint_every=0))  # returns at once when the run is complete
    config = load_trained(folder).config
    images = {split: load_images(config.data, split) for split in ("train", "test")}
    return build(
        load_supernet(folder), images["train"], images["test"], config,
        hardware=config.hardware, budget=config.search.objective.target,
    )  # fmt: skip


DEMOS: dict[str, Callable[[], "gradio.Blocks"]] = {"cud": cud_demo, "hqnas": hqnas_demo, "cenet": cenet_demo}
