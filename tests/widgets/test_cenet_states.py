"""What Python puts into the figures of chapter 7: every setting's extremes, sizes, and bad input."""

import base64
import io
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy.stats import entropy
from torchaudio.functional import melscale_fbanks, mu_law_decoding

from lib.cenet.config import NETWORKS, PAPER_FEATURES, SCALED_FEATURES, CENetConfig, GraphConfig, preset_named
from lib.cenet.model import build_network
from lib.cenet.spotter import KeywordModel, Spotter
from lib.errors import UserError
from lib.speech.features import FeatureConfig
from lib.widgets.cenet_adjacency import (
    AdjacencyMaps,
    adjacency_state,
    band_centres,
    cell_edges,
    node_centres,
    quantised,
    row_entropies,
)
from lib.widgets.cenet_threshold import ThresholdCurves, informative, merged, played_bytes, threshold_state
from lib.widgets.kit import module
from tests.widgets.cenet_figures import NAMES, clips_of_tones, scores_of, spotter_of, with_adjacency


@pytest.fixture(scope="module")
def spotter():
    return spotter_of()


@pytest.fixture(scope="module")
def sounds():
    return clips_of_tones(4).waveforms


@pytest.fixture(scope="module")
def figure(spotter, sounds):
    return AdjacencyMaps.from_spotter(spotter, sounds[:3], ["one", "two <b>", "three"])


def picture_of(address: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(address.split(",")[1]))))


class TestAdjacency:
    def test_weights_come_back(self, spotter, sounds, figure):
        model = spotter.model
        traces = model.network.trace(model.normalise(model.extract(sounds[:3])))
        assert [(e["stage"], e["height"], e["width"]) for e in figure.stages] == [(1, 13, 10), (2, 7, 5), (3, 4, 3)]
        for clip in range(3):
            for place, trace in enumerate(traces):
                exact = trace.adjacency[clip].numpy()
                wrong = np.abs(figure.adjacency(clip, place) - exact) / exact.max(1, keepdims=True)
                assert wrong.max() <= 1 / 509
                change = (trace.after - trace.before)[clip].norm() / trace.before[clip].norm()
                assert figure.clips[clip]["change"][place] == pytest.approx(float(change))
        assert [e["gamma"] for e in figure.stages] == [-0.5, 0.5, -0.5]

    def test_entropies_are_those_of_scipy(self, spotter, sounds, figure):
        model, at = spotter.model, 0
        traces = model.network.trace(model.normalise(model.extract(sounds[:3])))
        found = np.frombuffer(figure.entropies, "<f4")
        for clip in range(3):
            for trace in traces:
                rows = trace.adjacency[clip].double().numpy()
                expected = entropy(rows, axis=1) / np.log(len(rows))
                assert found[at : at + len(rows)] == pytest.approx(expected, abs=1e-5)
                at += len(rows)
        assert at == len(found)
        assert found.std() > 0.01

    @pytest.mark.parametrize(("control", "expected"), [("identity", 0.0), ("uniform", 1.0)])
    def test_controls_have_the_extreme_entropies(self, sounds, control, expected):
        state = adjacency_state(spotter_of(with_adjacency(control)), sounds[:1], ["one"])
        assert np.frombuffer(state["entropies"], "<f4") == pytest.approx(expected, abs=1e-6)

    def test_entropy_of_one_place_and_of_zeros(self):
        assert row_entropies(np.ones((1, 1))).tolist() == [0.0]
        assert row_entropies(np.array([[1.0, 0.0], [0.5, 0.5]])).tolist() == [0.0, 1.0]

    def test_quantised_rows_keep_their_largest(self):
        rows = np.array([[0.9, 0.1], [1e-9, 1 - 1e-9]])
        numbers, largest = quantised(rows)
        assert numbers.tolist() == [[255, 28], [0, 255]]
        assert largest == pytest.approx([0.9, 1.0])

    @pytest.mark.parametrize(("stage", "node"), [(1, (11, 12)), (2, (9, 8)), (3, (6, 5))])
    def test_a_node_lies_amid_what_it_hears(self, stage, node):
        """With positive weights no unit is ever off: the input that moves a node is a box around its centre."""
        network = build_network(CENetConfig((0, 0, 0)), 2).eval().double()
        with torch.no_grad():
            for weight in network.parameters():
                weight.abs_().add_(0.1)
        sound = torch.ones(1, 1, 180, 160, dtype=torch.float64, requires_grad=True)
        x = network.initial(sound)
        for blocks in network.stages[:stage]:
            x = blocks(x)
        x[0, :, node[0], node[1]].sum().backward()
        for side in (0, 1):
            heard = sound.grad[0, 0].abs().sum(1 - side).nonzero().flatten()
            centre = node_centres(x.shape[2 + side], stage)[node[side]]
            assert heard[0] > 0
            # what a 3x3 with stride 2 hears is symmetric about the place that the shortcut takes
            assert (heard[0] + heard[-1]).item() / 2 == centre

    def test_cells_cover_the_picture(self):
        assert cell_edges(13, 1, 51) * 51 == pytest.approx([0, *(4 * i + 3 for i in range(12)), 51])
        for length, sizes in ((51, (13, 7, 4)), (40, (10, 5, 3)), (101, (25, 13, 7)), (5, (1, 1, 1))):
            for stage, nodes in enumerate(sizes, start=1):
                edges = cell_edges(nodes, stage, length)
                centres = (node_centres(nodes, stage) + 0.5) / length
                assert edges[0] == 0
                assert edges[-1] == 1
                assert (edges[:-1] < centres).all()
                assert (centres < edges[1:]).all()

    def test_bands_peak_where_the_filters_do(self):
        fine = melscale_fbanks(40001, 20.0, 4000.0, 40, 16000).numpy()  # 0.2 Hz a row
        assert band_centres(SCALED_FEATURES) == pytest.approx(0.2 * fine.argmax(0), abs=0.2)
        assert band_centres(PAPER_FEATURES) is None
        kaldi = band_centres(FeatureConfig("kaldi_fbank", bands=23))
        assert len(kaldi) == 23
        assert 20 < kaldi[0] < kaldi[-1] < 8000

    def test_places_have_times_and_bands(self, figure):
        first, _, last = figure.stages
        assert first["milliseconds"] == [10 + 80 * i for i in range(13)]
        assert last["milliseconds"] == [10, 330, 650, 970]
        hertz = band_centres(SCALED_FEATURES)
        assert first["bands"][1] == round((hertz[4] + hertz[5]) / 2)
        assert figure.ticks["time"][2] == ["0.5", pytest.approx(25.5 / 51)]
        assert [name for name, _ in figure.ticks["band"]] == ["125", "250", "500", "1000", "2000"]

    def test_time_runs_right_and_low_bands_lie_at_the_bottom(self, spotter):
        time = torch.arange(16000) / 16000
        low_first = torch.where(time < 0.5, torch.sin(2 * torch.pi * 150 * time), torch.sin(2 * torch.pi * 3000 * time))
        state = adjacency_state(spotter, low_first[None], ["tones"])
        picture = picture_of(state["clips"][0]["picture"]).astype(int)
        assert picture.shape == (40, 51)
        assert picture[30:, 5:20].max() > 200 > 120 > picture[:20, 5:20].max()
        assert picture[:12, 30:45].max() > 200 > 120 > picture[25:, 30:45].max()

    def test_papers_size_is_drawn_over_its_cepstra(self):
        config = preset_named("cenet-gcn-6")
        state = adjacency_state(spotter_of(config), clips_of_tones(4).waveforms, list("abcd"))
        assert state["cepstral"]
        assert [(e["height"], e["width"]) for e in state["stages"]] == [(25, 10), (13, 5), (7, 3)]
        assert state["stages"][0]["bands"] == [round(0.5 + 4 * i) for i in range(10)]
        assert state["ticks"]["band"][1][0] == "10"
        assert picture_of(state["clips"][0]["picture"]).shape == (40, 101)
        assert len(AdjacencyMaps(**state).static_html()) < 500_000

    def test_only_the_stages_with_a_graph(self, sounds):
        config = with_adjacency("banded")
        config = replace(config, network=replace(config.network, graph=GraphConfig(stages=(3,))))
        figure = AdjacencyMaps.from_spotter(spotter_of(config), sounds[:1], ["one"])
        assert [e["stage"] for e in figure.stages] == [3]
        assert "Stage 3" in figure.preview()
        assert "Stage 1" not in figure.preview()

    def test_sizes(self, spotter, sounds, figure):
        nodes = 130**2 + 35**2 + 12**2
        assert len(figure.weights) == 3 * nodes
        four = AdjacencyMaps.from_spotter(spotter, sounds, list("abcd"))
        assert len(four.static_html()) < 180_000

    def test_still(self, figure):
        still = figure.preview()
        assert still.count("data:image/png;base64,") == 1
        assert still.count("<g transform") == 3
        assert "<b>" not in figure.static_html().split("<script")[0]

    def test_bad_input(self, spotter, sounds):
        for name in ("cenet-6", "bc-resnet-1"):
            config = replace(spotter.config, network=NETWORKS[name])
            without = Spotter(config, KeywordModel(config, len(NAMES)), NAMES)
            with pytest.raises(UserError, match="no graph module"):
                adjacency_state(without, sounds, list("abcd"))
        with pytest.raises(UserError, match=r"\(k, 16000\)"):
            adjacency_state(spotter, sounds[:, :100], list("abcd"))
        with pytest.raises(UserError, match="a title each"):
            adjacency_state(spotter, sounds, ["one"])
        with pytest.raises(UserError, match="1 to 6 clips"):
            adjacency_state(spotter, sounds[:0], [])
        with pytest.raises(UserError, match="NaN"):
            adjacency_state(spotter, torch.full((1, 16000), torch.nan), ["one"])
        broken = spotter_of()
        broken.model.network.graphs["1"].theta.weight.fill_(torch.nan)
        with pytest.raises(UserError, match="diverged"):
            adjacency_state(broken, sounds[:1], ["one"])


@pytest.fixture(scope="module")
def clips():
    return clips_of_tones(60)


@pytest.fixture(scope="module")
def curves(clips):
    return ThresholdCurves.from_posteriors(scores_of(clips), clips)


def unpacked(state: dict, place: int) -> tuple[np.ndarray, np.ndarray]:
    """A keyword's own scores and those of the others, each as often as it counts."""
    before, entry = state["keywords"][:place], state["keywords"][place]
    own = np.frombuffer(state["targets"], "<f4", entry["targets"], 4 * sum(e["targets"] for e in before))
    skipped = 4 * sum(e["others"] for e in before)
    scores = np.frombuffer(state["others"], "<f4", entry["others"], skipped)
    counts = np.frombuffer(state["counts"], "<i4", entry["others"], skipped)
    return own.astype(float), np.repeat(scores.astype(float), counts)


class TestThreshold:
    @pytest.mark.parametrize("sharpness", [0.0, 2.5, 9.0])
    def test_rates_at_every_place_of_the_slider(self, sharpness):
        clips = clips_of_tones(300)
        scores = scores_of(clips, 3, sharpness)
        if sharpness:
            scores = scores**3  # between the thresholds too
        state = threshold_state(scores, clips)
        assert [entry["name"] for entry in state["keywords"]] == ["yes", "no", "up"]
        for place in range(3):
            own, others = unpacked(state, place)
            mine, theirs = (scores[truth, place].double() for truth in (clips.labels == place, clips.labels != place))
            for step in range(0, 1001):
                assert (own >= step / 1000).sum() == (mine >= step / 1000).sum()
                assert (others >= step / 1000).sum() == (theirs >= step / 1000).sum()

    @given(
        st.lists(st.floats(0, 1, width=32), min_size=1, max_size=60), st.lists(st.floats(0, 1, width=32), min_size=1)
    )
    @settings(max_examples=60, deadline=None)
    def test_merging_moves_no_score_past_another(self, others, targets):
        others, targets = np.array(others, np.float32), np.array(targets, np.float32)
        scores, counts = merged(others, targets)
        assert counts.sum() == len(others)
        assert (np.diff(scores) >= 0).all()
        again = np.repeat(scores, counts)
        for edge in targets:
            assert (again > edge).sum() == (others > edge).sum()
        for edge in [*targets, *np.arange(1001) / 1000]:
            assert (again.astype(float) >= edge).sum() == (others.astype(float) >= edge).sum()

    def test_merging_saves(self):
        clips = clips_of_tones(2000)
        state = threshold_state(scores_of(clips, 1, 9.0), clips, examples=1)
        assert len(state["others"]) < 4 * 3 * 1600 / 2

    def test_the_first_threshold_has_as_many_misses_as_alarms(self, clips, curves):
        scores = scores_of(clips).double()
        gap = []
        for threshold in (curves.start - 0.05, curves.start, curves.start + 0.05):
            miss = [(scores[clips.labels == k, k] < threshold).float().mean() for k in range(3)]
            alarm = [(scores[clips.labels != k, k] >= threshold).float().mean() for k in range(3)]
            gap.append(float(np.mean(alarm) - np.mean(miss)))
        assert abs(gap[1]) == min(map(abs, gap))

    def test_clips_to_hear(self, clips, curves):
        assert 15 <= len(curves.clips) <= 36
        assert sum(clip["bytes"] for clip in curves.clips) == len(curves.sounds)
        table = np.frombuffer(curves.scores, "<f4").reshape(-1, 3)
        scores = scores_of(clips)
        for place, name in enumerate(NAMES[:3]):
            own = [row[place] for row, clip in zip(table, curves.clips, strict=True) if clip["label"] == name]
            others = [row[place] for row, clip in zip(table, curves.clips, strict=True) if clip["label"] != name]
            assert min(own) == scores[clips.labels == place, place].min()
            assert max(others) == scores[clips.labels != place, place].max()

    def test_the_most_informative_come_first(self):
        posteriors = np.array([[0.9, 0.0], [0.2, 0.0], [0.5, 0.0], [0.8, 0.1], [0.7, 0.1], [0.6, 0.9]])
        labels, words = np.array([0, 0, 0, 1, 1, 1]), ["a", "a", "a", "x", "x", "y"]
        # the worst of its own, the worst of the others, its own middle, its best; then others of another word
        assert informative(posteriors, labels, words, [0], 9) == [1, 3, 2, 0, 5]
        assert informative(posteriors, labels, words, [0], 2) == [1, 3]
        assert informative(posteriors, labels, words, [0, 1], 3) == [1, 3, 0]

    def test_what_is_played_is_the_speech(self, clips):
        sound = mu_law_decoding(
            torch.frombuffer(bytearray(played_bytes(clips.waveforms[0], 16000)), dtype=torch.uint8), 256
        )
        assert 0.35 * 8000 < len(sound) < 0.65 * 8000
        assert sound.abs().max() == pytest.approx(0.8, abs=0.03)
        spectrum = torch.fft.rfft(sound, 8000).abs()
        loudest = torch.fft.rfft(clips.waveforms[0], 16000).abs().argmax()  # one bin a Hz in both
        assert abs(int(spectrum.argmax()) - int(loudest)) <= 2

    def test_noise_and_silence_can_be_played(self):
        noise = torch.randn(16000, generator=torch.Generator().manual_seed(0))
        assert len(played_bytes(noise, 16000)) == 6400
        silent = mu_law_decoding(
            torch.frombuffer(bytearray(played_bytes(torch.zeros(16000), 16000)), dtype=torch.uint8), 256
        )
        assert silent.abs().max() < 1e-3
        assert len(played_bytes(torch.randn(20), 16000)) == 10

    def test_keywords_by_choice(self, clips):
        state = threshold_state(scores_of(clips), clips, ["up"], examples=1)
        assert [entry["name"] for entry in state["keywords"]] == ["up"]
        assert len(state["clips"]) == 1
        named = threshold_state(scores_of(clips), clips, ["unknown"])
        assert named["keywords"][0]["targets"] == 12
        absent = clips.subset((clips.labels != 1).nonzero().flatten())
        left = threshold_state(scores_of(absent), absent)
        assert [entry["name"] for entry in left["keywords"]] == ["yes", "up"]

    def test_size_at_the_chapters_scale(self):
        names = (*(f"word {number}" for number in range(10)), "unknown", "silence")
        many = clips_of_tones(1440, 2)
        many.waveforms.add_(0.05 * torch.randn(many.waveforms.shape, generator=torch.Generator().manual_seed(1)))
        clips = replace(many, class_names=names, labels=torch.arange(1440) % 12)
        source = torch.Generator().manual_seed(0)
        logits = torch.randn(1440, 12, generator=source)
        logits[torch.arange(1440), clips.labels] += 4
        state = threshold_state(logits.softmax(1), clips)
        assert sum(len(value) for value in state.values() if isinstance(value, bytes)) < 320_000
        assert len(ThresholdCurves(**state).static_html()) < 450_000

    def test_still(self, clips, curves):
        still = curves.preview()
        assert f"threshold {curves.start:g}" in still
        own, others = unpacked(curves.get_state(), 0)
        assert f"{100 * (own < curves.start).mean():.1f} % of its clips are missed" in still
        assert f"{100 * (others >= curves.start).mean():.2f} in a hundred" in still
        perfect = torch.nn.functional.one_hot(clips.labels, 5).float()
        assert "0.0 % of its clips are missed" in ThresholdCurves.from_posteriors(perfect, clips).preview()

    def test_bad_input(self, clips):
        scores = scores_of(clips)
        cases = [
            ((scores[:5], clips), r"\(5, 5\), not \(60, 5\)"),
            ((scores * 3 - 1, clips), "probabilities"),
            ((scores * torch.nan, clips), "probabilities"),
            ((scores, clips, ["maybe"]), "'maybe' is no class"),
            ((scores, clips, []), "at least one keyword"),
            ((scores, clips, ["no", "no"]), "each named once"),
            ((scores, replace(clips, waveforms=clips.waveforms * torch.nan)), "cannot be played"),
        ]
        for arguments, words in cases:
            with pytest.raises(UserError, match=words):
                threshold_state(*arguments)
        with pytest.raises(UserError, match="one clip or more"):
            threshold_state(scores, clips, examples=0)
        alone = clips.subset((clips.labels == 0).nonzero().flatten())
        with pytest.raises(UserError, match="clips of others"):
            threshold_state(scores_of(alone), alone)
        with pytest.raises(UserError, match="clips of it"):
            threshold_state(scores_of(alone), alone, ["no"])


@pytest.mark.parametrize("name", ["cenet_adjacency", "cenet_threshold"])
def test_scripts_stand_alone(name):
    lines = [line.strip() for line in module(name).splitlines()]
    addresses = [line for line in lines if "://" in line.replace("http://www.w3.org/2000/svg", "")]
    assert not addresses
    assert not [line for line in lines if line.startswith("import ") or "import(" in line]
    assert sum(line.startswith("export default") for line in lines) == 1
