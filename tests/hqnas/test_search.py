"""The search: it keeps its target, learns, explains every decision, resumes to the same network, and reopens."""

from dataclasses import replace

import pytest
import torch

from lib.errors import UserError
from lib.hqnas.config import ObjectiveConfig
from lib.hqnas.evaluate import accuracy
from lib.hqnas.gates import ROW, Gates
from lib.hqnas.lifelong import continue_search, reopen, shortened
from lib.hqnas.model import Supernet, sliced_from
from lib.hqnas.objective import Objective
from lib.hqnas.search import closed_until, filled, search
from lib.hqnas.space import SearchSpace
from lib.training.run import Run
from lib.training.seeding import generator
from tests.hqnas.tiny import TINY, WHOLE, digits, products, tiny_config, tiny_space

QUIET = Run(seed=3, progress=False)


@pytest.fixture(scope="module")
def found():
    space = tiny_space()
    return search(space, tiny_config(steps=60).search, products(space), digits(), QUIET)


def test_the_target_is_kept_and_reported(found):
    assert found.cost <= found.target * (1 + 1e-6)
    assert found.cost == pytest.approx(found.table.of(found.choices))
    assert found.cost > 0.3 * found.target  # most of the budget is used
    assert found.target == pytest.approx(0.3 * found.table.full(found.space))
    assert found.steps == 60


def test_it_learns(found):
    """The found network, sliced, knows more digits than chance by far, before any retraining."""
    assert accuracy(sliced_from(found.supernet, found.choices), digits("test", 200)) > 0.3


def test_the_log_holds_every_decision_and_its_two_numbers(found):
    log = found.log
    assert log.rows == 60
    assert log.norms.shape == (60, 3, len(ROW))
    free = torch.ones(3, len(ROW), dtype=torch.bool)
    free[1, 0] = False  # this block cannot be left out
    decided = (log.norms >= log.thresholds) | ~free
    searched = slice(12, 48)
    assert torch.equal(decided[searched].float(), log.gates[searched])
    costs = [float(found.table.expected(_gates(row))) for row in log.gates]
    assert torch.allclose(torch.tensor(costs), log.cost, rtol=1e-5)


def _gates(row):
    return Gates(row[:, 0], row[:, 1], row[:, 2], row[:, 3:].unflatten(1, (3, 2)))


def test_every_flip_is_told_with_its_reason(found):
    flips = list(found.flips())
    assert flips
    assert all(12 <= flip.step <= 48 for flip in flips)  # not while warm, not while frozen
    for flip in flips:
        if flip.step < 48:
            assert flip.opened == (flip.norm >= flip.threshold)
    assert "closed" in " ".join(map(str, flips))


def test_gates_stay_shut_or_open_while_frozen(found):
    frozen = found.log.gates[48:]
    assert (frozen == frozen[0]).all()
    assert _gates(frozen[0]).choices() == found.choices


def test_thresholds_stay_where_they_are_while_warm(found):
    assert not found.log.thresholds[:13].any()
    assert found.log.thresholds[48].any()


@pytest.mark.parametrize("form", ["absolute", "hinge", "additive", "multiplicative"])
def test_every_objective_brings_the_cost_down(form):
    space = tiny_space()
    config = tiny_config(steps=40).search
    config = replace(config, objective=ObjectiveConfig(form, 1.0, 0.3), threshold_rate=0.5)
    found = search(space, config, products(space), digits(), QUIET)
    assert found.cost < 0.8 * found.table.full(space)
    if form in ("absolute", "hinge"):
        assert found.cost <= found.target * (1 + 1e-6)


def test_a_higher_price_finds_a_cheaper_network():
    space, costs = tiny_space(), []
    for strength in (0.0, 0.3, 3.0):
        config = replace(
            tiny_config(steps=40).search, objective=ObjectiveConfig("additive", strength, 0.3), threshold_rate=0.3
        )
        costs.append(search(space, config, products(space), digits(), QUIET).cost)
    assert costs[0] > costs[2]
    assert costs[0] >= costs[1] >= costs[2]


def test_objectives_are_their_formulas():
    task, cost = torch.tensor(0.5), torch.tensor(3.0)
    assert float(Objective(ObjectiveConfig("multiplicative", 2.0), 2.0)(task, cost)) == pytest.approx(0.5 * 1.5**2)
    assert float(Objective(ObjectiveConfig("additive", 2.0), 2.0)(task, cost)) == pytest.approx(
        0.5 + 2 * 0.405465, rel=1e-5
    )
    assert float(Objective(ObjectiveConfig("hinge", 2.0), 2.0)(task, cost)) == pytest.approx(0.5 + 2 * 0.5)
    assert float(Objective(ObjectiveConfig("hinge", 2.0), 4.0)(task, cost)) == pytest.approx(0.5)
    assert float(Objective(ObjectiveConfig("absolute", 2.0), 4.0)(task, cost)) == pytest.approx(0.5 + 2 * 0.25)
    with pytest.raises(ValueError, match="positive"):
        Objective(ObjectiveConfig(), 0.0)


def test_the_pressure_grows_above_the_target_and_falls_below():
    objective = Objective(ObjectiveConfig("absolute"), 2.0)
    objective.press(torch.tensor(3.0))
    assert float(objective.pressure) > 1
    objective.press(torch.tensor(0.5))
    objective.press(torch.tensor(0.5))
    assert float(objective.pressure) < 1


def test_the_multiplicative_penalty_switches_itself_off():
    """Its slope on the cost is CE * beta / LAT: nothing where the task is solved."""
    slopes = []
    for task in (1.0, 0.01):
        cost = torch.tensor(3.0, requires_grad=True)
        Objective(ObjectiveConfig("multiplicative", 0.5), 2.0)(torch.tensor(task), cost).backward()
        slopes.append(float(cost.grad))
    assert slopes[1] == pytest.approx(0.01 * slopes[0], rel=1e-4)


def test_gates_with_the_smallest_margin_close_first():
    space, table = tiny_space(), products(tiny_space())
    decision = Supernet(space).decision()
    free = torch.ones_like(decision.norms, dtype=torch.bool)
    free[:, 0] = False
    target = 0.4 * table.full(space)
    margins = decision.norms - decision.thresholds
    gates = closed_until(decision.gates, margins, table, target, free)
    assert float(table.expected(gates)) <= target
    closed = gates.flat() == 0
    assert margins[closed].max() <= margins[~closed & free].min()


@pytest.mark.parametrize("seed", range(4))
def test_what_is_left_of_a_budget_is_used(seed):
    """No closed gate could be opened any more; none was closed; the budget is kept."""
    space, table = tiny_space(), products(tiny_space())
    margins = torch.randn(3, len(ROW), generator=generator(seed))
    free = torch.ones(3, len(ROW), dtype=torch.bool)
    free[1, 0] = False
    start = Gates.of(space.smallest())
    target = 0.35 * table.full(space)
    gates = filled(start, margins, table, target, free)
    cost = float(table.expected(gates))
    assert cost <= target
    assert (gates.flat() >= start.flat()).all()
    for block in range(3):
        for gate in range(len(ROW)):
            rows = gates.flat().clone()
            if rows[block, gate] == 0 and free[block, gate]:
                rows[block, gate] = 1
                more = float(table.expected(_gates(rows)))
                assert more > target or more == pytest.approx(cost)  # too dear, or it stands behind a closed one


def test_a_killed_search_goes_on_to_the_same_network(tmp_path):
    space, config, table = tiny_space(), tiny_config(steps=24).search, products(tiny_space())
    whole = search(space, config, table, digits(), QUIET)
    for cut in (3, 12, 22):  # warm, searching, frozen
        out = tmp_path / str(cut)
        search(space, config, table, digits(), replace(QUIET, out=out, max_steps=cut))
        again = search(space, config, table, digits(), replace(QUIET, out=out, resume=True))
        assert again.choices == whole.choices
        for one, other in zip(again.supernet.state_dict().values(), whole.supernet.state_dict().values(), strict=True):
            assert torch.equal(one, other)
        assert torch.equal(again.log.norms, whole.log.norms)
        assert again.history.values["loss"].tolist() == whole.history.values["loss"].tolist()


def test_only_bits_move_where_the_shape_is_kept():
    space = tiny_space()
    shape = space.uniform(8, 3, 6)
    found = search(space, tiny_config(steps=40).search, products(space), digits(), QUIET, shape=shape)
    assert all(one.kernel == 3 and one.expansion == 6 for one in found.choices)
    assert any(bits < 8 for one in found.choices for bits in one.bits)


def test_reopening_opens_every_gate_and_only_lowers():
    space = tiny_space()
    found = search(space, tiny_config(steps=40).search, products(space), digits(), QUIET)
    before = found.supernet.thresholds.levels.detach().clone()
    closed = int((found.supernet.decision().norms < before).sum())
    assert reopen(found.supernet) >= closed > 0
    assert (found.supernet.thresholds.levels <= before).all()
    assert found.supernet.decision().gates.choices() == space.uniform(8)


def test_a_lifelong_search_keeps_the_new_target_in_a_fifth_of_the_steps():
    space = tiny_space()
    config = tiny_config(steps=60).search
    found = search(space, config, products(space), digits(), QUIET)
    tighter = replace(config, objective=replace(config.objective, target=0.15), threshold_rate=0.5)
    again = continue_search(found.supernet, tighter, found.table, digits(), QUIET)
    assert again.steps == 12 == shortened(tighter).recipe.steps
    assert again.cost <= again.target * (1 + 1e-6)
    assert again.target == pytest.approx(0.15 * found.table.full(space))


def test_what_does_not_fit_is_one_clear_sentence():
    space, table = tiny_space(), products(tiny_space())
    config = tiny_config().search
    other = SearchSpace(TINY, (1, 9, 9), 10)
    with pytest.raises(UserError, match=r"shape \(1, 8, 8\), and the space is for \(1, 9, 9\)"):
        search(other, config, products(other), digits(), QUIET)
    one_class = replace(digits(), labels=torch.zeros_like(digits().labels))
    with pytest.raises(UserError, match="one class only"):
        search(space, config, table, one_class, QUIET)
    with pytest.raises(UserError, match="impossible"):
        search(space, replace(config, objective=ObjectiveConfig(target=1e-3)), table, digits(), QUIET)
    with pytest.raises(UserError, match="of another space"):
        search(space, config, table, digits(), QUIET, start=Supernet(tiny_space(WHOLE)))


def test_frozen_gates_are_remembered_though_weights_go_on(tmp_path):
    """After a restart in the frozen part they are read, not decided anew from weights that have moved on."""
    space, config, table = tiny_space(), tiny_config(steps=24).search, products(tiny_space())
    out = tmp_path / "run"
    search(space, config, table, digits(), replace(QUIET, out=out, max_steps=22))
    again = search(space, config, table, digits(), replace(QUIET, out=out, resume=True))
    frozen = again.log.gates[20:24]
    assert (frozen == frozen[0]).all()
    assert _gates(frozen[0]).choices() == again.choices
