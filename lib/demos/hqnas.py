"""The demo of chapter 2: a device and a budget in, a network out, and a digit to try it on."""

import base64
import copy
import functools
import html
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from lib.demos.digit_pad import FLUSH, SIDE, digit_pad, read_canvas, to_digit
from lib.demos.serve import load_gradio
from lib.errors import UserError
from lib.figures.networks import plot_latency_shares, plot_network
from lib.figures.style import SMALLEST_SCALE, STYLE, StillFigure, png_bytes
from lib.hqnas.comparison import aimed, moved_everywhere
from lib.hqnas.config import HQNASConfig, scaled
from lib.hqnas.cost import CostTable
from lib.hqnas.evaluate import evaluate, mean_bits, size_bytes, summary_of
from lib.hqnas.export import measured_latency
from lib.hqnas.hardware import CPU, HARDWARE, Hardware, Latency
from lib.hqnas.lifelong import continue_search
from lib.hqnas.model import Network, Supernet
from lib.hqnas.retrain import retrain
from lib.hqnas.space import Choices
from lib.training.run import Run
from lib.vision.data import ImageSet, to_float

if TYPE_CHECKING:
    import gradio

STEPS = 200
"""Of the training of what was found. Its weights are those of the search: half of a training's steps nearly suffice."""
LEAST = 0.06
"""The smallest budget on offer. On some devices no network is that cheap, and the demo says so."""
_ENLARGED = 22
Say = Callable[[float, str], None]
"""Is told how much is done, 0 to 1, and what comes next."""


@dataclass(frozen=True)
class Answer:
    """What a search found, and what it is worth.

    Attributes:
        budget: as a share of ``full``, what the largest network costs at 8 bits. cost, target: modelled, in ``unit``.
        layers: (name, cost) of each. accuracy: on ``images`` test images, each in ``places`` places; low, high: its 95
            percent interval as if each image counted once, since its copies are alike.
        measured: one image on this processor, in float32 and in int8. steps: of search and of training.
    """

    hardware: str
    budget: float
    network: Network
    cost: float
    target: float
    full: float
    unit: str
    layers: tuple[tuple[str, float], ...]
    accuracy: float
    low: float
    high: float
    images: int
    places: int
    measured: tuple[Latency, Latency]
    steps: tuple[int, int]
    seconds: float

    @property
    def choices(self) -> Choices:
        """The policy."""
        return self.network.choices


@dataclass
class Searches:
    """Searches that all go on from one supernet, and their answers: each question is worked on once.

    Attributes:
        supernet: never changed; every search has a copy. data, test: images. config: of a search from scratch.
        steps: of the training of what was found.
    """

    supernet: Supernet
    data: ImageSet
    test: ImageSet
    config: HQNASConfig = field(default_factory=scaled)
    steps: int = STEPS

    def __post_init__(self):
        if self.supernet.space.image_shape != tuple(self.test.shape):
            raise UserError("The test images have another shape than those of the search: give both of one data set.")
        self.supernet = copy.deepcopy(self.supernet).cpu().eval()  # who gave it may train on
        self._judged = moved_everywhere(self.test, self.config.test_shift) if self.config.test_shift else self.test
        self._tables: dict[str, CostTable] = {}
        self._answers: dict[tuple[str, float], Answer] = {}
        self._turn = threading.Lock()  # one search at a time: they would only slow each other down

    def table(self, hardware: str, say: Say | None = None) -> CostTable:
        """What everything costs on a device; ``say`` is told when that must be measured first.

        Raises:
            UserError: an unknown device, or one whose times cannot be kept.
        """
        if hardware not in self._tables:
            with self._turn:
                if hardware not in self._tables:
                    self._tables[hardware] = self._device(hardware, say).cost_table(self.supernet.space)
        return self._tables[hardware]

    def target(self, hardware: str, budget: float, say: Say | None = None) -> float:
        """The budget in the unit of the device. Raises UserError when no network is that cheap."""
        if not 0 < budget <= 1:
            raise UserError(f"A budget is a share of the full cost, above 0 and up to 1, not {budget:g}.")
        return self.table(hardware, say).target(self.supernet.space, budget)

    def answer(self, hardware: str, budget: float, say: Say | None = None) -> Answer:
        """The network for a device and a budget: from the second time on without work.

        Args:
            say: told in a few words what is being done.

        Raises:
            UserError: an unknown device, or a budget that no network keeps.
        """
        key = hardware, round(float(budget), 4)
        if key not in self._answers:
            self.target(*key, say)  # before anything is copied
            with self._turn:
                if key not in self._answers:
                    self._answers[key] = self._found(*key, say or (lambda done, words: None))
        return self._answers[key]

    def _device(self, hardware: str, say: Say | None = None) -> Hardware:
        if hardware not in HARDWARE:
            raise UserError(f"Hardware {hardware!r} is not on offer: choose one of {', '.join(HARDWARE)}.")
        device = HARDWARE[hardware]
        if isinstance(device, CPU) and say is not None:
            return replace(device, note=functools.partial(say, 0.0))  # it must be measured once
        return device

    def _found(self, hardware: str, budget: float, say: Say) -> Answer:
        start = time.perf_counter()
        table, space = self.table(hardware), self.supernet.space
        config, run = aimed(self.config, budget), Run(progress=False)
        say(0.1, "Searching")
        found = continue_search(copy.deepcopy(self.supernet), config, table, self.data, run)
        say(0.5, "Training what was found")
        network, history = retrain(
            space, found.choices, replace(self.config.retrain, steps=self.steps), self.data, run,
            start=found.supernet, clip=config.gates.clip,
        )  # fmt: skip
        say(0.9, "Judging it")
        right = evaluate(network, self._judged).accuracy
        low, high = _interval(right, len(self.test))
        return Answer(
            hardware, budget, network, found.cost, found.target, table.full(space), table.unit,
            tuple(self._device(hardware).layers(space, found.choices)), right, low, high, len(self.test),
            len(self._judged) // len(self.test), measured_latency(network), (found.steps, history.steps),
            time.perf_counter() - start,
        )  # fmt: skip


def _interval(share: float, count: int) -> tuple[float, float]:
    """Wilson's 95 percent interval of a share of so many."""
    from scipy.stats import binomtest

    found = binomtest(round(share * count), count).proportion_ci(method="wilson")
    return found.low, found.high


@torch.inference_mode()
def posteriors(network: Network, digit: Tensor) -> Tensor:
    """(classes,) for one uint8 image (height, width)."""
    return network(to_float(digit)[None, None]).softmax(1)[0]


def figure_html(figure: StillFigure) -> str:
    """A figure with its sentence for those who cannot see it. On a phone it scrolls before it becomes too small."""
    width = round(figure.get_figwidth() * STYLE["figure.dpi"])
    picture = base64.b64encode(png_bytes(figure)).decode("ascii")
    return (
        f'<div style="overflow-x:auto"><img src="data:image/png;base64,{picture}" alt="{html.escape(figure.alt)}" '
        f'width="{width}" style="display:block;margin:0 auto;height:auto;max-width:100%;'
        f'min-width:{round(SMALLEST_SCALE * width)}px"></div>'
    )


def network_html(answer: Answer) -> str:
    """The network block by block."""
    return figure_html(plot_network(answer.network.space, answer.choices))


def shares_html(answer: Answer) -> str:
    """What each layer takes of the modelled cost."""
    return figure_html(plot_latency_shares({answer.hardware: answer.layers}, unit=answer.unit))


def digit_html(digit: Tensor, alt: str) -> str:
    """A small grey image, enlarged in whole pixels."""
    import io

    from PIL import Image

    pixels = digit.numpy().repeat(_ENLARGED, 0).repeat(_ENLARGED, 1)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format="png")
    picture = base64.b64encode(file.getvalue()).decode("ascii")
    return f'<img src="data:image/png;base64,{picture}" alt="{html.escape(alt)}" width="{pixels.shape[1]}">'


def facts_html(answer: Answer) -> str:
    """What it costs and what it can do, as a list of figures."""
    space, choices = answer.network.space, answer.choices
    floats, integers = (one.minimum_us for one in answer.measured)
    bits = mean_bits(space, choices)
    largest = size_bytes(space, space.uniform(8))
    asked = f"asked for {answer.target:,.4g}; the largest network takes {answer.full:,.4g}"
    judged = f"95 % interval {100 * answer.low:.1f} to {100 * answer.high:.1f}; {answer.images} test images"
    judged += f", each in {answer.places} places" * (answer.places > 1)
    timed = "one image on this processor, in floats → in integers"
    timed += "; on layers so small they do not pay" * (integers > floats)
    rows = (
        (f"{answer.cost:,.4g}", answer.unit, "modelled cost", asked),
        (f"{100 * answer.accuracy:.1f}", "%", "accuracy", judged),
        ("–" if bits != bits else f"{bits:.1f}", "bits", "a searched weight", "on average, of 8 at most"),
        (f"{size_bytes(space, choices):,.0f}", "bytes", "all weights", f"the largest network has {largest:,.0f}"),
        (f"{floats:,.0f} → {integers:,.0f}", "µs", "measured time", timed),
    )
    cells = (
        f"<div><dt>{what}</dt><dd><b>{value}</b> {unit}<small>{more}</small></dd></div>"
        for value, unit, what, more in (map(html.escape, row) for row in rows)
    )
    return f"<dl>{''.join(cells)}</dl>"


def words_of(answer: Answer) -> str:
    """The network in one line, and how it was found."""
    search, training = answer.steps
    return (
        "Squares: the kernel. ×3, ×6: the expansion. Bars: the channels of **E**xpand, **D**epthwise and **P**roject, "
        f"with the bits of their weights below. In one line: `{summary_of(answer.choices)}`\n\n"
        f"Found in {answer.seconds:.1f} s for **{answer.hardware}** at **{answer.budget:g}**: {search} steps of "
        f"search from the supernet that all questions here share, {training} of training."
    )


def budget_words(searches: Searches, hardware: str, budget: float, say: Say | None = None) -> str:
    """What a share is in the unit of the device, or why there is no such network."""
    try:
        target = searches.target(hardware, budget, say)
        table = searches.table(hardware)
        full = table.full(searches.supernet.space)
        words = f"At most **{target:,.4g} {table.unit}** of the {full:,.4g} that the largest network takes at 8 bits."
    except UserError as error:
        words = f"⚠ {error}"
    return f"{HARDWARE[hardware].words if hardware in HARDWARE else ''}\n\n{words}".strip()


def examples_of(test: ImageSet) -> list[int]:
    """One test image of each class: its first."""
    labels = test.labels.tolist()
    return [labels.index(label) for label in sorted(set(labels))]


_FACTS_CSS = (
    FLUSH
    + """
dl { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: 10px; margin: 0; }
dl > div { border: 1px solid var(--border-color-primary); border-radius: 8px; padding: 8px 12px;
  background: var(--block-background-fill); }
dt, dd small { font-size: 12.5px; line-height: 1.35; opacity: 0.75; }
dt, dd { margin: 0; color: var(--body-text-color); }
dd b { font-size: 18px; line-height: 1.5; }
dd small { display: block; }
"""
)
_STRIP_CSS = (
    FLUSH
    + """
div { display: flex; flex-wrap: wrap; gap: 6px; }
button { padding: 3px; border: 1px solid var(--border-color-primary); border-radius: 6px; cursor: pointer;
  background: var(--block-background-fill); }
button:hover { border-color: var(--color-accent); }
button:focus-visible { outline: 2px solid var(--color-accent); outline-offset: 2px; }
img { display: block; width: 40px; height: 40px; image-rendering: pixelated; border-radius: 3px; }
"""
)
_STRIP_JS = """
for (const button of element.querySelectorAll("button"))
  button.addEventListener("click", () => { props.value = Number(button.value); trigger("input"); });
"""


def _strip(test: ImageSet, indices: list[int]) -> str:
    """Buttons with test images; the value of each is its place among them."""
    cells = []
    for index in indices:
        name = test.class_names[int(test.labels[index])]
        image = digit_html(test.read([index])[0, 0], "")
        cells.append(f'<button type="button" value="{index}" aria-label="Test image of a {name}">{image}</button>')
    return f'<div role="group" aria-label="Test images">{"".join(cells)}</div>'


def build(
    supernet: Supernet,
    data: ImageSet,
    test: ImageSet,
    config: HQNASConfig | None = None,
    *,
    hardware: str = "compute-bound",
    budget: float = 0.25,
    steps: int = STEPS,
) -> "gradio.Blocks":
    """The demo on one supernet, not yet served.

    Args:
        supernet: of a search that is over; it is copied. data, test: what it was searched on, and what to judge by.
        config: of that search; None: the scaled preset.
        hardware, budget: what is searched for when the page opens.
        steps: of the training of what was found.

    Raises:
        UserError: a device or a budget that there is no network for, or images that do not fit.
    """
    if tuple(test.shape) != (1, SIDE, SIDE):
        raise UserError(f"The demo is for grey digits of {SIDE} x {SIDE} pixels, as one draws them: embedded ones.")
    searches = Searches(supernet, data, test, config or scaled(), steps)
    searches.target(hardware, budget)
    shown = examples_of(test)
    gr = load_gradio()
    bar = gr.Progress()  # as a default, so that Gradio hands each call its own

    def search(name: str, share: float, kept: tuple[str, float], progress=bar):
        try:
            answer = searches.answer(name, share, lambda done, words: progress(done, desc=words))
        except UserError as error:
            gr.Warning(str(error))
            return *[gr.skip()] * 4, budget_words(searches, name, share), kept
        pictures = network_html(answer), words_of(answer), facts_html(answer), shares_html(answer)
        return *pictures, budget_words(searches, name, share), (name, answer.budget)

    def explain(name: str, share: float, progress=bar):
        return budget_words(searches, name, share, lambda done, words: progress(done, desc=words))

    def named(digit: Tensor, what: str, key: tuple[str, float]):
        """What the network sees, its posteriors, the same in words, and what was tried."""
        answer = searches.answer(*key)
        scores = dict(zip(test.class_names, posteriors(answer.network, digit).tolist(), strict=True))
        best = max(scores, key=scores.__getitem__)
        seen = digit_html(digit, f"{what}, as the network sees it: {digit.shape[0]} by {digit.shape[1]} pixels.")
        words = f"{what}: **{best}**, says the network for {answer.hardware} at {answer.budget:g}."
        return seen, scores, words, (digit, what)

    def draw(value: str, key: tuple[str, float]):
        try:
            return named(to_digit(read_canvas(value)), "Your digit", key)
        except UserError as error:
            return "", None, str(error), None

    def pick(index: float, key: tuple[str, float]):
        if index not in shown:
            return "", None, "There is no such test image: choose one of those that are shown.", None, ""
        digit, name = test.read([int(index)])[0, 0], test.class_names[int(test.labels[int(index)])]
        return *named(digit, f"A test image of a {name}", key), ""  # and the canvas is emptied

    def again(tried, key: tuple[str, float]):
        """The same digit for another network."""
        return named(*tried, key)[:3] if tried else (gr.skip(),) * 3

    with gr.Blocks(title="Architecture and bits for a device", analytics_enabled=False) as demo:
        gr.Markdown(
            "## A network for a device and its budget\nChoose both: the search goes on from a supernet that holds all "
            "networks. Then try what it found on a digit of your own."
        )
        found, tried = gr.State((hardware, round(float(budget), 4))), gr.State(None)
        with gr.Row():
            with gr.Column(scale=1, min_width=270):
                device = gr.Dropdown(list(HARDWARE), value=hardware, label="Hardware")
                share = gr.Slider(LEAST, 1, budget, step=0.01, label="Budget", info="a share of the full cost")
                meaning = gr.Markdown(budget_words(searches, hardware, budget), elem_id="hqnas-budget")
                button = gr.Button("Search", variant="primary")
            with gr.Column(scale=2, min_width=320):
                picture = gr.HTML(css_template=FLUSH, elem_id="hqnas-network", min_height=130)
                words = gr.Markdown(elem_id="hqnas-words")
        facts = gr.HTML(css_template=_FACTS_CSS, apply_default_css=False, elem_id="hqnas-facts")
        gr.Markdown("**What each layer takes of the modelled cost**")
        shares = gr.HTML(css_template=FLUSH, elem_id="hqnas-shares")
        gr.Markdown(
            "### Try it\nDraw a digit, large, in one or more strokes. The images are of 13 people; many of them gave "
            "their sevens a bar, and their ones a hook."
        )
        with gr.Row():
            with gr.Column(scale=0, min_width=280):
                pad = digit_pad("hqnas-pad")
            with gr.Column(scale=0, min_width=200):
                gr.Markdown("What the network sees:")
                seen = gr.HTML(css_template=FLUSH, elem_id="hqnas-seen")
            with gr.Column(scale=1, min_width=260):
                verdict = gr.Markdown("There is nothing on the canvas yet: draw a digit.", elem_id="hqnas-verdict")
                label = gr.Label(num_top_classes=3, show_label=False, label="Digit", elem_id="hqnas-label")
        gr.Markdown("Or take a test image:")
        strip = gr.HTML(
            None, html_template=_strip(test, shown), css_template=_STRIP_CSS, js_on_load=_STRIP_JS,
            apply_default_css=False, elem_id="hqnas-examples",
        )  # fmt: skip

        question, answers = [device, share, found], [picture, words, facts, shares, meaning, found]
        asking = {"show_progress_on": picture, "concurrency_id": "hqnas", "concurrency_limit": 1}
        # One after the other, each of them: the stroke that came first must not speak after the click that came last.
        trying = {
            "show_progress": "hidden", "trigger_mode": "multiple",
            "concurrency_id": "hqnas-trial", "concurrency_limit": 1,
        }  # fmt: skip
        trial = [seen, label, verdict]
        demo.load(search, question, answers, api_visibility="private", **asking)
        pressed = button.click(search, question, answers, api_name="hqnas_search", **asking)
        pressed.then(again, [tried, found], trial, api_visibility="private", **trying)
        gr.on(
            [device.change, share.change], explain, [device, share], meaning,
            api_name="hqnas_budget", trigger_mode="always_last",
        )  # fmt: skip
        pad.input(draw, [pad, found], [*trial, tried], api_name="hqnas_recognise", **trying)
        strip.input(pick, [strip, found], [*trial, tried, pad], api_name="hqnas_example", **trying)
    return demo
