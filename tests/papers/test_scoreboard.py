"""The scoreboard joins cards, chapters and results, and hides nothing."""

import xml.etree.ElementTree as ET

import nbformat
import numpy as np
import pytest
import yaml

from lib.errors import UserError
from lib.papers import (
    SEEDS,
    load_card,
    load_cards,
    measurement,
    paper_figure,
    record_claim,
    save_results,
    scoreboard_html,
    scoreboard_rows,
)


def values(label, numbers, **setting):
    return [
        {"label": label, "seed": seed, "setting": setting, "value": value, "unit": "distance"}
        for seed, value in enumerate(numbers)
    ]


@pytest.fixture
def book(tmp_path):
    """Folders of a book in which one chapter ran and one command reproduced two claims."""
    chapters, results = tmp_path / "chapters", tmp_path / "results"
    chapters.mkdir()
    record = record_claim(
        "cud",
        "few-steps-2d",
        verdict="held",
        summary="One run.",
        values=values("catch-up", [0.1], nfe=4) + values("flow", [0.13], nfe=4),
        preset="toy",
        data="ring",
    )
    cell = nbformat.v4.new_code_cell(
        "r", outputs=[nbformat.v4.new_output("execute_result", data=record._repr_mimebundle_())]
    )
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), chapters / "1-cud.ipynb")
    common = {"system": "cud", "source": "reproduce", "preset": "toy", "data": "ring"}
    save_results(
        "cud",
        [
            measurement(
                claim="few-steps-2d",
                verdict="failed",
                summary="Not over three seeds.",
                values=values("catch-up", [0.10, 0.12, 0.17], nfe=4),
                minutes=2.0,
                **common,
            ),
            measurement(claim="rk-order", verdict="held", summary="One seed.", values=values("RK34", [0.3]), **common),
        ],
        results,
    )
    return {"chapters_folder": chapters, "results_folder": results}


def row_of(rows, claim):
    (row,) = [row for row in rows if (row.system, row.claim.id) == ("cud", claim)]
    return row


def tree_of(html):
    return ET.fromstring(html)


def test_an_unmeasured_book_shows_every_claim_and_no_number(tmp_path):
    folders = {"chapters_folder": tmp_path / "none", "results_folder": tmp_path / "none"}
    rows = scoreboard_rows(**folders)
    assert [(row.system, row.claim.id) for row in rows] == [
        (card.id, claim.id) for card in load_cards() for claim in card.claims
    ]
    assert {row.verdict for row in rows} == {"not measured"}
    assert all(row.lines == () and row.remarks == () for row in rows)
    html = scoreboard_html(None, tmp_path / "none", tmp_path / "none")
    for row in rows:
        assert f'id="claim-{row.system}-{row.claim.id}"' in html
    assert "Mean" not in html


def test_chapter_and_seeds_share_a_line_with_mean_and_spread(book):
    row = row_of(scoreboard_rows(**book), "few-steps-2d")
    ours, flow = row.lines
    assert (ours.label, ours.setting, ours.unit) == ("catch-up", {"nfe": 4}, "distance")
    assert ours.chapter == 0.1
    assert ours.mean == pytest.approx(np.mean([0.10, 0.12, 0.17]))
    assert ours.spread == pytest.approx(np.std([0.10, 0.12, 0.17], ddof=1))
    assert ours.seeds == 3
    assert (flow.chapter, flow.mean, flow.spread, flow.seeds) == (0.13, None, None, 0)


def test_the_verdict_over_seeds_outweighs_the_chapters(book):
    row = row_of(scoreboard_rows(**book), "few-steps-2d")
    assert (row.chapter_verdict, row.seeds_verdict, row.verdict) == ("held", "failed", "failed")
    only_seeds = row_of(scoreboard_rows(**book), "rk-order")
    assert (only_seeds.chapter_verdict, only_seeds.verdict) == ("not measured", "held")
    assert only_seeds.lines[0].spread is None
    assert row_of(scoreboard_rows(**book), "cud-15-nfe").verdict == "not measured"


def test_one_failure_among_several_data_sets_is_a_failure(tmp_path):
    common = {"system": "cud", "claim": "rk-order", "source": "reproduce", "summary": "s", "preset": "toy"}
    save_results(
        "cud",
        [
            measurement(data="ring", verdict="held", values=values("RK34", [0.3]), **common),
            measurement(data="board", verdict="failed", values=values("RK34", [0.4]), **common),
        ],
        tmp_path,
    )
    row = row_of(scoreboard_rows(None, tmp_path, tmp_path), "rk-order")
    assert row.verdict == "failed"
    assert [line.label for line in row.lines] == ["RK34, ring", "RK34, board"]


def test_page_is_well_formed_accessible_and_shows_failure_in_words(book):
    html = scoreboard_html(None, book["chapters_folder"], book["results_folder"])
    assert "<script" not in html
    assert "http" not in html
    tree = tree_of(html)
    headings = {section.get("id"): "".join(section.find("h3").itertext()) for section in tree.findall("section")}
    assert headings["claim-cud-few-steps-2d"].startswith("Failed ")
    assert headings["claim-cud-rk-order"].startswith("Held ")
    assert headings["claim-cud-cud-15-nfe"].startswith("Not measured ")
    for table in tree.iter("table"):
        assert table.find("caption") is not None
        assert all(th.get("scope") in ("row", "col") for th in table.iter("th"))
    # A table can be wider than a phone, so each one scrolls inside a frame that the keyboard reaches.
    frames = [div for div in tree.iter("div") if div.get("class") == "scoreboard-scroll"]
    assert sum(1 for frame in frames for _ in frame.iter("table")) == len(list(tree.iter("table")))
    assert all(f.get("tabindex") == "0" and f.get("role") == "region" and f.get("aria-label") for f in frames)
    ids = [element.get("id") for element in tree.iter() if element.get("id")]
    assert len(ids) == len(set(ids))


def test_page_shows_figures_and_leaves_empty_what_nobody_measured(book):
    tree = tree_of(scoreboard_html(None, book["chapters_folder"], book["results_folder"]))
    (section,) = [s for s in tree.findall("section") if s.get("id") == "claim-cud-few-steps-2d"]
    cells = [["".join(td.itertext()) for td in tr.findall("td")] for tr in section.find("div/table/tbody")]
    assert cells == [["0.1000", "0.1300 ± 0.036", "3", "distance"], ["0.1300", "", "0", "distance"]]
    words = "".join(section.itertext())
    assert "Over 3 seeds (preset toy, ring, 2 minutes of computing): Not over three seeds." in words
    assert "none: the claim is derived here" in words
    (counts,) = [t for t in tree.iter("table") if t.get("class") == "scoreboard-counts"]
    first = [td.text for td in counts.find("tbody/tr").findall("td")]
    assert first == ["1", "1", str(len(load_card("cud").claims) - 2), str(len(load_card("cud").claims))]


def test_paper_figures_keep_their_digits():
    card = load_card("cud")
    assert paper_figure(card.claim("cud-one-step")) == "3.37 FID"
    assert paper_figure(card.claim("cud-15-nfe")) == "2.80 FID"
    assert paper_figure(load_card("cenet").claim("parameters-gcn-40")) == "72.3 thousand parameters"
    assert paper_figure(load_card("thuee").claim("fusion-error-rate")) == "none that could be read"


def test_hostile_text_in_a_card_stays_text(tmp_path):
    fields = yaml.safe_load((SEEDS / "cud.yml").read_text(encoding="utf-8"))
    hostile = '</h3><script>alert("x")</script>'
    fields["claims"][0]["sentence"] = fields["short_name"] = hostile
    fields["claims"][0]["test"]["margin"]["words"] = hostile
    (tmp_path / "cud.yml").write_text(yaml.safe_dump(fields), encoding="utf-8")
    tree = tree_of(scoreboard_html(tmp_path, tmp_path, tmp_path))
    assert "script" not in {element.tag for element in tree.iter()}
    assert hostile in "".join(tree.itertext())


def test_a_record_without_a_claim_is_stale_and_refused(tmp_path, book):
    fields = yaml.safe_load((SEEDS / "cud.yml").read_text(encoding="utf-8"))
    fields["claims"] = [claim for claim in fields["claims"] if claim["id"] != "few-steps-2d"]
    (tmp_path / "cud.yml").write_text(yaml.safe_dump(fields), encoding="utf-8")
    with pytest.raises(UserError, match="few-steps-2d belongs to no claim"):
        scoreboard_rows(tmp_path, **book)
