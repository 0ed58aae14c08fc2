"""The whole system in small: search, slice, retrain; checkpoints; policies; baselines that keep their budgets."""

from dataclasses import replace

import pytest
import torch

from lib.errors import UserError
from lib.hqnas.baselines.branches import BranchedSupernet
from lib.hqnas.baselines.evolution import EvolutionConfig, evolve, train_shared
from lib.hqnas.baselines.greedy import greedy_bits, narrower
from lib.hqnas.baselines.policies import random_choices, random_within, uniform_within
from lib.hqnas.baselines.two_step import two_step
from lib.hqnas.config import GateConfig
from lib.hqnas.evaluate import accuracy, evaluate, summary_of
from lib.hqnas.hardware import hardware_named
from lib.hqnas.model import Network, Supernet, sliced_from
from lib.hqnas.price import kept_for_backward
from lib.hqnas.retrain import retrain
from lib.hqnas.search import search
from lib.hqnas.space import load_policy
from lib.hqnas.train import POLICY_FILE, load_supernet, load_trained, train
from lib.training.run import Run
from lib.training.seeding import generator
from lib.vision.data import to_float
from tests.hqnas.tiny import WHOLE, digits, products, tiny_config, tiny_space

QUIET = Run(seed=1, progress=False)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    out = tmp_path_factory.mktemp("run")
    return train(tiny_config(steps=60), digits(), replace(QUIET, out=out)), out


def test_learning_beats_chance_by_far(made):
    """Two seeds came to 0.71 and 0.76 of ten classes in a try; an untrained network stays near a tenth."""
    network = made[0].network
    assert accuracy(network, digits("test", 300)) > 0.5
    untrained = Network(network.space, network.choices)
    assert accuracy(untrained, digits("test", 300)) < 0.25


def test_a_run_comes_back_from_its_folder(made):
    whole, out = made
    again = load_trained(out)
    x = to_float(digits("test").images[:20])
    assert torch.equal(again.network(x), whole.network(x))
    assert (again.choices, again.cost, again.device) == (whole.choices, whole.cost, "compute-bound")
    assert load_policy(out / POLICY_FILE, again.space) == whole.choices
    supernet = load_supernet(out)
    for name, value in whole.found.supernet.state_dict().items():
        assert torch.equal(supernet.state_dict()[name], value)


def test_cost_and_bits_read_back_are_those_reported(made):
    whole, out = made
    again = load_trained(out)
    table = hardware_named("compute-bound").cost_table(again.space)
    assert table.of(again.choices) == pytest.approx(whole.cost)
    bits = {(block, part): layer.bits for (block, part), layer in _layers(again.network).items()}
    for number, choice in enumerate(again.choices):
        if choice is not None:
            assert tuple(bits[str(number), part] for part in ("expand", "depthwise", "project")) == choice.bits


def _layers(network):
    return {tuple(name.split(".")): layer for name, layer in network.convs()}


def test_a_run_that_was_killed_while_searching_or_retraining_goes_on(tmp_path):
    config = tiny_config(steps=16)
    whole = train(config, digits(), replace(QUIET, out=tmp_path / "whole"))
    out = tmp_path / "cut"
    found = search(
        whole.space, config.search, whole.found.table, digits(), replace(QUIET, out=out / "search", max_steps=9)
    )
    assert found.steps == 9  # as a killed one leaves it
    again = train(config, digits(), replace(QUIET, out=out, resume=True))
    assert again.choices == whole.choices
    for one, other in zip(again.network.state_dict().values(), whole.network.state_dict().values(), strict=True):
        assert torch.equal(one, other)


def test_a_policy_is_trained_without_a_search():
    space = tiny_space()
    made = train(tiny_config(steps=5), digits(), QUIET, policy=space.smallest())
    assert made.found is None
    assert made.choices == space.smallest()
    assert made.target == made.cost


def test_another_run_s_supernet_is_gone_on_from(made):
    start = load_supernet(made[1])
    config = tiny_config(steps=20)
    again = train(config, digits(), QUIET, start=start)
    assert again.found.steps == 4


def test_floats_are_trained_and_read_back_as_floats(tmp_path):
    config = tiny_config(steps=4)
    gates = replace(config.search.gates, bits=False, start_bits=0)
    config = replace(config, search=replace(config.search, gates=gates))
    made = train(config, digits(), replace(QUIET, out=tmp_path))
    assert not made.network.quantized
    assert not load_trained(tmp_path).network.quantized


def test_weights_of_another_policy_are_refused():
    space = tiny_space()
    with pytest.raises(UserError, match="another policy"):
        retrain(space, space.uniform(4), tiny_config().retrain, digits(), QUIET, start=Network(space, space.smallest()))


def test_a_checkpoint_of_something_else_is_refused(tmp_path):
    from lib.training.checkpoint import save_checkpoint

    save_checkpoint(tmp_path, {"a": torch.zeros(1)}, {"classes": 3}, "hqnas")
    with pytest.raises(UserError, match="describes no searched network"):
        load_trained(tmp_path)
    with pytest.raises(UserError, match="No checkpoint folder"):
        load_trained(tmp_path / "none")


def test_scores_have_their_interval_and_their_classes(made):
    score = evaluate(made[0].network, digits("test", 300))
    assert score.low < score.accuracy < score.high
    by_class = [score.class_accuracies[label] for label in digits("test", 300).labels]
    assert sum(by_class) / 300 == pytest.approx(score.accuracy, abs=1e-5)
    few = replace(digits("test", 300), labels=digits("test", 300).labels[:0], images=digits("test", 300).images[:0])
    with pytest.raises(UserError, match="no image"):
        evaluate(made[0].network, few)


def test_a_network_is_told_in_one_line():
    space = tiny_space()
    assert summary_of(space.smallest()) == "skip, 3x3 e3 2/2/2, skip"


# --- baselines ---


@pytest.mark.parametrize("seed", range(3))
def test_random_policies_keep_the_budget_and_use_it(seed):
    space = tiny_space()
    table = products(space)
    cost = table.of(random_within(space, table, 0.3, generator(seed)))
    assert 0.8 * 0.3 <= cost / table.full(space) <= 0.3
    with pytest.raises(UserError, match="No random policy"):
        random_within(space, table, 0.9, generator(seed), least=1.0)


def test_random_choices_reach_everything():
    space, source = tiny_space(), generator(0)
    seen = [random_choices(space, source) for _ in range(800)]
    for number, block in enumerate(space.blocks):
        assert {row[number] for row in seen} == set(space.all_choices(block))


def test_the_uniform_network_is_the_dearest_that_fits():
    space = tiny_space()
    table = products(space)
    chosen = uniform_within(space, table, 0.3)
    assert len(set(chosen)) == 1
    assert table.of(chosen) <= 0.3 * table.full(space)
    assert uniform_within(space, table, 0.08) is None


def test_one_after_the_other_keeps_the_budget_and_the_shape():
    space = tiny_space()
    config = tiny_config(steps=40).search
    candidate, shaped, bits = two_step(space, config, products(space), digits(), QUIET)
    assert candidate.steps == shaped.steps + bits.steps == 40
    assert all(bit == 8 for one in shaped.choices if one for bit in one.bits)
    assert [one and (one.kernel, one.expansion) for one in shaped.choices] == [
        one and (one.kernel, one.expansion) for one in candidate.choices
    ]
    assert products(space).of(candidate.choices) <= 0.3 * products(space).full(space) * (1 + 1e-6)


def test_greedy_takes_the_step_that_loses_least_for_what_it_saves():
    """Against brute force over all first steps of a network."""
    space = tiny_space()
    table = products(space)
    network, _ = retrain(space, space.uniform(8), tiny_config(steps=30).retrain, digits(), QUIET)
    x, y = to_float(digits("test").images[:100]), digits("test").labels[:100]
    once = greedy_bits(network, table, table.full(space) - 1e-3, x, y)

    def loss(choices):
        other = Network(space, choices)
        other.load_state_dict(network.state_dict())
        with torch.no_grad():
            return float(torch.nn.functional.cross_entropy(other.eval()(x), y))

    now = loss(space.uniform(8))
    prices = {
        tried: (loss(tried) - now) / (table.full(space) - table.of(tried))
        for block in range(3)
        for part in range(3)
        if (tried := narrower(space.uniform(8), block, part))
    }
    assert once == min(prices, key=prices.get)
    assert table.of(greedy_bits(network, table, 0.3 * table.full(space), x, y)) <= 0.3 * table.full(space)
    with pytest.raises(UserError, match="At 2 bits everywhere"):
        greedy_bits(network, table, 0.01 * table.full(space), x, y)


def test_evolution_keeps_the_budget_and_never_gets_worse():
    space = tiny_space()
    table = products(space)
    supernet = train_shared(space, tiny_config(steps=30).search, digits(), QUIET)
    before = {name: value.clone() for name, value in supernet.state_dict().items()}
    small = EvolutionConfig(population=6, parents=3, generations=3, judged_on=50)
    candidate, losses = evolve(supernet, table, 0.3, digits(), 0, small)
    assert table.of(candidate.choices) <= 0.3 * table.full(space)
    assert losses == sorted(losses, reverse=True)
    assert all(torch.equal(before[name], value) for name, value in supernet.state_dict().items())


@pytest.mark.parametrize("bits", [0, 8])
def test_parallel_branches_are_another_supernet_that_learns(bits):
    """DARTS-like: all alphas get gradients; with all weight on one branch it is that branch."""
    space = tiny_space()
    branched = BranchedSupernet(space, GateConfig(bits=bits > 0, start_bits=bits))
    x, y = to_float(digits().images[:16]), digits().labels[:16]
    torch.nn.functional.cross_entropy(branched(x), y).backward()
    assert all((alpha.grad != 0).all() for alpha in branched.alphas)
    block, branches = space.blocks[0], branched.branches[0]
    with torch.no_grad():
        branched.alphas[0].copy_(torch.tensor([-1e4, -1e4, 0.0, -1e4, -1e4]))
        branched.eval()
        inside = branched._before(x, 0 if not bits else None)
        shares = branched.alphas[0].softmax(0)
        mixed = inside + sum(s * b(inside) for s, b in zip(shares, branches, strict=False))
        assert torch.allclose(mixed, inside + branches[2](inside), atol=1e-6)
    assert block.skippable


def test_the_supernet_keeps_less_than_half_of_what_branches_keep():
    """The issue's bound on memory, counted: the same on every machine."""
    from lib.hqnas.config import scaled
    from lib.hqnas.space import SearchSpace

    for config in (scaled().space, WHOLE):
        space = SearchSpace(config, (1, 8, 8), 10)
        x, y = to_float(digits().images[:64]), digits().labels[:64]
        ours, theirs = Supernet(space), BranchedSupernet(space)

        def loss(logits, y=y):
            return torch.nn.functional.cross_entropy(logits, y)

        single = kept_for_backward(lambda: loss(ours(x)[0]), ours)  # noqa: B023
        parallel = kept_for_backward(lambda: loss(theirs(x)), theirs)  # noqa: B023
        assert single <= 0.5 * parallel
        plain = Network(space, space.uniform(8))
        assert single <= 1.6 * kept_for_backward(lambda: loss(plain(x)), plain)  # noqa: B023


def test_what_is_kept_for_the_backward_pass_is_counted_once():
    layer = torch.nn.Linear(4, 4, bias=False)
    x = torch.randn(8, 4, requires_grad=True, generator=generator(0))
    assert kept_for_backward(lambda: layer(x).exp().sum(), layer) == 8 * 4 * 4 + 8 * 4 * 4  # x, and exp's result


def test_a_slice_of_a_search_is_where_retraining_begins():
    space = tiny_space()
    found = search(space, tiny_config(steps=10).search, products(space), digits(), QUIET)
    start = sliced_from(found.supernet, found.choices)
    one, _ = retrain(space, found.choices, tiny_config(steps=5).retrain, digits(), QUIET, start=start)
    other, _ = retrain(space, found.choices, tiny_config(steps=5).retrain, digits(), QUIET, start=found.supernet)
    assert all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True))
