"""`papers reproduce cud`, cut down to seconds: every claim is measured, on every data set, and every curve is kept."""

from dataclasses import replace
from functools import partial

import pytest

from lib.cud import claims, comparison, reproduce
from lib.cud.config import SecondSessionConfig, scaled, toy
from lib.errors import UserError
from lib.papers import load_card

BRIEF = SecondSessionConfig(pairs=64, steps=1, batch_size=16, learning_rate=1e-3)


def brief(config):
    config = replace(config, optimiser=replace(config.optimiser, steps=4, batch_size=16, warmup=1))
    return replace(config, second_session=BRIEF)


@pytest.fixture
def quick(monkeypatch):
    judge = reproduce.make_judge
    monkeypatch.setattr(reproduce, "toy", lambda: brief(toy()))
    monkeypatch.setattr(reproduce, "scaled", lambda: brief(scaled()))
    monkeypatch.setattr(reproduce, "make_judge", lambda *data: replace(judge(*data, classifier_steps=5), samples=100))
    monkeypatch.setattr(reproduce, "flow_straightness", partial(reproduce.flow_straightness, samples=10))
    monkeypatch.setattr(reproduce, "CALLS", (1, 2, 4, 8))


def test_all_claims_are_measured_on_all_data(quick):
    told = []
    found, curves = reproduce.reproduce(1, told.append, processes=1)
    measurable = {claim.id for claim in load_card("cud").claims if not claim.id.startswith("cud-")}
    assert {one.claim for one in found} == measurable
    assert len({one.key for one in found}) == len(found)
    assert all(one.seeds == (0,) for one in found)
    assert len(told) == 3
    assert [one.data for one in curves] == ["2-D ring", "2-D checkerboard", claims.DIGITS]
    assert {comparison.OT, comparison.LEARNED_CATCH_UP, comparison.CONSISTENCY} <= curves[0].scores.keys()
    assert f"{comparison.RK34}, head 3" in curves[0].scores


def test_second_session_starts_from_the_presets_own_catch_up():
    assert reproduce.second_start(toy()) == comparison.RK12
    assert reproduce.second_start(scaled()) == comparison.RK12_WIDE


def test_a_study_needs_a_seed():
    with pytest.raises(UserError, match="at least 1"):
        reproduce.reproduce(0)
