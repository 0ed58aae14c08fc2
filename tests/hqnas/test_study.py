"""From a study to verdicts: every number where the chapter looks for it, and each claim judged as its card says."""

from dataclasses import replace

import pytest
import torch

from lib.errors import UserError
from lib.hqnas import claims, comparison, reproduce, study
from lib.hqnas.config import scaled
from lib.hqnas.evaluate import agreement
from lib.hqnas.space import Choice, SearchSpace, choices_to_list
from lib.papers import load_card, load_results, study_json
from tests.hqnas.tiny import TINY, digits, tiny_space


def tiny_scaled():
    """The chapter's configuration with a small space and few steps."""
    config = scaled()
    recipe = replace(config.retrain, steps=12, batch_size=32)
    return replace(config, space=TINY, search=replace(config.search, recipe=recipe), retrain=recipe, test_shift=0)


@pytest.fixture(scope="module")
def one_study():
    """A study of one seed with one of everything."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reproduce, "scaled", tiny_scaled)
        patch.setattr(reproduce, "FRONTS", {claims.COMPUTE: (0.3, 0.15), claims.BITFUSION: (0.35,)})
        patch.setattr(reproduce, "HEADROOMS", (1.5,))
        patch.setattr(reproduce, "CANDIDATES", 2)
        patch.setattr(reproduce, "SHARES", (0.5,))
        patch.setattr(reproduce, "ANEW", (1.0,))
        patch.setattr(reproduce, "CHANGES", {k: (d, 0.3) for k, (d, _) in reproduce.CHANGES.items()})
        patch.setattr(comparison, "evolve", _quick_evolution)
        return reproduce.study(7)


def _quick_evolution(supernet, table, share, data, seed=0):
    from lib.hqnas.baselines.evolution import EvolutionConfig, evolve

    return evolve(supernet, table, share, data, seed, EvolutionConfig(6, 3, 1, judged_on=40))


def test_a_study_is_read_back_as_it_was_written(one_study, tmp_path):
    (tmp_path / study.FILE).write_bytes(study_json([one_study]))
    assert study.load_studies(tmp_path) == [one_study]
    with pytest.raises(UserError, match="run `papers reproduce hqnas` first"):
        study.load_studies(tmp_path / "none")
    (tmp_path / study.FILE).write_text("[{")
    with pytest.raises(UserError, match="truncated"):
        study.load_studies(tmp_path)


def test_every_verdict_of_a_study_is_a_claim_of_the_card(one_study):
    two = [one_study, one_study | {"seed": 8}]
    found = list(claims.findings(two))
    known = {claim.id for claim in load_card("hqnas").claims}
    ids = {finding.claim for finding, _, _ in found}
    assert ids <= known
    assert {"joint-beats-two-steps", "cheap-search", "lifelong", "networks-follow-hardware"} <= ids
    assert len(reproduce.measurements(two)) == len(found)
    assert sum(finding.claim == "lifelong" for finding, _, _ in found) == 3


def test_networks_of_a_study_keep_their_budgets(one_study):
    for label, row in one_study["front"][claims.COMPUTE].items():
        for budget, network in row.items():
            assert network["cost"] <= float(budget) * 1.00001, (label, budget)
            assert 0 <= network[study.TRAINED] <= 1
    for device, network in one_study["devices"].items():
        assert network["cost"] == pytest.approx(network["elsewhere"][device])


def test_the_same_seed_is_the_same_study_twice(monkeypatch):
    monkeypatch.setattr(reproduce, "scaled", tiny_scaled)
    one, two = (reproduce.contest(claims.COMPUTE, 3) for _ in range(2))
    first, second = one.joint(0.3), two.joint(0.3)
    assert first.choices == second.choices
    assert one.trained_on(first) == two.trained_on(second)


def test_all_methods_train_as_many_steps_in_all(monkeypatch):
    """800 with the scaled preset: a search and a retraining; whoever does not search trains longer."""
    monkeypatch.setattr(reproduce, "scaled", tiny_scaled)
    task = reproduce.contest(claims.COMPUTE, 0)
    monkeypatch.setattr(comparison.Contest, "_accuracy", lambda self, choices, start, steps: steps)
    for candidate in (task.joint(0.3), task.two_step(0.3), task.random(0.3), task.uniform(0.3)):
        assert candidate.steps + task.trained_on(candidate) == 24
        assert task.from_scratch(candidate) == 12


def test_random_candidates_are_counted():
    some = claims.candidates_needed({0: 90.0, 1: 92.0}, [80, 91.5, 85, 70], 400, 400)
    assert "1 of 4" in some.summary
    assert some.values[1]["value"] == 4 * 400
    assert some.held  # 800 steps against 1,600
    none = claims.candidates_needed({0: 99.0}, [80, 91], 400, 400)
    assert "more than" in none.summary
    assert not none.held
    most = claims.candidates_needed({0: 60.0}, [80, 91, 50], 400, 400)
    assert most.values[1]["value"] == 600


def test_lifelong_counts_the_least_steps_that_are_good_enough():
    going, anew = {0.05: 80.0, 0.1: 90.0, 0.2: 91.0}, {0.4: 85.0, 1.0: 90.3}
    found = claims.lifelong(going, anew, 400, epoch=20)
    assert "going on 40 steps (2.0 epochs), from scratch 400 steps (20.0 epochs)" in found.summary
    assert found.held
    never = claims.lifelong({0.2: 70.0}, anew, 400)
    assert "none of the shares tried" in never.summary
    assert not never.held


def test_decisions_in_common():
    space = tiny_space()
    one = space.uniform(8)
    assert agreement(one, one) == 1
    assert agreement(one, (None, *one[1:])) == pytest.approx(2 / 3)
    assert agreement((None, *one[1:]), (None, *one[1:])) == 1
    other = (replace(one[0], kernel=3, bits=(2, 8, 8)), *one[1:])
    assert agreement(one, other) == pytest.approx(16 / 18)


def test_policies_of_a_study_come_back():
    choices = (None, Choice(3, 6, (2, 4, 8)), None)
    assert study.policy_of({"policy": choices_to_list(choices)}) == choices


def test_a_seed_twice_or_none_is_refused():
    with pytest.raises(UserError, match="one or more different numbers"):
        reproduce.reproduce([1, 1])
    with pytest.raises(UserError, match="one or more different numbers"):
        reproduce.reproduce([])


def test_an_image_stands_in_each_of_nine_places_once():
    data = digits("test", 5)
    moved = comparison.moved_everywhere(data)
    assert len(moved) == 45
    assert torch.equal(moved.images[4 * 5 : 5 * 5], data.images)  # the middle place
    assert torch.equal(moved.images[:5, :, 1:, 1:], data.images[:, :, :-1, :-1])
    assert not moved.images[:5, :, 0].any()
    assert torch.equal(moved.labels, data.labels.repeat(9))
    with pytest.raises(ValueError, match="moved already"):
        comparison.moved_everywhere(moved)
    flipped = comparison.transposed(data)
    assert torch.equal(flipped.images[2, 0, 3, 5], data.images[2, 0, 5, 3])


def test_stored_results_are_those_of_the_stored_studies():
    """What stands on the scoreboard follows from the numbers beside it, in this version of the code."""
    studies = study.load_studies()
    stored = {(one.claim, one.data): one for one in load_results("hqnas")}
    again = {(one.claim, one.data): one for one in reproduce.measurements(studies)}
    assert stored.keys() == again.keys()
    for key, one in again.items():
        assert (stored[key].verdict, stored[key].summary) == (one.verdict, one.summary)


def test_stored_policies_are_of_the_chapter_s_space_and_keep_their_budgets():
    config = scaled()
    space = SearchSpace(config.space, (1, 8, 8), 10)
    for one in study.load_studies():
        for row in one["front"][claims.COMPUTE][comparison.JOINT].items():
            budget, network = row
            space.checked(study.policy_of(network))
            assert network["cost"] <= float(budget) * 1.00001
