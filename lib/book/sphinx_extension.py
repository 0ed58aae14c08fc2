"""What the site needs beyond Jupyter Book: a page that asks no other host for anything, and our three directives.

- MathJax is copied out of the installed package `sphinx-mathjax-offline`: the component and its fonts only.
- Scripts that would call another host (Thebe) or carry dead weight (saved widget state) are taken out.
- `{chapter-cards}` draws the chapters from the cards in `seeds/`; `{scoreboard}` the claims with what was measured;
  `{front}` is the landing page's picture.
- Buttons for a repository or a launch service appear only when the environment names one (`lib.book.site.SETTINGS`).
"""

import importlib.util
import json
import os
import shutil
from pathlib import Path

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.errors import ExtensionError
from sphinx.util.docutils import SphinxDirective

from lib.book.front import front_picture
from lib.book.layout import Layout
from lib.papers import CLAIM_MIME, load_cards, scoreboard_html

_MATHJAX_PARTS = ("tex-chtml.js", "output/chtml/fonts/woff-v2", "input/tex/extensions")


def _root() -> Path:
    """The book's folder: the build tool names it, for the source tree that is built lies elsewhere."""
    return Path(os.environ.get("BOOK_ROOT") or Layout().root)


def _own_mathjax(app: Sphinx) -> None:
    if app.builder.format != "html":
        return
    package = importlib.util.find_spec("sphinx-mathjax-offline")
    if package is None or package.origin is None:
        raise ExtensionError("The package sphinx-mathjax-offline is missing; install requirements.txt.")
    theirs = Path(package.origin).parent / "static" / "mathjax"
    ours = Path(app.outdir) / "_static" / "mathjax"
    for part in _MATHJAX_PARTS:
        if (theirs / part).is_dir():
            shutil.copytree(theirs / part, ours / part, dirs_exist_ok=True)
        else:
            ours.mkdir(parents=True, exist_ok=True)
            shutil.copy2(theirs / part, ours / part)


def _buttons(app: Sphinx, config) -> None:
    """Repository and launch buttons, each only when the environment gives its address."""
    options = config.html_theme_options
    address = os.environ.get("BOOK_REPOSITORY_URL", "").strip()
    services = {
        name: os.environ.get(f"BOOK_{name.upper()}", "").strip()
        for name in ("binderhub_url", "jupyterhub_url", "colab_url")
    }
    options["repository_url"] = address
    options["use_repository_button"] = options["use_issues_button"] = bool(address)
    launch = dict(options.get("launch_buttons", {}))
    options["launch_buttons"] = launch | (services if address else dict.fromkeys(services, ""))


def _without_records(app: Sphinx, docname: str, source: list[str]) -> None:
    """Take the records of claims out of a notebook on its way into the page: they are for the scoreboard alone."""
    if CLAIM_MIME not in source[0] or Path(app.env.doc2path(docname)).suffix != ".ipynb":
        return
    document = json.loads(source[0])
    for cell in document["cells"]:
        for output in cell.get("outputs", []):
            output.get("data", {}).pop(CLAIM_MIME, None)
        if "outputs" in cell:
            cell["outputs"] = [output for output in cell["outputs"] if output.get("data", True)]
    source[0] = json.dumps(document)


def _only_own_scripts(app: Sphinx, page, template, context, doctree) -> None:
    kept, seen = [], set()
    for script in context.get("script_files", []):
        attributes = getattr(script, "attributes", None) or {}
        name, body = str(getattr(script, "filename", None) or ""), attributes.get("body") or ""
        saved_state = "widget-state" in (attributes.get("type") or "")
        thebe = "THEBE_JS_URL" in body or "sphinx-thebe" in name or "thebe" in name.rpartition("/")[2]
        if saved_state or thebe or (name, body) in seen:
            continue
        seen.add((name, body))
        kept.append(script)
    context["script_files"] = kept


def _no_thebe(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    for node in list(doctree.findall(nodes.raw)):
        text = node.astext().lstrip()
        if "x-thebe-config" in text or text.startswith("<script>kernelName"):
            node.parent.remove(node)


class ChapterCards(SphinxDirective):
    """`{chapter-cards}`: a card for each paper in `seeds/`. A chapter that is not in the book yet says so."""

    def run(self) -> list[nodes.Node]:
        folder = Path(self.env.docname).parent
        lines = ["::::::{grid} 1 1 2 2", ":gutter: 3", ":class-container: chapter-cards", ""]
        for card in load_cards(_root() / "seeds"):
            self.env.note_dependency(str(_root() / "seeds" / f"{card.id}.yml"))
            page = f"{card.chapter}-{card.id}"
            written = (folder / page).as_posix() in self.env.found_docs
            lines += [
                f":::::{{grid-item-card}} {card.chapter}. {card.short_name}",
                *([f":link: {page}", ":link-type: doc"] if written else [":class-card: chapter-unwritten"]),
                "",
                f"*{card.title}.* {_people(card.authors)}, {card.year}.",
                "",
                card.problem,
                "",
                "+++",
                "Read the chapter" if written else "Not written yet",
                ":::::",
            ]
        lines.append("::::::")
        box = nodes.container()
        self.state.nested_parse(StringList(lines, source=self.env.doc2path(self.env.docname)), 0, box)
        return box.children


def _people(authors) -> str:
    names = list(authors)
    return ", ".join(names) if len(names) <= 3 else f"{names[0]} and {len(names) - 1} others"


class Front(SphinxDirective):
    """`{front}`: the landing page's picture, paths from noise to two arcs of points: bent, then straight."""

    def run(self) -> list[nodes.Node]:
        return [nodes.raw("", front_picture(), format="html")]


class Scoreboard(SphinxDirective):
    """`{scoreboard}`: every claim, the paper's figure, what was measured here, the verdict."""

    def run(self) -> list[nodes.Node]:
        self.env.note_reread()  # it depends on chapters and results, which Sphinx does not watch
        chapters = Path(self.env.srcdir) / "chapters"
        text = scoreboard_html(_root() / "seeds", chapters, _root() / "results")
        return [nodes.raw("", text, format="html")]


def setup(app: Sphinx) -> dict:
    app.add_directive("chapter-cards", ChapterCards)
    app.add_directive("front", Front)
    app.add_directive("scoreboard", Scoreboard)
    app.connect("config-inited", _buttons, priority=400)
    app.connect("builder-inited", _own_mathjax)
    app.connect("source-read", _without_records)
    app.connect("html-page-context", _only_own_scripts, priority=900)
    app.connect("doctree-resolved", _no_thebe, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
