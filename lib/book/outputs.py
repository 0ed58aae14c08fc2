"""Outputs of a notebook: joined with its present text, and cleaned for the repository."""

import copy

import nbformat
from nbformat import NotebookNode

_LANGUAGE = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python", "file_extension": ".py", "pygments_lexer": "ipython3"},
}
WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"


def with_outputs(current: NotebookNode, executed: NotebookNode) -> NotebookNode:
    """The current notebook with the outputs of the executed one; the code of both must be the same.

    Prose may differ. Raises ValueError when the code cells do.
    """
    joined = copy.deepcopy(current)
    here = [cell for cell in joined.cells if cell.cell_type == "code"]
    there = [cell for cell in executed.cells if cell.cell_type == "code"]
    if [cell.source for cell in here] != [cell.source for cell in there]:
        raise ValueError("the executed notebook has other code than the current one")
    for cell, ran in zip(here, there, strict=True):
        cell.outputs = copy.deepcopy(ran.outputs)
        cell.execution_count = ran.execution_count
    return joined


def cleaned(document: NotebookNode) -> NotebookNode:
    """The notebook as it is committed: what a reader needs to see, and nothing that differs from run to run.

    Leaves out widget state, live-view references that have an HTML twin, times and the machine's Python version;
    joins pieces of the same stream; counts the cells that ran from 1.
    """
    clean = copy.deepcopy(document)
    clean.metadata.pop("widgets", None)
    clean.metadata.update(nbformat.from_dict(_LANGUAGE))
    count = 0
    for cell in clean.cells:
        for name in ("execution", "trusted", "collapsed", "scrolled"):
            cell.metadata.pop(name, None)
        if cell.cell_type != "code":
            continue
        ran = cell.execution_count is not None
        count += ran
        cell.execution_count = count if ran else None
        cell.outputs = _joined_streams(cell.outputs)
        for output in cell.outputs:
            if "execution_count" in output:
                output["execution_count"] = count
            if "text/html" in output.get("data", {}):
                output["data"].pop(WIDGET_VIEW, None)
    return clean


def _joined_streams(outputs: list[NotebookNode]) -> list[NotebookNode]:
    """A kernel sends one stream in pieces of any size; joined, they are the same in each run."""
    joined: list[NotebookNode] = []
    for output in outputs:
        last = joined[-1] if joined else None
        if last and output.output_type == "stream" == last.output_type and output.name == last.name:
            last.text += output.text
        else:
            joined.append(output)
    return joined


def to_text(document: NotebookNode) -> str:
    """The notebook as a file: checked against the format, keys sorted, one newline at the end."""
    nbformat.validate(document)
    return nbformat.writes(document).rstrip("\n") + "\n"
