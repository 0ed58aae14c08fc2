"""Records of what was measured: in a notebook's outputs and in `results/`."""

import json
import math
import xml.etree.ElementTree as ET

import nbformat
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from IPython.core.formatters import DisplayFormatter

from lib.errors import UserError
from lib.papers import (
    CLAIM_MIME,
    Measurement,
    chapter_records,
    load_results,
    measurement,
    number,
    record_claim,
    save_results,
)

VALUES = [
    {"label": "catch-up training", "seed": 0, "setting": {"nfe": 4}, "value": 0.101234567, "unit": "distance"},
    {"label": "flow matching", "seed": 0, "setting": {"nfe": 4}, "value": 0.113, "unit": "distance"},
]


def a_record(**changes):
    fields = {
        "verdict": "held",
        "summary": "0.101 against 0.113 with 4 calls.",
        "values": VALUES,
        "preset": "toy",
        "data": "ring",
    }
    return record_claim("cud", "few-steps-2d", **(fields | changes))


def a_measurement(**changes) -> Measurement:
    fields = {
        "system": "cud",
        "claim": "few-steps-2d",
        "source": "reproduce",
        "verdict": "held",
        "summary": "Held.",
        "values": VALUES,
        "preset": "toy",
        "data": "ring",
        "minutes": 1.5,
    }
    return measurement(**(fields | changes))


def a_notebook(path, *bundles):
    outputs = [nbformat.v4.new_output("execute_result", data=bundle) for bundle in bundles]
    cells = [nbformat.v4.new_markdown_cell("words")]
    cells += [nbformat.v4.new_code_cell("record", outputs=[output]) for output in outputs]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    return path


def test_record_goes_through_ipython_into_a_notebook_and_back(tmp_path):
    record = a_record()
    bundle, _ = DisplayFormatter().format(record)
    assert set(bundle) >= {"text/plain", "text/html", CLAIM_MIME}
    path = a_notebook(tmp_path / "1-cud.ipynb", bundle)
    nbformat.validate(nbformat.read(path, as_version=4))
    assert chapter_records(path) == (record.measurement,)
    found = record.measurement
    assert (found.source, found.seeds, found.minutes) == ("chapter", (0,), None)
    assert found.values[0].value == 0.101235  # six significant digits


def test_record_survives_a_real_kernel(tmp_path):
    nbclient = pytest.importorskip("nbclient")
    code = (
        "from lib.papers import record_claim\n"
        f"record_claim('cud', 'few-steps-2d', verdict='failed', summary='Worse.', values={VALUES!r},"
        " preset='toy', data='ring')"
    )
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)])
    nbclient.NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
    nbformat.write(notebook, tmp_path / "run.ipynb")
    (found,) = chapter_records(tmp_path / "run.ipynb")
    assert found == a_record(verdict="failed", summary="Worse.").measurement


def test_outputs_are_the_same_on_every_run_and_hold_no_times():
    first, second = a_record()._repr_mimebundle_(), a_record()._repr_mimebundle_()
    assert json.dumps(first) == json.dumps(second)
    assert "minutes" not in first[CLAIM_MIME]
    assert "0x" not in first["text/plain"]


def test_text_shows_verdict_sentence_and_values():
    text = repr(a_record(verdict="failed"))
    assert text.startswith("Failed: With 2, 4 and 8 network calls")
    assert "catch-up training (nfe 4), seed 0: 0.1012 distance" in text


def test_table_is_accessible_and_hostile_text_stays_text():
    hostile = "<script>alert(\"x\")</script> & 'more'"
    values = [VALUES[0] | {"label": hostile, "setting": {hostile: hostile}}]
    html = a_record(summary=hostile, values=values, data=hostile)._repr_html_()
    tree = ET.fromstring(html)  # well-formed, and no hostile element came in
    assert "script" not in {element.tag for element in tree.iter()}
    assert tree.find("details/table").get("aria-label")
    assert hostile in "".join(tree.itertext())
    assert [cell.get("scope") for cell in tree.findall("details/table/thead/tr/th")] == ["col"] * 4
    assert [cell.get("scope") for cell in tree.findall("details/table/tbody/tr/th")] == ["row"]
    assert tree.get("role") == "region"
    assert tree.get("tabindex") == "0"
    assert "Held." in "".join(tree.find("p").itertext())
    assert "#" not in html.replace("&#", "")  # no fixed colours: light and dark come from the page


def test_a_long_table_is_folded_and_says_how_long_it_is():
    for count, words, opened in ((1, "The number behind it", ""), (4, "The 4 numbers", ""), (5, "The 5 numbers", None)):
        values = [VALUES[0] | {"seed": seed} for seed in range(count)]
        details = ET.fromstring(a_record(values=values)._repr_html_()).find("details")
        assert details.find("summary").text.startswith(words)
        assert details.get("open") == opened
        assert len(details.findall("table/tbody/tr")) == count


def test_numpy_numbers_are_taken():
    values = [
        {"label": "a", "seed": np.int64(3), "setting": {"nfe": np.int32(2)}, "value": np.float32(0.5), "unit": "u"}
    ]
    found = a_record(values=values).measurement
    assert found.values[0].value == 0.5
    assert type(found.values[0].value) is float
    assert found.seeds == (3,)
    assert type(found.values[0].setting["nfe"]) is int


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"verdict": "maybe"}, "verdict"),
        ({"values": []}, "values are empty"),
        ({"verdict": "not measured"}, "values are given"),
        ({"values": [VALUES[0] | {"value": math.nan}]}, "values[0].value"),
        ({"values": [VALUES[0] | {"value": "0.1"}]}, "values[0].value"),
        ({"values": [VALUES[0] | {"value": True}]}, "values[0].value"),
        ({"values": [VALUES[0] | {"seed": -1}]}, "values[0].seed"),
        ({"values": [{k: v for k, v in VALUES[0].items() if k != "unit"}]}, "values[0].unit is missing"),
        ({"values": [{k: v for k, v in VALUES[0].items() if k != "seed"}]}, "values[0].seed is missing"),
        ({"values": [VALUES[0] | {"units": "x"}]}, "values[0].units is not a field"),
        ({"values": [VALUES[0] | {"setting": {"nfe": [1, 2]}}]}, "values[0].setting.nfe"),
        ({"summary": ""}, "summary"),
        ({"preset": "huge"}, "no preset 'huge'"),
    ],
)
def test_bad_record_is_refused_in_one_sentence(changes, named):
    with pytest.raises(UserError) as caught:
        a_record(**changes)
    assert named in str(caught.value)
    assert "\n" not in str(caught.value)


def test_record_of_an_unknown_claim_is_refused():
    with pytest.raises(UserError, match="no claim 'few-steps'"):
        record_claim("cud", "few-steps", verdict="held", summary="s", values=VALUES, preset="toy", data="d")


text = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20).filter(str.strip)
settings_of = st.dictionaries(
    text, st.one_of(st.integers(-1000, 1000), st.booleans(), st.none(), text, st.floats(-1e6, 1e6)), max_size=3
)
values_of = st.lists(
    st.fixed_dictionaries(
        {
            "label": text,
            "seed": st.integers(0, 5),
            "setting": settings_of,
            "value": st.floats(-1e12, 1e12),
            "unit": text,
        }
    ),
    min_size=1,
    max_size=5,
)


@settings(max_examples=40, deadline=None)
@given(values=values_of, verdict=st.sampled_from(["held", "failed"]), summary=text)
def test_results_and_notebooks_give_back_what_was_put_in(tmp_path_factory, values, verdict, summary):
    folder = tmp_path_factory.mktemp("round")
    found = a_measurement(values=values, verdict=verdict, summary=summary)
    save_results("cud", [found], folder)
    assert load_results("cud", folder) == (found,)
    for given_value, kept in zip(values, found.values, strict=True):
        assert kept.value == pytest.approx(given_value["value"], rel=1e-5)
    record = a_record(values=values, verdict=verdict, summary=summary)
    path = a_notebook(folder / "n.ipynb", record._repr_mimebundle_())
    assert chapter_records(path) == (record.measurement,)
    ET.fromstring(_without_control_characters(record._repr_html_()))


def _without_control_characters(html: str) -> str:
    return "".join(c for c in html if c in "\t\n\r" or (ord(c) >= 32 and c not in "\ufffe\uffff"))


def test_results_file_is_replaced_whole_and_never_half(tmp_path, monkeypatch):
    path = save_results("cud", [a_measurement()], tmp_path)
    before = path.read_bytes()

    def full(*_):
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr("lib.files.os.replace", full)
        with pytest.raises(OSError, match="disk full"):
            save_results("cud", [], tmp_path)
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["cud.json"]
    save_results("cud", [], tmp_path)
    assert load_results("cud", tmp_path) == ()


def test_no_results_yet(tmp_path):
    assert load_results("cud", tmp_path) == ()


def test_save_refuses_other_systems_and_doubles(tmp_path):
    with pytest.raises(UserError, match="of the system 'cud', not of 'hqnas'"):
        save_results("hqnas", [a_measurement()], tmp_path)
    with pytest.raises(UserError, match="given twice"):
        save_results("cud", [a_measurement(), a_measurement(verdict="failed")], tmp_path)
    assert list(tmp_path.iterdir()) == []
    save_results("cud", [a_measurement(), a_measurement(data="checkerboard")], tmp_path)
    assert len(load_results("cud", tmp_path)) == 2


def _results_text(tmp_path):
    return save_results("cud", [a_measurement()], tmp_path).read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("spoil", "named"),
    [
        (lambda s: s[: len(s) // 2], "truncated or not JSON"),
        (lambda s: "[]", "not a results file"),
        (lambda s: '{"format": 1}', "not a results file"),
        (lambda s: s.replace('"format": 1', '"format": 2'), "format 2"),
        (lambda s: s.replace('"system": "cud"', '"system": "hqnas"', 1), "does not hold the results of 'cud'"),
        (lambda s: s.replace('"verdict": "held"', '"verdict": "won"'), "measurements[0]: verdict"),
        (lambda s: s.replace('"value": 0.113', '"value": NaN'), "measurements[0]: values[1].value"),
        (lambda s: s.replace('"unit"', '"units"'), "values[0].unit is missing"),
    ],
)
def test_bad_results_file_is_refused_in_one_sentence(tmp_path, spoil, named):
    good = _results_text(tmp_path)
    bad = spoil(good)
    assert bad != good
    (tmp_path / "cud.json").write_text(bad, encoding="utf-8")
    with pytest.raises(UserError) as caught:
        load_results("cud", tmp_path)
    assert named in str(caught.value)
    assert "cud.json" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_record_shown_twice_counts_once_but_two_that_differ_are_refused(tmp_path):
    bundle = a_record()._repr_mimebundle_()
    assert len(chapter_records(a_notebook(tmp_path / "a.ipynb", bundle, bundle))) == 1
    other = a_record(verdict="failed")._repr_mimebundle_()
    with pytest.raises(UserError, match=r"b\.ipynb, cell 2: .* twice"):
        chapter_records(a_notebook(tmp_path / "b.ipynb", bundle, other))


def test_notebook_without_records_or_without_sense(tmp_path):
    assert chapter_records(a_notebook(tmp_path / "plain.ipynb", {"text/plain": "3"})) == ()
    with pytest.raises(UserError, match="no notebook"):
        chapter_records(tmp_path / "absent.ipynb")
    (tmp_path / "broken.ipynb").write_text('{"cells": [', encoding="utf-8")
    with pytest.raises(UserError, match="truncated or not JSON"):
        chapter_records(tmp_path / "broken.ipynb")
    (tmp_path / "list.ipynb").write_text("[1]", encoding="utf-8")
    with pytest.raises(UserError, match="not a notebook"):
        chapter_records(tmp_path / "list.ipynb")
    spoilt = a_record()._repr_mimebundle_()
    spoilt[CLAIM_MIME] = spoilt[CLAIM_MIME] | {"verdict": "won"}
    with pytest.raises(UserError, match=r"spoilt\.ipynb, cell 1: verdict"):
        chapter_records(a_notebook(tmp_path / "spoilt.ipynb", spoilt))


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0, "0"),
        (4, "4"),
        (16240, "16,240"),
        (0.10123, "0.1012"),
        (2.8, "2.800"),
        (97.123, "97.12"),
        (1234.56, "1235"),
        (-0.5, "-0.5000"),
        (23456.7, "23,457"),
        (0.0000123, "1.23e-05"),
        (9999.96, "10000"),
    ],
)
def test_numbers_for_readers(value, shown):
    assert number(value) == shown


@given(st.floats(-1e12, 1e12))
def test_a_shown_number_is_near_the_number(value):
    assert float(number(value).replace(",", "")) == pytest.approx(value, rel=1e-3, abs=1e-300)
