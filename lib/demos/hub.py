"""All demos in one place: one tab a chapter."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from lib.demos.serve import load_gradio
from lib.errors import UserError

if TYPE_CHECKING:
    import gradio


def build_hub(demos: Mapping[str, Callable[[], "gradio.Blocks"]]) -> "gradio.Blocks":
    """The hub, not yet served.

    Args:
        demos: title of the tab -> function that builds the demo (and trains or loads what it needs).

    Raises:
        UserError: no demo.
    """
    if not demos:
        raise UserError("The hub needs at least one demo.")
    gr = load_gradio()
    built = {title: make() for title, make in demos.items()}
    with gr.Blocks(title="Papers That Run", analytics_enabled=False) as hub:
        gr.Markdown("# Papers That Run")
        with gr.Tabs():
            for title, demo in built.items():
                with gr.Tab(title):
                    demo.render()
    return hub
