"""What the preset for recordings adds: a clip's own mean, microphones, softened targets."""

from dataclasses import replace

import pytest
import torch

from lib.cenet.config import preset_named, with_settings
from lib.cenet.spotter import KeywordModel, Normalisation, Spotter
from lib.cenet.stream import Stream
from lib.cenet.streaming import StreamingSpotter
from lib.cenet.train import train
from lib.errors import UserError
from lib.training.run import Run
from tests.cenet.sounds import PLAIN, words_of

RECIPE = ["recipe.steps=4", "recipe.warmup=1", "recipe.batch_size=8", "seconds=0.4", "recipe.train_on_validation=false"]


def small(*settings: str):
    return with_settings(preset_named("real"), [*RECIPE, *settings])


def test_what_a_microphone_adds_to_all_frames_goes_with_the_own_mean():
    features = torch.randn(3, 20, 40, generator=torch.Generator().manual_seed(0))
    colour = torch.linspace(-5, 5, 40)  # louder or softer by band, the same in every frame
    own, fixed = Normalisation(40, own_mean=True), Normalisation(40)
    for one in (own, fixed):
        one.fit(features)
    torch.testing.assert_close(own(features + colour), own(features), atol=1e-5, rtol=0)
    assert (fixed(features + colour) - fixed(features)).abs().max() > 1
    torch.testing.assert_close(own(features).mean(1), -own.mean.expand(3, -1) / own.deviation, atol=1e-5, rtol=0)


def test_loudness_does_not_change_what_is_heard():
    config = small()
    model = KeywordModel(config, 3, seed=0).eval()
    clips = words_of(range(4))
    model.normalise.fit(model.extract(clips.waveforms))
    spotter = Spotter(config, model, clips.class_names)
    torch.testing.assert_close(
        spotter.logits(clips.waveforms), spotter.logits(0.25 * clips.waveforms), atol=1e-3, rtol=0
    )


def test_streaming_equals_whole_windows_with_the_own_mean_too():
    config = small("own_mean=true")
    model = KeywordModel(config, 3, seed=0).eval().requires_grad_(False)
    sound = 0.1 * torch.randn(24_000, generator=torch.Generator().manual_seed(1))
    model.normalise.fit(model.extract(sound[None, :6400]))
    spotter = Spotter(config, model, ("a", "b", "c"))
    live = StreamingSpotter(spotter, hop_seconds=0.1)
    moments = [moment for piece in sound.split(777) for moment in live.push(piece)]
    ends = [round(16_000 * one.time_seconds) for one in moments]
    windows = torch.stack([sound[end - spotter.samples : end] for end in ends])
    streamed = torch.stack([one.posteriors for one in moments])
    torch.testing.assert_close(streamed, spotter.posteriors(windows), atol=1e-5, rtol=0)


def test_every_clip_has_a_microphone_of_its_own():
    clips = words_of(range(8))
    plain = replace(small(), augment=PLAIN)
    coloured = replace(plain, augment=replace(PLAIN, handset_decibels=12.0))
    before, after = (Stream(clips, one, 3).waveforms(0)[0] for one in (plain, coloured))
    ratio = torch.fft.rfft(after).abs() / torch.fft.rfft(before).abs().clamp_min(1e-3)
    level = 20 * ratio[:, 100:2400].clamp_min(1e-6).log10()
    assert level.abs().median() > 1
    assert level.mean(1).std() > 0.5
    again = Stream(clips, coloured, 3).waveforms(0)[0]
    assert torch.equal(after, again)


def test_softened_targets_have_a_larger_smallest_loss():
    clips = words_of(range(8))
    found = {}
    for share in (0.0, 0.5):
        config = small(f"recipe.label_smoothing={share}", "recipe.steps=40")
        found[share] = train(replace(config, augment=PLAIN), clips, Run(progress=False)).history["loss"][-5:].mean()
    floor = -(1 - 0.5 + 0.5 / 3) * torch.tensor(1 - 0.5 + 0.5 / 3).log() - 2 * (0.5 / 3) * torch.tensor(0.5 / 3).log()
    assert found[0.5] > float(floor) - 0.05 > found[0.0]


def test_a_start_without_the_own_mean_is_refused():
    clips = words_of(range(4))
    start = train(small("own_mean=false"), clips, Run(progress=False))
    with pytest.raises(UserError, match="start from one of the same"):
        train(small(), clips, Run(progress=False), start=start)
