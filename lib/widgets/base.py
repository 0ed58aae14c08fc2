"""The base class of the book's moving figures: alive in JupyterLab, and alive in the built page without a
kernel.

A live widget needs a kernel; a static page has none. So each widget also emits a twin as `text/html`: its
own JavaScript module, its state, and a small stand-in for the kernel's model. JupyterLab shows the live
widget, the page shows the twin, and both run the same module.

The contract for a figure
-------------------------
- Subclass `BookWidget`; set `_esm` (a string, or a `pathlib.Path` to a `.js` file) and, if wanted, `_css`.
  The base style sheet (`base.css`) is put before it in both lives.
- The module exports `default { render({ model, el }) }` and has no `import`: the twin runs from a blob
  address, where a relative import cannot be resolved, and an absolute one would need the network.
- State is traitlets with `.tag(sync=True)`. Arrays travel as a `traitlets.Bytes` trait, made with
  `pack(...)`; JavaScript reads them as `const v = model.get("points"); new Float32Array(v.buffer,
  v.byteOffset, v.byteLength / 4)` (`Uint8Array` for images). NaN or infinity in a plain trait fails the
  cell: JSON has neither.
- Everything a reader must see is computed in the module, or read from a table in the state. A Python
  `observe` callback never runs in the page.
- `el` has the class `bw-root` in both lives. Colours: the variables `--bw-ink`, `--bw-muted`, `--bw-paper`,
  `--bw-panel`, `--bw-line`, `--bw-accent`, and `--bw-1` to `--bw-6` for series; they follow light and dark.
  Layout classes: `bw-panel`, `bw-controls` (labels around native inputs; `bw-check` on a check-box label),
  `bw-readout` (`<output>` text that says what the picture shows), `bw-note`.
- Controls are native (`input`, `select`, `button`) inside or tied to a `<label>`, and nothing is wider than
  340 px allows: SVG with a viewBox, canvases with `max-width: 100%`.
- `label` is one sentence that says what the figure shows; `preview()` is a still picture of it as inline
  SVG. The preview is shown without JavaScript and in a notebook that is opened without a kernel.
- Show the widget by itself, as the last expression of a cell or by `display(w)`. Inside a `VBox` the twin
  is lost.

The twin carries `data-ready="1"` once it has been drawn (`"failed"` when its module threw an error), which
is what the browser tests wait for: `.bw[data-ready='1']`.
"""

import base64
import html
import itertools
import json
import zlib
from pathlib import Path

import anywidget
import numpy as np
import traitlets

_HERE = Path(__file__).parent
_BASE_CSS = (_HERE / "base.css").read_text(encoding="utf-8")
_TWIN_JS = (_HERE / "static_twin.js").read_text(encoding="utf-8")
_NOT_STATE = {"layout", "tabbable", "tooltip"}  # of interest to a live Jupyter front end only
_shown = itertools.count(1)


def pack(array, dtype: str = "float32") -> bytes:
    """The array's values in row order, little-endian, for a `traitlets.Bytes` trait.

    array: anything NumPy can read, or a tensor. dtype: "float32", "uint8", "int32", ….
    Raises ValueError when a floating-point array holds NaN or infinity: no figure can draw them.
    """
    if hasattr(array, "detach"):
        array = array.detach().cpu().numpy()
    values = np.ascontiguousarray(array, dtype=np.dtype(dtype).newbyteorder("<"))
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise ValueError(f"a figure's array of shape {values.shape} holds NaN or infinity")
    return values.tobytes()


class BookWidget(anywidget.AnyWidget):
    """A figure that answers the reader's hand with or without a kernel. The module's text is the contract."""

    label: str = ""  # one sentence: what the figure shows
    _css = _BASE_CSS

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        own = cls.__dict__.get("_css")
        # anywidget subclasses once more at construction and puts a trait there; that one is left alone
        if own is not None and not isinstance(own, traitlets.TraitType):
            cls._css = f"{_BASE_CSS}\n{own}"

    def __init__(self, **traits):
        """traits: start values of the state. Raises TypeError for a name that is no trait of this widget."""
        unknown = sorted(set(traits) - set(self.trait_names()))
        if unknown:
            raise TypeError(f"{type(self).__name__} has no trait {', '.join(unknown)}")
        super().__init__(**traits)
        self.add_class("bw-root")  # the live view's element gets the class that the twin's has

    def preview(self) -> str:
        """A still picture as inline SVG or HTML. Override it; this one only names the figure."""
        name = html.escape(self.label or type(self).__name__)
        return f"<p>{name} (An interactive figure: it needs JavaScript.)</p>"

    def static_html(self) -> str:
        """The twin: one self-contained piece of HTML that draws this widget in its present state.

        Raises TypeError for state that JSON cannot hold, and ValueError for NaN or infinity in it.
        """
        state, arrays = {}, {}
        for name, value in self.get_state().items():
            if name.startswith("_") or name in _NOT_STATE:
                continue
            if isinstance(value, bytes | bytearray | memoryview):
                arrays[name] = base64.b64encode(bytes(value)).decode("ascii")
            else:
                state[name] = value
        spec = {"esm": str(self._esm), "state": state, "bytes": arrays}
        # "<" is written as an escape, so that no string in the state can close the script element
        payload = json.dumps(spec, sort_keys=True, allow_nan=False).replace("<", "\\u003c")
        # the same notebook, run again, gets the same ids: its outputs can be compared
        uid = f"bw-{zlib.crc32(payload.encode()):08x}-{next(_shown)}"
        name = html.escape(self.label or type(self).__name__, quote=True)
        return (
            f'<div id="{uid}" class="bw" role="group" aria-label="{name}">'
            f"<style>{self._css}</style>"
            f'<div class="bw-root">{self.preview()}</div>'
            f'<script type="application/json">{payload}</script>'
            f'<script type="module">{_TWIN_JS.replace("WIDGET_ID", uid)}</script>'
            "</div>"
        )

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"  # the default shows a memory address, which differs from run to run

    def _repr_mimebundle_(self, **kwargs):
        bundle = super()._repr_mimebundle_(**kwargs)
        if bundle is None:
            return None
        data, metadata = bundle
        return {**data, "text/html": self.static_html()}, metadata
