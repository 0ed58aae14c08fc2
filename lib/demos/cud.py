"""The demo of chapter 1: choose a method, a solver and its steps, and watch noise become samples."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from lib.cud.samplers import SOLVER_NAMES, trajectory
from lib.demos.serve import load_gradio
from lib.errors import UserError
from lib.figures import image_rows, plot_clouds, plot_paths, png_bytes
from lib.figures.grids import sheet

if TYPE_CHECKING:
    import gradio

MOST_SAMPLES, MOST_STEPS = 256, 64
_COLUMNS = 9  # states shown of a walk, first and last among them


@dataclass(frozen=True)
class DemoModel:
    """A trained model on offer.

    Attributes:
        model: a velocity model.
        shape: of one sample: (2,) for a point, (channels, height, width) for an image.
        head: which output head is followed, from 1; None takes the one that the model samples with.
        classes: of a class-conditional model, whose samples then run through the classes; else None.
        data: points of the target, shape (batch, 2), to lie pale behind the samples of a model of points.
    """

    model: torch.nn.Module
    shape: tuple[int, ...]
    head: int | None = None
    classes: int | None = None
    data: Tensor | None = None


@dataclass(frozen=True)
class Generation:
    """What one press of the button made.

    Attributes:
        entry: the model.
        states: (steps + 1, samples, ...), from noise to sample.
        times: (steps + 1,), falling from 1 to 0.
        nfe: network calls; each serves all samples at once.
        seconds: for all samples together.
    """

    entry: DemoModel
    states: Tensor
    times: Tensor
    nfe: int
    seconds: float

    @property
    def samples(self) -> Tensor:
        """(samples, ...)."""
        return self.states[-1]

    @property
    def milliseconds_per_sample(self) -> float:
        """Measured here and now, for the whole batch divided by its size."""
        return 1000 * self.seconds / self.states.shape[1]


def generate(entry: DemoModel, solver: str = "euler", steps: int = 4, seed: int = 0, count: int = 16) -> Generation:
    """Samples of one model. The same seed gives the same noise for every method, solver and number of steps.

    Raises:
        UserError: an unknown solver, or a number of steps or samples that is out of range or not whole.
    """
    for name, value, low, high in (("steps", steps, 1, MOST_STEPS), ("samples", count, 1, MOST_SAMPLES)):
        if int(value) != value or not low <= value <= high:
            raise UserError(f"The number of {name} is a whole number from {low} to {high}, not {value}.")
    if int(seed) != seed or not 0 <= seed < 2**31:
        raise UserError(f"The seed is a whole number from 0 to 2147483647, not {seed}.")
    if solver not in SOLVER_NAMES:
        raise UserError(f"Solver {solver!r} is not known: choose one of {', '.join(SOLVER_NAMES)}.")
    noise = torch.randn(int(count), *entry.shape, generator=torch.Generator().manual_seed(int(seed)))
    labels = torch.arange(int(count)) % entry.classes if entry.classes else None
    # A first call in a process also pays for set-up; it is not what the reader wants to know.
    trajectory(entry.model, noise[:1], 1, head=entry.head, labels=labels[:1] if labels is not None else None)
    start = time.perf_counter()
    walk = trajectory(entry.model, noise, int(steps), solver, head=entry.head, labels=labels)
    seconds = time.perf_counter() - start
    return Generation(entry, walk.points, walk.times, walk.nfe, seconds)


def _picture(png: bytes) -> np.ndarray:
    import io

    from PIL import Image

    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))


def sample_picture(result: Generation) -> np.ndarray:
    """The samples as one picture, uint8 (height, width, 3)."""
    if result.samples.dim() == 2:
        return _picture(png_bytes(plot_clouds({"t = 0": result.samples}, data=result.entry.data, size=4.2, dot=14)))
    pixels = sheet(result.samples, columns=8 if len(result.samples) <= 64 else 16)
    scale = max(1, round(520 / pixels.shape[1]))  # whole pixels stay crisp
    large = np.round(255 * pixels.repeat(scale, 0).repeat(scale, 1)).astype(np.uint8)
    return large if large.shape[2] == 3 else large.repeat(3, axis=2)


def walk_picture(result: Generation) -> np.ndarray:
    """The way from noise to sample as one picture, uint8 (height, width, 3)."""
    if result.samples.dim() == 2:
        return _picture(png_bytes(plot_paths({"t = 1 to 0": result.states}, data=result.entry.data, size=4.2)))
    picked = np.unique(np.linspace(0, len(result.states) - 1, _COLUMNS).round().astype(int))
    rows = {f"{i + 1}": result.states[picked, i] for i in range(min(5, result.states.shape[1]))}
    captions = [f"t = {result.times[i]:.2f}".rstrip("0").rstrip(".") for i in picked]
    return _picture(png_bytes(image_rows(rows, columns=_COLUMNS, captions=captions)))


def describe(name: str, solver: str, result: Generation) -> str:
    """One line of figures under the pictures."""
    calls = f"{result.nfe} network call{'s' * (result.nfe != 1)}"
    count = result.states.shape[1]
    return (
        f"**{name}**, {solver}: **{calls}** for each of {count} sample{'s' * (count != 1)}, "
        f"**{result.milliseconds_per_sample:.2f} ms** a sample on this machine."
    )


def build(models: Mapping[str, DemoModel]) -> "gradio.Blocks":
    """The demo for these models, not yet served.

    Args:
        models: name -> model, in the order of the menu.

    Raises:
        UserError: no model.
    """
    if not models:
        raise UserError("The demo needs at least one trained model.")
    gr = load_gradio()

    def run(method: str, solver: str, steps: float, seed: float, count: float):
        try:
            if method not in models:
                raise UserError(f"Method {method!r} is not on offer: choose one of {', '.join(models)}.")
            result = generate(models[method], solver, steps, seed, count)
        except UserError as error:
            raise gr.Error(str(error), print_exception=False) from error
        return sample_picture(result), walk_picture(result), describe(method, solver, result)

    with gr.Blocks(title="Catch-Up Distillation", analytics_enabled=False) as demo:
        gr.Markdown("## From noise to samples in a few steps\nThe same seed is the same noise for every method.")
        with gr.Row():
            with gr.Column(scale=1, min_width=260):
                method = gr.Dropdown(list(models), value=next(iter(models)), label="Method")
                solver = gr.Dropdown(list(SOLVER_NAMES), value="euler", label="Solver")
                steps = gr.Slider(1, MOST_STEPS, 4, step=1, label="Steps", info="adaptive chooses its own")
                count = gr.Slider(1, MOST_SAMPLES, 16, step=1, label="Number of samples")
                seed = gr.Number(0, label="Seed", precision=0, minimum=0)
                button = gr.Button("Generate", variant="primary")
            with gr.Column(scale=2, min_width=300):
                # The headings stand above the pictures: Gradio's own labels would lie over their corners.
                gr.Markdown("**Samples**")
                samples = gr.Image(
                    label="Samples", show_label=False, alt_text="The samples.", format="png", buttons=[],
                    interactive=False,
                )  # fmt: skip
                facts = gr.Markdown()
                gr.Markdown("**The way from noise to sample**")
                walk = gr.Image(
                    label="The way from noise to sample", show_label=False, alt_text="States of the walk, noise first.",
                    format="png", buttons=[], interactive=False,
                )  # fmt: skip
        inputs, outputs = [method, solver, steps, seed, count], [samples, walk, facts]
        button.click(run, inputs, outputs, api_name="cud_generate")
        demo.load(run, inputs, outputs, api_visibility="private")
    return demo
