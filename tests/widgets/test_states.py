"""What Python puts into the figures: smallest, default and largest settings, and bad input."""

import copy
import io

import numpy as np
import pytest
import torch
from PIL import Image

from lib.cud.model import build_model
from lib.cud.networks.config import MLPConfig, UNetConfig
from lib.cud.points import shape_named
from lib.cud.samplers import trajectory
from lib.cud.straightness import path_straightness
from lib.errors import UserError
from lib.vision.wasserstein import sliced_wasserstein
from lib.widgets.cud_digits import DigitTrajectories, digits_state, to_bytes, with_estimates
from lib.widgets.cud_trajectories import OdeTrajectories, data_quantiles, sliced_distance, trajectories_state
from lib.widgets.kit import module, style
from lib.widgets.mlp import pack_mlp, run_packed, unpack_mlp
from lib.widgets.png import png
from lib.widgets.quality_curves import QualityCurves, quality_state


class TestPackedNetwork:
    @pytest.mark.parametrize("head", [1, 2])
    def test_runs_as_the_model_does(self, models, head):
        model, _ = models["first model"]
        x = torch.randn(50, 2, generator=torch.Generator().manual_seed(1))
        for t in (0.0, 0.3, 1.0):
            with torch.no_grad():
                expected = model(x, t, head=head).numpy()
            # float16 keeps 11 bits: a relative error of 5e-4 a weight, less where errors cancel
            assert run_packed(pack_mlp(model, head), x.numpy(), t) == pytest.approx(expected, abs=0.01)

    def test_exact_where_the_weights_fit_in_sixteen_bits(self, models):
        model = copy.deepcopy(models["first model"][0])
        with torch.no_grad():
            for weight in model.parameters():
                weight.copy_(weight.half().float())
            x = torch.randn(20, 2, generator=torch.Generator().manual_seed(2))
            expected = model(x, 0.4).numpy()
        assert run_packed(pack_mlp(model), x.numpy(), 0.4) == pytest.approx(expected, abs=1e-5)

    def test_smallest_network_and_one_without_time(self):
        model = build_model(MLPConfig(width=1, depth=1, time=False), seed=3)
        uses_time, layers = unpack_mlp(pack_mlp(model))
        assert not uses_time
        assert [w.shape for w, _ in layers] == [(1, 2), (2, 1)]
        x = torch.tensor([[0.5, -1.0]])
        with torch.no_grad():
            assert run_packed(pack_mlp(model), x.numpy(), 0.9) == pytest.approx(model(x, 0.2).numpy(), abs=2e-3)

    def test_refuses_what_it_cannot_run(self, models):
        model = copy.deepcopy(models["first model"][0])
        with pytest.raises(UserError, match="heads 1 to 2"):
            pack_mlp(model, 3)
        with pytest.raises(UserError, match="plain MLP"):
            pack_mlp(build_model(MLPConfig(dimension=5)))
        with torch.no_grad():
            model.heads[0].bias[0] = float("nan")
        with pytest.raises(UserError, match="not finite"):
            pack_mlp(model)

    def test_refuses_an_image_network(self):
        with pytest.raises(UserError, match="plain MLP"):
            pack_mlp(build_model(UNetConfig()))


class TestTrajectories:
    def test_default_state(self, models, data):
        state = trajectories_state(models, data)
        assert [m["name"] for m in state["models"]] == list(models)
        assert sum(m["bytes"] for m in state["models"]) == len(state["weights"])
        assert np.frombuffer(state["noise"], "<f4").shape == (320,)
        assert np.frombuffer(state["data"], "<f4").reshape(-1, 2) == pytest.approx(data.numpy())
        model, head = models["second model"]
        many = torch.randn(512, 2, generator=torch.Generator().manual_seed(1))
        assert state["models"][1]["straightness"] == pytest.approx(path_straightness(model, many, head=head))

    @pytest.mark.parametrize(("particles", "steps"), [(1, 1), (1000, 32)])
    def test_smallest_and_largest(self, models, data, particles, steps):
        figure = OdeTrajectories.from_models({"only": models["first model"]}, data, particles, seed=7, steps=steps)
        assert len(figure.noise) == 8 * particles
        assert f"Euler, {steps} steps" in figure.preview()
        assert "<path" in figure.static_html()

    def test_seed_decides_the_noise(self, models, data):
        first, again, other = (trajectories_state(models, data, seed=s)["noise"] for s in (0, 0, 1))
        assert first == again
        assert first != other

    @pytest.mark.parametrize(("count", "size"), [(50, 300), (50, 320), (50, 30)])
    def test_the_distance_is_the_sliced_wasserstein_distance(self, data, count, size):
        random = np.random.default_rng(1)
        known, points = data.numpy()[:size].repeat(2, axis=0)[:size], random.standard_normal((count, 2))
        found = sliced_distance(points, *data_quantiles(known, count))
        known = known[: len(known) // count * count] if size > count else known
        squares = []
        for k in range(32):
            line = np.array([np.cos(np.pi * k / 32), np.sin(np.pi * k / 32)])
            # as many copies of each as the other has points: then the sorted lists can be paired
            a, b = np.sort(np.repeat(points @ line, len(known))), np.sort(np.repeat(known @ line, count))
            squares.append(np.mean((a - b) ** 2))
        assert found == pytest.approx(np.sqrt(np.mean(squares)))

    def test_it_is_near_that_of_the_chapter(self, data):
        points = torch.randn(100, 2, generator=torch.Generator().manual_seed(3))
        found = sliced_distance(points.numpy(), *data_quantiles(data.numpy(), 100))
        assert found == pytest.approx(sliced_wasserstein(points, data, 2000), rel=0.05)

    def test_fresh_data_are_nearer_than_noise_or_a_heap(self, models):
        board = shape_named("checkerboard")(4000, torch.Generator().manual_seed(0))
        state = trajectories_state(models, board, particles=100)
        reference = np.frombuffer(state["quantiles"], "<f4").reshape(32, 100), state["spread"]
        noise = np.frombuffer(state["noise"], "<f4").reshape(-1, 2)
        assert 0 < state["floor"] < 0.5 * sliced_distance(noise, *reference)
        assert state["floor"] < 0.2 * sliced_distance(np.zeros((100, 2)), *reference)

    def test_the_floor_is_that_of_other_points(self, models, data):
        assert trajectories_state(models, data[:100], particles=50)["floor"] > 0.05

    def test_bad_input(self, models, data):
        with pytest.raises(UserError, match="at least one model"):
            trajectories_state({}, data)
        with pytest.raises(UserError, match="1 to 1000 particles, not 0"):
            trajectories_state(models, data, particles=0)
        with pytest.raises(UserError, match="1 to 32 steps"):
            trajectories_state(models, data, steps=33)
        with pytest.raises(UserError, match="shape"):
            trajectories_state(models, data[:, :1])
        with pytest.raises(UserError, match="NaN"):
            trajectories_state(models, torch.full((10, 2), float("nan")))


class TestDigits:
    def test_states_come_back(self, walks):
        figure = DigitTrajectories.from_arrays(walks)
        for m, name in enumerate(figure.methods):
            for b, calls in enumerate(figure.budgets):
                states, estimates = walks[name][calls]
                assert np.array_equal(figure.states(m, b), to_bytes(states).swapaxes(0, 1))
                after = figure.blocks[m][b]["offset"] + states.size
                stored = np.frombuffer(figure.pixels, np.uint8, states.size, after)
                assert np.array_equal(stored, to_bytes(estimates).swapaxes(0, 1).ravel())
        assert sum(2 * states.size for w in walks.values() for states, _ in w.values()) == len(figure.pixels)

    @pytest.mark.parametrize(
        ("samples", "calls", "shape"), [(1, (1,), (1, 1, 1)), (16, (1, 2, 4, 8, 16, 32), (3, 16, 16))]
    )
    def test_smallest_and_largest(self, samples, calls, shape):
        random = np.random.default_rng(0)
        walks = {"m": {n: (random.standard_normal((n + 1, samples, *shape)),) * 2 for n in calls}}
        figure = DigitTrajectories.from_arrays(walks)
        assert figure.states(0, len(calls) - 1).shape == (samples, calls[-1] + 1, *shape)
        assert "data:image/png;base64," in figure.preview()
        assert figure.static_html()

    def test_bytes_keep_the_range(self):
        assert to_bytes(np.array([-5.0, -1.0, 0.0, 1.0, 2.0])).tolist() == [0, 0, 128, 255, 255]
        with pytest.raises(UserError, match="NaN"):
            to_bytes(np.array([np.nan]))

    def test_estimates_are_where_one_straight_step_ends(self, models):
        model, _ = models["first model"]
        noise = torch.randn(5, 2, generator=torch.Generator().manual_seed(0))
        walk = trajectory(model, noise, 4, "euler", head=1)
        states, estimates = with_estimates(walk)
        with torch.no_grad():
            expected = walk.points[2] - 0.5 * model(walk.points[2], 0.5)
        assert estimates[2] == pytest.approx(expected.numpy(), abs=1e-5)
        assert np.array_equal(estimates[-1], states[-1])

    def test_bad_input(self, walks):
        with pytest.raises(UserError, match="at least one method"):
            digits_state({})
        with pytest.raises(UserError, match="no trajectory"):
            digits_state({"m": {}})
        with pytest.raises(UserError, match=r"\[1, 2, 8\]"):
            digits_state({"a": walks["first method"], "b": {1: walks["first method"][1]}})
        with pytest.raises(UserError, match="States have shape"):
            digits_state({"m": {1: (np.zeros((2, 8, 8, 8)),) * 2}})
        with pytest.raises(UserError, match="do not fit"):
            digits_state({"m": {1: (np.zeros((2, 3, 1, 8, 8)), np.zeros((1, 3, 1, 8, 8)))}})


class TestQuality:
    def test_default_state(self, records):
        state = quality_state(records, {"ring": 0.07}, {"ring": "SW2"})
        assert state["datasets"] == [
            {"name": "ring", "floor": 0.07, "unit": "SW2"},
            {"name": "digits", "floor": None, "unit": "distance to the data"},
        ]
        assert [m["name"] for m in state["marks"]] == ["alpha", "beta", "gamma"]
        assert len({(m["colour"], m["shape"]) for m in state["marks"]}) == 3

    def test_a_method_keeps_its_mark(self, records):
        order = ["zeta", "beta", "alpha", "gamma"]
        some = quality_state([r for r in records if r["method"] != "alpha"], order=order)["marks"]
        all_of_them = {m["name"]: m for m in quality_state(records, order=order)["marks"]}
        assert all(all_of_them[m["name"]] == m for m in some)

    def test_smallest_and_largest(self):
        one = QualityCurves.from_records([{"dataset": "d", "method": "m", "nfe": [1], "value": [2.0]}])
        assert not one.has_spread
        assert "<svg" in one.preview()
        many = [
            {"dataset": d, "method": f"method {i}", "nfe": list(range(1, 65)), "value": [float(i + 1)] * 64}
            for d in "abcd"
            for i in range(10)
        ]
        assert len(QualityCurves.from_records(many).marks) == 10

    def test_bad_input(self, records):
        good = {"dataset": "d", "method": "m", "nfe": [1, 2], "value": [1.0, 2.0]}
        cases = [
            ([], "at least one"),
            ([good, good], "given twice"),
            ([good | {"nfe": [2, 1]}], "must rise"),
            ([good | {"nfe": [0, 1]}], "must rise"),
            ([good | {"value": [1.0]}], "1 entries"),
            ([good | {"value": [1.0, 0.0]}], "above 0"),
            ([good | {"value": [1.0, float("nan")]}], "finite"),
        ]
        for bad, words in cases:
            with pytest.raises(UserError, match=words):
                quality_state(bad)
        with pytest.raises(UserError, match="None of the methods to show at first was measured: x"):
            quality_state([good], shown=["x"])

    def test_some_methods_wait(self, records):
        assert quality_state(records)["shown"] == ["alpha", "beta", "gamma"]
        figure = QualityCurves.from_records(records, shown=["gamma", "alpha", "unknown"])
        assert figure.shown == ["alpha", "gamma"]
        assert len(figure.records) == len(records)
        assert "beta" not in figure.preview()
        elsewhere = [record | {"method": "delta"} for record in records[-1:]]
        assert "alpha" in QualityCurves.from_records([*records, *elsewhere], shown=["delta"]).preview()

    def test_more_methods_than_marks_can_be_told_apart(self):
        names = [f"method {i}" for i in range(30)]
        looks = quality_state([{"dataset": "d", "method": name, "nfe": [1], "value": [1.0]} for name in names])["marks"]
        assert len({(look["colour"], look["shape"]) for look in looks}) == 30
        assert len({(look["colour"], look["dash"]) for look in looks}) == 30


@pytest.mark.parametrize("shape", [(3, 5), (4, 2, 3)])
def test_png_is_read_back_by_pillow(shape):
    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(png(pixels)))), pixels)


@pytest.mark.parametrize("name", ["cud_trajectories", "cud_digits", "quality_curves"])
def test_scripts_stand_alone(name):
    lines = [line.strip() for line in module(name).splitlines()]
    assert not [
        line
        for line in lines
        if line.startswith("import ")
        or "import(" in line
        or "http://" in line.replace("http://www.w3.org/2000/svg", "")
        or "https://" in line
    ]
    assert sum(line.startswith("export default") for line in lines) == 1


def test_style_has_both_grounds():
    assert style().count("--ptr-mark9:") == 3  # light, dark by switch, dark by the system
    assert "url(" not in style()
