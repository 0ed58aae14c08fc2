"""Verdicts follow the numbers, in both directions; curves are kept whole."""

import json

import pytest

from lib.cud import claims, comparison
from lib.cud.curves import (
    FILE,
    SWITCHES,
    Curves,
    as_json,
    drawn,
    load_curves,
    methods_of,
    rows,
    switch_ratios,
    switch_rows,
)
from lib.errors import UserError
from lib.files import write_whole
from lib.papers import measurement


def scores(**one_seed) -> claims.BySeed:
    return {0: one_seed, 1: one_seed}


def run(calls=(1, 2, 4, 8), **values) -> dict:
    return {label: dict.fromkeys(calls, value) for label, value in values.items()}


NAMES = {
    comparison.FLOW: 1.0,
    comparison.FLOW_EQUAL: 0.9,
    comparison.RK12: 0.5,
    comparison.SECOND_ON_FLOW: 0.3,
    comparison.SECOND_ON_CATCH_UP: 0.1,
    comparison.REFLOW: 0.2,
    comparison.CONSISTENCY: 0.1,
    comparison.CONSISTENCY_DISTILLED: 0.1,
    comparison.PROGRESSIVE: 0.2,
    f"{comparison.RK34}, head 1": 0.5,
    f"{comparison.RK34}, head 3": 0.3,
}
GOOD = {0: run(**NAMES), 1: run(**NAMES)}


@pytest.mark.parametrize(
    ("test", "spoiled"),
    [
        (lambda s: claims.few_steps("few-steps-2d", s, "SW₂", comparison.RK12), {comparison.FLOW_EQUAL: 0.5}),
        (lambda s: claims.second_session(s, "SW₂"), {comparison.SECOND_ON_CATCH_UP: 0.3}),
        (lambda s: claims.one_step_needs_second_session(s, "SW₂"), {comparison.RK12: 0.2}),
        (lambda s: claims.rk_order(s, "SW₂"), {f"{comparison.RK34}, head 3": 0.5}),
        (lambda s: claims.peers_at_equal_compute(s, "SW₂"), {comparison.REFLOW: 0.4}),
        (lambda s: claims.second_session_floor(s, {0: 0.1, 1: 0.1}, "SW₂"), {comparison.SECOND_ON_CATCH_UP: 0.2}),
    ],
)
def test_a_claim_is_held_or_failed_by_its_numbers(test, spoiled):
    good = test(GOOD)
    assert good.verdict == "held"
    bad = test({0: run(**{**NAMES, **spoiled}), 1: run(**{**NAMES, **spoiled})})
    assert bad.verdict == "failed"
    for finding in (good, bad):  # every finding can be recorded
        kept = measurement(
            system="cud", claim=finding.claim, source="reproduce", verdict=finding.verdict, summary=finding.summary,
            values=finding.values, preset="toy", data="2-D ring",
        )  # fmt: skip
        assert kept.seeds == (0, 1) or list(kept.seeds) == [0, 1]


def test_the_mean_over_seeds_decides():
    lucky = {
        0: run(**{**NAMES, comparison.SECOND_ON_CATCH_UP: 0.1}),
        1: run(**{**NAMES, comparison.SECOND_ON_CATCH_UP: 0.9}),
    }
    assert claims.second_session(lucky, "SW₂").verdict == "failed"


def test_straightening_order():
    lags = list(claims.STRAIGHTENING.values())
    assert lags == sorted(lags)
    falling = {label: 1.0 / (i + 1) for i, label in enumerate(claims.STRAIGHTENING)}
    assert claims.straightening_order({0: falling}).held
    level = dict.fromkeys(claims.STRAIGHTENING, 0.5)
    assert not claims.straightening_order({0: level}).held


def test_curves_go_to_disk_and_back(tmp_path):
    curves = [Curves.over_seeds("2-D ring", "sliced Wasserstein distance", GOOD, {0: 0.07, 1: 0.08})]
    assert curves[0].scores[comparison.RK12][4] == (0.5, 0.5)
    write_whole(tmp_path / FILE, as_json(curves))
    assert load_curves(tmp_path) == curves
    assert [path.name for path in tmp_path.iterdir()] == ["cud-curves.json"]


def test_drawn_curves_have_mean_and_spread():
    seeds = {0: {comparison.RK12: {1: 1.0, 2: 0.4}}, 1: {comparison.RK12: {1: 3.0, 2: 0.6}}}
    curves = Curves.over_seeds("2-D ring", "sliced Wasserstein distance", seeds, {0: 0.07, 1: 0.09})
    figure = drawn([curves])
    (record,) = figure["records"]
    assert record["nfe"] == [1, 2]
    assert record["value"] == pytest.approx([2.0, 0.5])
    assert (record["low"], record["high"]) == ([1.0, 0.4], [3.0, 0.6])
    assert figure["floors"]["2-D ring"] == pytest.approx(0.08)
    assert rows(curves) == [{"method": comparison.RK12, "1": 2.0, "2": 0.5}]


def test_the_moving_figure_has_every_method_and_shows_ten_at_first():
    label = next(label for labels in SWITCHES.values() for label in labels)
    scores = {key: {1: 1.0} for key in [comparison.FLOW, comparison.RK12, comparison.CONSISTENCY_DISTILLED, label]}
    curves = Curves.over_seeds("2-D ring", "sliced Wasserstein distance", {0: scores}, {0: 0.07})
    figure = drawn([curves])
    methods = [record["method"] for record in figure["records"]]
    assert sorted(methods) == sorted([comparison.FLOW, comparison.RK12, comparison.CONSISTENCY_DISTILLED])
    assert methods[0] == comparison.RK12
    assert (len(figure["shown"]), figure["order"][:10]) == (10, list(figure["shown"]))
    assert {method for one in load_curves() for method in methods_of(one)} <= set(drawn(load_curves())["order"])


def test_switched_runs_stand_beside_what_they_change():
    seeds = {
        0: {comparison.FLOW: {1: 9.0}, comparison.RK12_WIDE: {1: 2.0}},
        1: {comparison.FLOW: {1: 9.0}, comparison.RK12_WIDE: {1: 4.0}},
    }
    for seed, found in seeds.items():
        found |= {label: {1: (3.0, 5.0)[seed]} for label in SWITCHES[comparison.RK12_WIDE]}
    curves = Curves.over_seeds("digits", "Fréchet distance", seeds, {0: 0.07, 1: 0.09})
    assert [row["method"] for row in rows(curves)] == [comparison.FLOW, comparison.RK12_WIDE]
    assert switch_rows(curves) == [{"method": label, "1": "1.25–1.50"} for label in SWITCHES[comparison.RK12_WIDE]]
    same = Curves.over_seeds("digits", "Fréchet distance", {0: seeds[0]}, {0: 0.07})
    assert switch_rows(same)[0]["1"] == "1.50"
    assert switch_ratios(curves, comparison.WIDE_WAVELET) == {1: (1.25, 1.5)}


def test_damaged_curves_are_one_sentence(tmp_path):
    with pytest.raises(UserError, match="is missing"):
        load_curves(tmp_path)
    (tmp_path / "cud-curves.json").write_text(json.dumps([{"data": "ring"}]))
    with pytest.raises(UserError, match="damaged"):
        load_curves(tmp_path)
