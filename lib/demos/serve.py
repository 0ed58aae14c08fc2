"""Starting a demo: on this machine only, and telling nobody."""

import os
from collections.abc import Callable
from typing import TYPE_CHECKING

from lib.errors import UserError

if TYPE_CHECKING:
    import gradio

_QUIET = {
    "GRADIO_ANALYTICS_ENABLED": "False",  # else it resolves two outside hosts at start
    "GRADIO_RUN_HISTORY": "False",  # the browser keeps no record of runs
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
}


def load_gradio():
    """Gradio, imported late (it takes seconds) and with every message home switched off first."""
    os.environ.update(_QUIET)
    import gradio

    return gradio


def launch(blocks: "gradio.Blocks", port: int | None = None, block: bool = True) -> str:
    """Serve a demo on 127.0.0.1 and return its address.

    Args:
        blocks: from a demo's `build`.
        port: 1 to 65535; None takes a free one from 7860 on.
        block: wait until the reader stops it (Ctrl-C). Otherwise return at once; `blocks.close()` ends it.

    Raises:
        UserError: a port that is out of range or taken.
    """
    if port is not None and not 1 <= port <= 65535:
        raise UserError(f"Port {port} is out of range: give one from 1 to 65535, or leave it out.")
    gr = load_gradio()
    theme = gr.themes.Default(
        primary_hue="blue", font=["system-ui", "sans-serif"], font_mono=["monospace"]
    )  # fonts of the system
    try:
        _, address, _ = blocks.launch(
            server_name="127.0.0.1", server_port=port, share=False, inline=False, inbrowser=False, quiet=True,
            prevent_thread_lock=True, ssr_mode=False, run_history=False, footer_links=[], theme=theme,
        )  # fmt: skip
    except OSError as error:
        raise UserError(f"Port {port} cannot be used ({error}): choose another with --port.") from error
    if block:
        print(f"The demo runs at {address} (Ctrl-C ends it).")
        blocks.block_thread()
    return address


def show(build: Callable[[], "gradio.Blocks"], command: str = "papers demo") -> None:
    """In a notebook: the live demo when the reader asked for it (BOOK_LIVE=1), else a line that says how.

    Args:
        build: makes the demo; called only when it is shown.
        command: what to type in a terminal instead.
    """
    if os.environ.get("BOOK_LIVE") == "1":
        from IPython.display import IFrame, display

        address = launch(build(), block=False)
        display(IFrame(address, width="100%", height=720))
        return
    from IPython.display import Markdown, display

    display(
        Markdown(
            f"*A live demo runs here in JupyterLab when it is started with `BOOK_LIVE=1`. "
            f"In a terminal, type `{command}`.*"
        )
    )
