"""The key and the runner, on a book of two tiny notebooks."""

import json
import shutil
import time

import nbformat
import pytest

from lib.book.key import library_digest, notebook_key
from lib.book.layout import Layout
from lib.book.outputs import to_text, with_outputs
from lib.book.runner import executed_path, is_current, run_chapters, store_chapters
from lib.errors import UserError

from .conftest import write_notebook


def keys(layout):
    library = library_digest(layout)
    return [notebook_key(notebook, library) for notebook in layout.notebooks]


@pytest.fixture
def ran():
    """Collects the runner's lines."""
    lines = []
    return lines


class TestKey:
    def test_the_same_sources_give_the_same_key_and_each_chapter_its_own(self, small_book):
        layout = small_book()
        assert keys(layout) == keys(Layout(layout.root))
        assert len(set(keys(layout))) == 2

    @pytest.mark.parametrize(
        "path", ["lib/part.py", "lib/figure.js", "seeds/card.yml", "lib/new.py", "lib/deep/er.css"]
    )
    def test_an_edit_of_the_library_or_of_a_card_changes_every_key(self, small_book, path):
        layout = small_book()
        before = keys(layout)
        (layout.root / path).parent.mkdir(exist_ok=True)
        (layout.root / path).write_text("changed\n")
        assert all(old != new for old, new in zip(before, keys(layout), strict=True))

    def test_a_renamed_file_changes_the_key(self, small_book):
        layout = small_book()
        before = keys(layout)
        (layout.root / "lib/part.py").rename(layout.root / "lib/other.py")
        assert before[0] != keys(layout)[0]

    def test_compiled_files_do_not_change_the_key(self, small_book):
        layout = small_book()
        before = keys(layout)
        cache = layout.root / "lib" / "__pycache__"
        cache.mkdir()
        (cache / "part.cpython-311.pyc").write_bytes(b"compiled")
        assert before == keys(layout)

    def test_prose_does_not_change_the_key_but_code_and_tags_do(self, small_book):
        layout = small_book()
        first = layout.notebooks[0]
        before = keys(layout)
        document = nbformat.read(first, as_version=4)
        document.cells[0].source = "# Another title"
        nbformat.write(document, first)
        assert keys(layout) == before
        document.cells[1].metadata["tags"] = ["raises-exception"]
        nbformat.write(document, first)
        tagged = keys(layout)
        assert tagged[0] != before[0]
        assert tagged[1] == before[1]
        document.cells[1].source = "x = 1"
        nbformat.write(document, first)
        assert keys(layout)[0] not in (before[0], tagged[0])


class TestRun:
    def test_runs_stores_and_skips_what_did_not_change(self, small_book, ran):
        layout = small_book(first=("import os\nprint(os.environ['OMP_NUM_THREADS'], os.environ['BOOK_BUILD'])",))
        assert run_chapters(layout, say=ran.append)
        done = nbformat.read(executed_path(layout, layout.notebooks[0]), as_version=4)
        assert done.cells[1].outputs[0].text == "1 1\n"
        assert all(is_current(layout, notebook) for notebook in layout.notebooks)
        record = json.loads((layout.executed / "1-first.json").read_text())
        assert list(record["cells"]) == ["1"]  # seconds of the one code cell, by its position

        ran.clear()
        assert run_chapters(layout, say=ran.append)
        assert [line.partition(":")[2].strip() for line in ran] == ["nothing changed, its outputs are kept"] * 2

        (layout.root / "lib" / "part.py").write_text("VALUE = 2\n")
        assert not any(is_current(layout, notebook) for notebook in layout.notebooks)

    def test_runs_two_at_a_time(self, small_book, ran):
        # each waits for a file that the other writes: one after the other would never end
        meet = (
            "import pathlib, time\npathlib.Path('{mine}.flag').touch()\nend = time.monotonic() + 60\n"
            "while not pathlib.Path('{other}.flag').exists():\n"
            "    assert time.monotonic() < end, 'the other chapter never started'\n    time.sleep(0.05)"
        )
        layout = small_book(first=(meet.format(mine="a", other="b"),), second=(meet.format(mine="b", other="a"),))
        assert run_chapters(layout, jobs=2, say=ran.append), "\n".join(ran)

    def test_a_failing_cell_is_told_and_nothing_is_stored(self, small_book, ran):
        layout = small_book(first=("ok = 1", "wrong = ok / 0\nprint('never')"))
        assert not run_chapters(layout, say=ran.append)
        told = "\n".join(ran)
        assert "1-first.ipynb failed in code cell 2 of 2" in told
        assert "wrong = ok / 0" in told
        assert "ZeroDivisionError: division by zero" in told
        assert not executed_path(layout, layout.notebooks[0]).exists()
        assert executed_path(layout, layout.notebooks[1]).exists()
        assert not is_current(layout, layout.notebooks[0])

    def test_a_failure_keeps_the_last_good_outputs(self, small_book, ran):
        layout = small_book()
        assert run_chapters(layout, say=ran.append)
        good = executed_path(layout, layout.notebooks[0]).read_text()
        write_notebook(layout.notebooks[0], "1-first", ("raise RuntimeError('no')",))
        assert not run_chapters(layout, say=ran.append)
        assert executed_path(layout, layout.notebooks[0]).read_text() == good
        assert not is_current(layout, layout.notebooks[0])

    def test_a_dead_kernel_is_told_in_words(self, small_book, ran):
        layout = small_book(first=("import os\nos._exit(9)",))
        assert not run_chapters(layout, say=ran.append)
        assert "The kernel died" in "\n".join(ran)

    def test_a_damaged_record_means_run_again(self, small_book, ran):
        layout = small_book()
        assert run_chapters(layout, say=ran.append)
        (layout.executed / "1-first.json").write_text('{"key": ')
        assert not is_current(layout, layout.notebooks[0])
        assert is_current(layout, layout.notebooks[1])

    def test_time_left_comes_from_the_last_run(self, small_book):
        from lib.book.runner import Job

        job = Job(small_book().notebooks[0], "key", {"1": 10.0, "3": 30.0}, count=2)
        job.began = job.cell_began = now = time.monotonic()
        job.number = 1
        assert job.progress(now + 4) == "1-first: cell 1 of 2, 4 s, about 36 s left"
        job.seconds["1"] = 12.0
        job.number, job.cell_began = 2, now + 12
        assert job.progress(now + 17) == "1-first: cell 2 of 2, 17 s, about 31 s left"  # 12 s for 10: slower here
        job.known = {}
        assert "time left unknown" in job.progress(now + 17)


class TestStore:
    def test_stored_notebooks_are_clean_and_the_same_each_time(self, small_book, ran):
        noisy = "import sys\nfor i in range(3):\n    print(i, flush=True)\n"
        layout = small_book(first=(noisy, "", "6 * 7"))
        assert run_chapters(layout, say=ran.append)
        store_chapters(layout, say=ran.append)
        text = layout.notebooks[0].read_text()
        document = nbformat.read(layout.notebooks[0], as_version=4)
        assert [cell.get("execution_count") for cell in document.cells] == [None, 1, None, 2]
        assert document.cells[1].outputs[0].text == "0\n1\n2\n"
        assert len(document.cells[1].outputs) == 1
        assert document.cells[3].outputs[0].execution_count == 2
        assert "widgets" not in document.metadata
        assert "version" not in document.metadata.language_info
        assert run_chapters(layout, force=True, say=ran.append)
        store_chapters(layout, say=ran.append)
        assert layout.notebooks[0].read_text() == text

    def test_a_widget_is_stored_as_its_page_twin_alone(self, small_book, ran):
        code = (
            "import traitlets\nfrom lib.widgets.base import BookWidget\n"
            "class Dot(BookWidget):\n"
            "    _esm = 'export default { render({ el }) { el.textContent = 1; } }'\n"
            "    k = traitlets.Int(3).tag(sync=True)\nDot()"
        )
        layout = small_book(first=(code,))
        assert run_chapters(layout, say=ran.append), "\n".join(ran)
        store_chapters(layout, say=ran.append)
        document = nbformat.read(layout.notebooks[0], as_version=4)
        assert set(document.cells[1].outputs[0].data) == {"text/html", "text/plain"}

    def test_our_own_output_type_passes_through(self, small_book, ran):
        mime = "application/vnd.papers-that-run.claim+json"
        layout = small_book(first=(f"display({{'{mime}': {{'claim': 'one'}}, 'text/plain': 'one'}}, raw=True)",))
        assert run_chapters(layout, say=ran.append)
        store_chapters(layout, say=ran.append)
        document = nbformat.read(layout.notebooks[0], as_version=4)
        assert document.cells[1].outputs[0].data[mime] == {"claim": "one"}

    def test_the_times_are_stored_and_used_by_a_fresh_clone(self, small_book, ran):
        layout = small_book(first=("import time\ntime.sleep(6)",))
        assert run_chapters(layout, say=ran.append)
        assert any("time left unknown" in line for line in ran)
        store_chapters(layout, say=ran.append)
        shutil.rmtree(layout.build)
        ran.clear()
        assert run_chapters(layout, say=ran.append)
        assert any("s left" in line for line in ran)
        assert not any("unknown" in line for line in ran)

    def test_a_stale_chapter_is_refused_and_nothing_written(self, small_book, ran):
        layout = small_book()
        assert run_chapters(layout, say=ran.append)
        write_notebook(layout.notebooks[1], "2-second", ("print('new')",))
        before = [notebook.read_text() for notebook in layout.notebooks]
        with pytest.raises(ValueError, match="2-second"):
            store_chapters(layout, say=ran.append)
        assert [notebook.read_text() for notebook in layout.notebooks] == before


def test_outputs_join_new_prose_but_not_new_code(small_book, ran):
    layout = small_book()
    assert run_chapters(layout, say=ran.append)
    executed = nbformat.read(executed_path(layout, layout.notebooks[0]), as_version=4)
    current = nbformat.read(layout.notebooks[0], as_version=4)
    current.cells[0].source = "# A better title"
    joined = with_outputs(current, executed)
    assert joined.cells[0].source == "# A better title"
    assert joined.cells[1].outputs[0].text == "42\n"
    to_text(joined)
    current.cells[1].source = "y = 1"
    with pytest.raises(ValueError, match="other code"):
        with_outputs(current, executed)


class TestLayout:
    def test_pages_come_in_reading_order(self, small_book):
        assert [page.name for page in small_book().pages] == ["index.md", "1-first.ipynb", "2-second.ipynb"]

    def test_a_listed_page_that_is_missing_is_named(self, small_book):
        layout = small_book()
        layout.notebooks[1].unlink()
        with pytest.raises(UserError, match="2-second"):
            _ = Layout(layout.root).pages

    def test_a_missing_or_broken_table_of_contents_is_one_sentence(self, tmp_path):
        with pytest.raises(UserError, match="is missing"):
            _ = Layout(tmp_path).pages
        (tmp_path / "_toc.yml").write_text("root: [")
        with pytest.raises(UserError, match="not readable"):
            _ = Layout(tmp_path).pages
        (tmp_path / "_toc.yml").write_text("parts: []")
        with pytest.raises(UserError, match="no root page"):
            _ = Layout(tmp_path).pages
