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
    found, curves = reproduce.reproduce((4,), told.append, processes=1)
    measurable = {claim.id for claim in load_card("cud").claims if not claim.id.startswith("cud-")}
    assert {one.claim for one in found} == measurable
    assert len({one.key for one in found}) == len(found)
    assert all(one.seeds == (4,) for one in found)
    assert len(told) == 3
    assert [one.data for one in curves] == ["2-D ring", "2-D checkerboard", claims.DIGITS]
    assert {comparison.OT, comparison.LEARNED_CATCH_UP, comparison.CONSISTENCY} <= curves[0].scores.keys()
    assert {f"{comparison.RK34}, head 3", f"{comparison.RK34_EXACT}, head 3"} <= curves[0].scores.keys()
    assert {comparison.WIDE_LEARNED, comparison.WIDE_SHAKEDROP, comparison.WIDE_WAVELET} <= curves[2].scores.keys()


def flat(values, place=""):
    if not isinstance(values, dict):
        return {place: values}
    return {key: value for name, inner in values.items() for key, value in flat(inner, f"{place}.{name}").items()}


@pytest.mark.parametrize(
    ("base", "thrown"),
    [
        (
            comparison.first_sessions(toy()),
            {
                comparison.EMA_TEACHER: (comparison.RK12, {".catch_up.teacher"}),
                comparison.RAMP: (comparison.RK12, {".catch_up.weights"}),
                comparison.DISCRETE: (comparison.RK12, {".catch_up.discrete_time"}),
                comparison.RK34_EXACT: (comparison.RK34, {".catch_up.scheme"}),
                comparison.RK34_CHAINED: (comparison.RK34, {".catch_up.chained"}),
            },
        ),
        (
            comparison.first_sessions(scaled()),
            {
                comparison.WIDE_LEARNED: (comparison.RK12_WIDE, {".coupling.kind"}),
                comparison.WIDE_SHAKEDROP: (comparison.RK12_WIDE, {".network.phi"}),
                comparison.WIDE_WAVELET: (comparison.RK12_WIDE, {".wavelet_weight"}),
            },
        ),
    ],
    ids=["toy", "scaled"],
)
def test_each_switch_is_thrown_alone(base, thrown):
    switched = comparison.switched(base[comparison.FLOW])
    assert switched.keys() == thrown.keys()
    for label, (of, settings) in thrown.items():
        one, other = flat(base[of].to_dict()), flat(switched[label].to_dict())
        differ = {key for key in one | other if one.get(key) != other.get(key)}
        assert {key for key in differ if not key.startswith(".coupling.encoder")} == settings


def test_second_session_starts_from_the_presets_own_catch_up():
    assert reproduce.second_start(toy()) == comparison.RK12
    assert reproduce.second_start(scaled()) == comparison.RK12_WIDE


def test_a_study_needs_a_seed():
    with pytest.raises(UserError, match="one or more different numbers"):
        reproduce.reproduce(())
    with pytest.raises(UserError, match=r"not \[3, 3\]"):
        reproduce.reproduce((3, 3))
