"""The demo of chapter 7: what it makes of recordings of all kinds, and the served page."""

import dataclasses
import os

import numpy as np
import pytest
import soundfile
import torch

import lib.cenet.command_line
from lib.cenet.clips import Clips
from lib.cenet.config import RecipeConfig, scaled, with_network
from lib.cenet.spotter import KeywordModel, Spotter
from lib.cenet.streaming import Detection
from lib.cenet.train import train
from lib.cli import demo as cli_demo
from lib.demos import cenet, hub, serve
from lib.errors import UserError
from lib.training.run import Run
from tests.browser import QUIET, chromium, comes_true

NAMES = ("yes", "no", "stop", "unknown", "silence")


def spotter_of(network: str, seed: int = 0) -> Spotter:
    """Untrained, but with running means and variances, so that it tells sounds apart."""
    config = with_network(scaled(), network)
    model = KeywordModel(config, len(NAMES), seed).requires_grad_(False)
    features = model.extract(0.1 * torch.randn(32, 16000, generator=torch.Generator().manual_seed(seed)))
    model.normalise.fit(features)
    for norm in (one for one in model.modules() if isinstance(one, torch.nn.modules.batchnorm._BatchNorm)):
        norm.momentum = 1.0
    model.train()(features)
    return Spotter(config, model.eval(), NAMES)


@pytest.fixture(scope="module")
def spotters() -> dict[str, Spotter]:
    return {"with the graph": spotter_of("cenet-gcn-6"), "without": spotter_of("cenet-6")}


@pytest.fixture(scope="module")
def spotter(spotters) -> Spotter:
    return spotters["with the graph"]


def tone(seconds: float, rate: int, hertz: float = 440.0) -> np.ndarray:
    return (0.3 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


def written(path, samples: np.ndarray, rate: int = 16000, subtype: str = "PCM_16") -> str:
    soundfile.write(path, samples, rate, subtype=subtype)
    return str(path)


class TestHear:
    def test_is_the_spotter_on_the_clip_in_the_middle_of_silence(self, spotter, tmp_path):
        samples = tone(0.5, 16000)
        heard = cenet.hear(spotter, written(tmp_path / "a.wav", samples, subtype="FLOAT"))
        clip = torch.zeros(16000)
        clip[4000:12000] = torch.from_numpy(samples)
        assert torch.equal(heard.waveform, clip)
        assert torch.allclose(heard.posteriors, spotter.posteriors(clip[None])[0])
        assert list(heard.scores) == list(NAMES)
        assert sum(heard.scores.values()) == pytest.approx(1)
        assert heard.remarks == ()
        assert heard.milliseconds > 0

    @pytest.mark.parametrize("rate", [8000, 16000, 22050, 44100, 48000])
    @pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "FLOAT", "PCM_U8"])
    def test_any_rate_and_format_and_stereo(self, spotter, tmp_path, rate, subtype):
        one = tone(1.0, rate)
        path = written(tmp_path / "a.wav", np.stack([one, one], axis=1), rate, subtype)
        heard = cenet.hear(spotter, path)
        assert heard.waveform.shape == (16000,)
        spectrum = np.abs(np.fft.rfft(heard.waveform.numpy()))
        assert spectrum.argmax() == 440
        assert heard.remarks == ()

    def test_of_a_long_recording_the_loudest_second(self, spotter, tmp_path):
        samples = np.zeros(80000, np.float32)
        samples[50000:60000] = tone(0.625, 16000)
        heard = cenet.hear(spotter, written(tmp_path / "a.wav", samples))
        assert heard.remarks == ("This recording lasts 5.0 s; we heard its loudest 1 s.",)
        assert heard.waveform.square().sum() == pytest.approx(float((samples**2).sum()), rel=1e-3)

    @pytest.mark.parametrize(
        ("samples", "words"),
        [
            (np.zeros(16000, np.float32), "silent: is the microphone on"),
            (np.sign(tone(1.0, 16000)), "clipped: speak more softly"),
            (tone(0.05, 16000), "only 0.05 s, too short for a word"),
        ],
    )
    def test_remarks(self, spotter, tmp_path, samples, words):
        heard = cenet.hear(spotter, written(tmp_path / "a.wav", samples))
        (remark,) = heard.remarks
        assert words in remark
        assert f"⚠ {remark}" in cenet.describe("N", heard)

    def test_bad_input(self, spotter, tmp_path):
        (tmp_path / "no.wav").write_bytes(b"this is no sound at all" * 50)
        (tmp_path / "nil.wav").write_bytes(b"")
        whole = tmp_path / "whole.wav"
        written(whole, tone(1.0, 16000))
        (tmp_path / "cut.wav").write_bytes(whole.read_bytes()[:9000])
        written(tmp_path / "none.wav", np.zeros(0, np.float32))
        written(tmp_path / "nan.wav", np.full(16000, np.nan, np.float32), subtype="FLOAT")
        cases = [
            (None, "There is no sound yet"),
            (tmp_path / "no.wav", r"^no\.wav cannot be read as audio"),
            (tmp_path / "nil.wav", r"^nil\.wav is an empty file"),
            (tmp_path / "cut.wav", r"^cut\.wav is truncated"),
            (tmp_path / "none.wav", r"^none\.wav holds no samples"),
            (tmp_path / "nan.wav", r"^nan\.wav holds samples that are no numbers"),
        ]
        for path, words in cases:
            for work in (cenet.hear, cenet.listen):
                with pytest.raises(UserError, match=words):
                    work(spotter, path)
        with pytest.raises(UserError, match="threshold"):
            cenet.listen(spotter, whole, threshold=0.0)
        with pytest.raises(UserError, match="at least one"):
            cenet.build({})


class TestListen:
    def test_windows_lie_around_their_times(self, spotter, tmp_path):
        samples = torch.zeros(48000)
        samples[16000:24000] = torch.from_numpy(tone(0.5, 16000))
        heard = cenet.listen(spotter, written(tmp_path / "a.wav", samples.numpy(), subtype="FLOAT"))
        assert heard.times[:3].tolist() == pytest.approx([0, 0.1, 0.2])
        assert heard.times[-1] >= 3.0 - 1e-6
        padded = torch.nn.functional.pad(samples, (8000, 16000))
        for number in (0, 5, 12, 30):
            window = padded[1600 * number : 1600 * number + 16000]
            assert heard.times[number] == pytest.approx(0.1 * number, abs=1e-6)
            assert torch.allclose(heard.posteriors[number], spotter.posteriors(window[None])[0], atol=1e-5)

    @pytest.mark.parametrize("seconds", [0.02, 0.5, 3.0])
    def test_any_length(self, spotter, tmp_path, seconds):
        heard = cenet.listen(spotter, written(tmp_path / "a.wav", tone(seconds, 16000)), threshold=0.05)
        assert len(heard.times) >= 1
        assert len(heard.detections) >= 1
        assert "| at |" in cenet.detection_list(heard)
        assert cenet.timeline_picture(heard).std() > 1

    def test_a_long_recording_is_cut(self, spotter, tmp_path):
        heard = cenet.listen(spotter, written(tmp_path / "a.wav", tone(70, 4000), 4000))
        assert heard.remarks == ("This recording is long; we heard its first 60 s.",)
        assert len(heard.waveform) == 60 * 16000

    def test_live_hears_what_a_recording_is(self, spotter):
        sound = torch.from_numpy(tone(13.0, 48000) * np.linspace(0, 1, 13 * 48000, dtype=np.float32))
        live = cenet.Live(spotter, "n", 48000, 0.05)
        for piece in sound.split(4800):
            live.push(piece)
        heard = live.overheard
        assert heard.start == pytest.approx(3.0, abs=0.11)
        assert heard.waveform.shape[0] == pytest.approx(10 * 48000, abs=4801)
        assert len(heard.times) == 100
        assert heard.times[-1] == pytest.approx(12.5, abs=0.11)
        assert live.detections
        assert cenet.timeline_picture(heard).std() > 1

    def test_pictures_and_lists(self, spotter, tmp_path):
        heard = cenet.listen(spotter, written(tmp_path / "a.wav", tone(2.0, 16000)), threshold=1.0)
        assert cenet.detection_list(heard) == "No word was detected."
        found = dataclasses.replace(heard, detections=(Detection("stop", 1.2, 0.81),), remarks=("Odd.",))
        assert cenet.detection_list(found).splitlines()[-1] == "| stop | 1.2 s | 81% |"
        assert cenet.detection_list(found).startswith("⚠ Odd.")
        pictures = [cenet.timeline_picture(one) for one in (heard, found)]
        assert pictures[0].dtype == np.uint8
        assert pictures[0].shape != pictures[1].shape or (pictures[0] != pictures[1]).any()
        clip = cenet.hear(spotter, written(tmp_path / "b.wav", tone(1.0, 16000)))
        assert cenet.clip_picture(clip).shape[2] == 3


@pytest.fixture(scope="module")
def served(spotters, tmp_path_factory):
    """The hub with this demo, in this process: its address."""
    os.environ["GRADIO_TEMP_DIR"] = str(tmp_path_factory.mktemp("gradio"))
    blocks = hub.build_hub({"7. CENet-GCN": lambda: cenet.build(spotters)})
    yield serve.launch(blocks, block=False)
    blocks.close()
    del os.environ["GRADIO_TEMP_DIR"]


class TestServed:
    def test_called_through_its_client(self, served, spotters, tmp_path):
        from gradio_client import Client, handle_file

        client = Client(served, verbose=False, download_files=str(tmp_path))
        path = written(tmp_path / "a.wav", tone(0.7, 44100), 44100)
        for name, spotter in spotters.items():
            label, facts, picture = client.predict(name, handle_file(path), api_name="/cenet_classify")
            expected = cenet.hear(spotter, path).scores
            best = sorted(expected, key=lambda word: -expected[word])[:3]
            assert [one["label"] for one in label["confidences"]] == best
            found = [one["confidence"] for one in label["confidences"]]
            assert found == pytest.approx([expected[word] for word in best], abs=1e-4)
            assert facts.startswith(f"**{name}** hears **{best[0]}**")
            assert " ms** a clip" in facts
            assert os.path.getsize(picture) > 1000
        timeline, words = client.predict("without", handle_file(path), 0.05, api_name="/cenet_listen")
        assert os.path.getsize(timeline) > 1000
        assert "posterior" in words
        for number in range(3):  # a microphone, by hand: a second is needed before anything can be said
            piece = written(tmp_path / f"piece{number}.wav", tone(0.6, 48000), 48000)
            answer = client.predict("without", handle_file(piece), 0.05, api_name="/cenet_stream")
        assert len(answer) == 2

    def test_bad_input_is_one_sentence(self, served, tmp_path):
        from gradio_client import Client, handle_file

        client = Client(served, verbose=False, download_files=str(tmp_path))
        (tmp_path / "no.wav").write_bytes(b"this is no sound at all" * 50)
        whole = written(tmp_path / "a.wav", tone(0.7, 16000))
        cases = [
            (("without", handle_file(tmp_path / "no.wav")), "/cenet_classify", r"no\.wav cannot be read as audio"),
            (("without", None), "/cenet_classify", "There is no sound yet"),
            (("without", None, 0.5), "/cenet_listen", "There is no sound yet"),
            (("another", handle_file(whole)), "/cenet_classify", "another"),
            (("without", handle_file(whole), 7.0), "/cenet_listen", "7"),
            (("without", handle_file(tmp_path / "no.wav"), 0.5), "/cenet_stream", "cannot be read as audio"),
        ]
        for inputs, name, words in cases:
            with pytest.raises(Exception, match=words):
                client.predict(*inputs, api_name=name)

    @pytest.mark.browser
    def test_clicked_in_the_browser_with_a_file_and_a_microphone(self, served, tmp_path, monkeypatch):
        from playwright.sync_api import sync_playwright

        pieces, read_piece = [], cenet.read_piece

        def counted(path):
            samples, rate = read_piece(path)
            pieces.append(len(samples) / rate)
            return samples, rate

        monkeypatch.setattr(cenet, "read_piece", counted)
        path = written(tmp_path / "tone.wav", tone(0.7, 48000), 48000)
        microphone = [
            "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream",
            f"--use-file-for-fake-audio-capture={path}",
        ]  # fmt: skip
        program = chromium()
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=program, args=[*QUIET, *microphone])
            page, outside = browser.new_page(), []

            def route(request):
                if request.request.url.startswith((served, "data:", "blob:")):
                    return request.continue_()
                outside.append(request.request.url)
                return request.abort()

            page.route("**/*", route)
            page.goto(served)
            page.get_by_role("button", name="Classify").wait_for()
            page.get_by_role("button", name="Classify").click()
            page.get_by_text("There is no sound yet").wait_for()
            page.locator("input[type=file]").first.set_input_files(path)
            page.get_by_role("button", name="Play").first.wait_for()
            page.get_by_role("button", name="Classify").click()
            page.get_by_text("a clip on this machine").wait_for()
            page.get_by_role("tab", name="A stream").click()
            for _ in range(5):  # Gradio loads its encoder behind our back: who clicks too early must click again
                page.wait_for_timeout(1000)
                page.get_by_role("button", name="Record", exact=True).locator("visible=true").last.click()
                if comes_true(page, lambda: len(pieces) > 0, seconds=5):
                    break
                page.get_by_role("button", name="Stop").locator("visible=true").last.click()
            before, heard = page.evaluate("performance.now()"), sum(pieces)
            page.wait_for_timeout(3000)
            # nothing of the sound may be lost while a piece is worked on or a picture is drawn
            elapsed = (page.evaluate("performance.now()") - before) / 1000
            assert comes_true(page, lambda: sum(pieces) - heard > 0.8 * elapsed)
            page.get_by_alt_text("Posteriors over time").wait_for()
            page.screenshot(path=os.environ["BOOK_SCREENSHOT"]) if "BOOK_SCREENSHOT" in os.environ else None
            browser.close()
        assert outside == []


def test_papers_demo_trains_what_it_lacks(monkeypatch, tmp_path, capsys):
    """With a training of two steps on noise instead of the command's own."""
    monkeypatch.chdir(tmp_path)
    labels = torch.arange(64) % 2
    noise = 0.1 * torch.randn(64, 16000, generator=torch.Generator().manual_seed(0))
    clips = Clips("noise", noise, labels, ("yes", "silence"), ("yes", "") * 32)
    trained = []

    def quick(options):
        trained.append((options.network, options.resume))
        config = with_network(scaled(), options.network)
        config = dataclasses.replace(config, recipe=RecipeConfig(steps=2, batch_size=8))
        train(config, clips, Run(out=options.out, resume=options.resume))

    monkeypatch.setattr(lib.cenet.command_line, "train", quick)
    monkeypatch.setattr(cli_demo, "CENET_RUNS", {"A": "tc-resnet8"})
    for _ in range(2):
        cli_demo.DEMOS["cenet"]()
    assert trained == [("tc-resnet8", True)] * 2
    assert capsys.readouterr().err.count("training it once") == 1
    assert (tmp_path / "runs" / "cenet-scaled-tc-resnet8-0" / "config.json").is_file()
