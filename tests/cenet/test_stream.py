"""Training batches are a pure function of seed and step, and augmentation does what it says."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.signal import periodogram

from lib.cenet.clips import Clips, with_silence
from lib.cenet.config import AugmentConfig
from lib.cenet.stream import BANK_LENGTH, NoiseBank, Stream, noisy, speech_power
from lib.errors import UserError
from lib.speech.data import SILENCE
from lib.training.order import Order
from tests.cenet.sounds import PLAIN, RATE, tiny, tone, words_of

CLIPS = words_of(range(8))
VARIED = AugmentConfig(shift_seconds=0.05, speed=0.1, gain_decibels=6, noise_probability=0.7)


def tones(count: int = 32, hertz: float = 1000, seconds: float = 0.4) -> Clips:
    """The same loud tone from end to end, so that every stretch of it has the same power."""
    waveforms = tone(hertz, seconds).repeat(count, 1)
    return Clips("one tone", waveforms, torch.arange(count) % 2, ("a", "b"), ("",) * count)


def heard(clips: Clips, steps: int = 4, **augment) -> torch.Tensor:
    """What a stream with this augmentation, and no other, gives: waveforms of some steps."""
    config = tiny(augment=replace(PLAIN, **augment), batch_size=32)
    stream = Stream(clips, config, seed=1)
    return torch.cat([stream.waveforms(step)[0] for step in range(steps)])


def decibels(power: torch.Tensor) -> torch.Tensor:
    return 10 * power.log10()


def test_a_batch_hangs_on_seed_and_step_alone():
    config = tiny(augment=VARIED)
    forwards, backwards, kept = Stream(CLIPS, config, 3), Stream(CLIPS, config, 3), Stream(CLIPS, config, 3).keep(3)
    there = [forwards.batch(step) for step in range(5)]
    back = [backwards.batch(step) for step in reversed(range(5))][::-1]
    for step in range(5):
        for one, other, third in zip(there[step], back[step], kept.batch(step), strict=True):
            assert one.equal(other)
            assert one.equal(third)
    assert there[0][0].shape == (16, 21, 40)
    assert there[0][0].dtype == torch.float32
    assert not there[0][0].equal(there[1][0])
    assert not there[0][0].equal(Stream(CLIPS, config, 4).batch(0)[0])
    assert kept.keep(2).batch(2)[0].equal(there[2][0])  # asking for fewer loses nothing


def test_neither_the_clips_nor_the_global_chance_are_touched():
    before, state = CLIPS.waveforms.clone(), torch.random.get_rng_state()
    Stream(CLIPS, tiny(augment=VARIED)).keep(2).batch(3)
    noisy(CLIPS, (0, 10))
    assert CLIPS.waveforms.equal(before)
    assert torch.random.get_rng_state().equal(state)


def test_without_augmentation_every_clip_is_heard_once_an_epoch_as_it_is():
    stream = Stream(CLIPS, tiny(augment=PLAIN, batch_size=8))
    sounds, labels = map(torch.cat, zip(*(stream.waveforms(step) for step in range(3)), strict=True))
    order = torch.cat([stream.order.batch(step) for step in range(3)])
    assert sorted(order.tolist()) == list(range(24))
    assert sounds.equal(CLIPS.waveforms[order])
    assert labels.equal(CLIPS.labels[order])
    features = stream.extract(CLIPS.waveforms[stream.order.batch(0)])
    assert (stream.batch(0)[0] - features).abs().max() < 0.01  # half precision


def test_two_processes_share_each_batch():
    alone = Order(len(CLIPS), 16, Stream(CLIPS, tiny()).order.seed)
    plain = [Stream(CLIPS, tiny(augment=PLAIN), rank=rank, world_size=2) for rank in (0, 1)]
    varied = [Stream(CLIPS, tiny(augment=VARIED), rank=rank, world_size=2) for rank in (0, 1)]
    for step in range(4):
        chosen = alone.batch(step)
        parts = [stream.waveforms(step) for stream in plain]
        assert torch.cat([sound for sound, _ in parts]).equal(CLIPS.waveforms[chosen])
        assert torch.cat([labels for _, labels in parts]).equal(CLIPS.labels[chosen])
        labels = torch.cat([stream.batch(step)[1] for stream in varied])
        assert labels.equal(CLIPS.labels[chosen])
    # each process augments by its own chance: with one and the same clip they would differ
    same = tones()
    one, other = (Stream(same, tiny(augment=VARIED), rank=rank, world_size=2).waveforms(0)[0] for rank in (0, 1))
    assert not one.equal(other)
    with pytest.raises(UserError, match="multiple of the number of devices"):
        Stream(CLIPS, tiny(batch_size=15), world_size=2)


@pytest.mark.parametrize(("low", "high"), [(5.0, 20.0), (-5.0, 0.0)])
def test_noise_is_as_loud_as_it_says(low, high):
    clips = tones()
    noise = heard(clips, snr=(low, high), noise_probability=1.0) - clips.waveforms[0]
    speech = clips.waveforms[0].square().mean()
    ratio = decibels(speech) - decibels(noise.square().mean(1))
    # a stretch of the bank is a little louder or softer than the whole: noise near to pink wanders
    assert ratio.min() > low - 3
    assert ratio.max() < high + 3
    assert ratio.mean() == pytest.approx((low + high) / 2, abs=1)
    assert ratio.std() == pytest.approx((high - low) / 12**0.5, abs=1)


def test_the_level_of_noise_is_that_of_the_word_and_not_of_the_pauses():
    clips = tones()
    short = clips.waveforms.clone()
    short[:, 1600:] = 0  # a quarter of the clip
    short = replace(clips, waveforms=short)
    noise = noisy(short, 10.0).waveforms - short.waveforms
    ratio = decibels(clips.waveforms[0].square().mean()) - decibels(noise.square().mean(1))
    assert ratio.mean() == pytest.approx(10, abs=1)


def test_noise_comes_as_often_as_it_says():
    clips = tones()
    for probability in (0.0, 0.3, 1.0):
        changed = (heard(clips, 20, noise_probability=probability) != clips.waveforms[0]).any(1).float().mean()
        assert changed == pytest.approx(probability, abs=0.08)


def test_silence_is_always_heard_as_noise_of_the_level_of_the_words():
    clips = with_silence(tones(), 32)
    stream = Stream(clips, tiny(augment=replace(PLAIN, noise_probability=1e-6, snr=(5.0, 15.0)), batch_size=32))
    sounds, labels = map(torch.cat, zip(*(stream.waveforms(step) for step in range(4)), strict=True))
    silent = sounds[labels == clips.class_names.index(SILENCE)]
    assert len(silent) == 64
    ratio = decibels(clips.waveforms[0].square().mean()) - decibels(silent.square().mean(1))
    assert ratio.min() > 2
    assert ratio.max() < 18
    assert len({row[:50].numpy().tobytes() for row in silent}) == 64  # each in its own


def pitch(waveforms: torch.Tensor) -> np.ndarray:
    hertz, power = periodogram(waveforms.numpy(), RATE, window="hann", nfft=2**17)
    return hertz[power.argmax(1)]


def test_speed_moves_pitch_and_length():
    clips = tones()
    found = pitch(heard(clips, speed=0.2)) / 1000
    assert found.min() > 0.79
    assert found.max() < 1.21
    assert found.mean() == pytest.approx(1, abs=0.04)
    assert found.std() == pytest.approx(0.4 / 12**0.5, abs=0.02)
    word = replace(clips, waveforms=torch.nn.functional.pad(tone(1000, 0.2), (1600, 1600)).repeat(32, 1))
    sounds = heard(word, speed=0.2)
    length = (sounds.abs() > 1e-6).float().sum(1) / RATE
    assert np.allclose(length.numpy() * pitch(sounds) / 1000, 0.2, atol=0.005)  # faster is shorter
    assert pitch(heard(clips)) == pytest.approx(1000, abs=1)


def test_shift_moves_and_changes_nothing_else():
    clips = tones()
    knock = torch.zeros_like(clips.waveforms)
    knock[:, 3000:3003] = torch.tensor([0.5, -0.25, 0.125])
    sounds = heard(replace(clips, waveforms=knock), shift_seconds=0.05)
    places = sounds.abs().argmax(1)
    assert places.min() >= 3000 - 800
    assert places.max() <= 3000 + 800
    assert (places - 3000).float().mean().abs() < 130
    assert places.float().std() == pytest.approx(1600 / 12**0.5, rel=0.15)
    for sound, place in zip(sounds, places.tolist(), strict=True):
        assert sound[place : place + 3].tolist() == [0.5, -0.25, 0.125]
        assert sound.count_nonzero() == 3


def test_gain_scales_all_that_is_heard():
    clips = tones()
    sounds = heard(clips, gain_decibels=10.0)
    change = decibels(sounds.square().mean(1) / clips.waveforms[0].square().mean())
    assert change.abs().max() < 10.01
    assert change.std() == pytest.approx(20 / 12**0.5, rel=0.1)
    scaled = clips.waveforms[0] * (10 ** (change / 20))[:, None]
    assert torch.allclose(sounds, scaled, atol=1e-5)


def test_test_noise_is_drawn_once():
    found, again = noisy(CLIPS, (0.0, 10.0), 4), noisy(CLIPS, (0.0, 10.0), 4)
    assert found.waveforms.equal(again.waveforms)
    assert not found.waveforms.equal(noisy(CLIPS, (0.0, 10.0), 5).waveforms)
    assert found.labels.equal(CLIPS.labels)
    assert (found.words, found.class_names) == (CLIPS.words, CLIPS.class_names)
    # at other levels it is the same noise, louder: so a curve over levels shows the level alone
    quiet, loud = (noisy(CLIPS, level, 4).waveforms - CLIPS.waveforms for level in (20.0, 0.0))
    assert torch.allclose(10 * quiet, loud, atol=1e-4)


def test_noise_of_tests_is_as_loud_as_it_says():
    clips = tones(200)
    noise = noisy(clips, 7.0).waveforms - clips.waveforms
    ratio = decibels(clips.waveforms[0].square().mean()) - decibels(noise.square().mean(1))
    assert ratio.mean() == pytest.approx(7, abs=0.7)
    assert ratio.std() < 1.5


def test_recorded_noise_is_cut_from_all_over_and_made_as_loud():
    clips = tones(4)
    length = BANK_LENGTH * clips.waveforms.shape[1]
    # three rows of a recording that rises in pitch, and a short one that is repeated
    rising = torch.cat([tone(hertz, length / RATE, level=0.01) for hertz in (3000, 4000, 5000)])
    noises = (torch.cat([rising, torch.ones(7)]), tone(6000, 0.1, level=0.9))
    bank = NoiseBank(replace(clips, noises=noises), seed=0)
    assert bank.rows.shape == (8, length)
    assert bank.rows.square().mean(1).numpy() == pytest.approx(1, rel=1e-3)
    assert pitch(bank.rows[4:]) == pytest.approx([3000, 4000, 5000, 6000], abs=1)
    drawn = bank.draw(200, torch.Generator().manual_seed(0))
    peaks = pitch(drawn)
    shares = [np.mean(np.abs(peaks - hertz) < 5) for hertz in (3000, 4000, 5000, 6000)]
    assert min(shares) > 0.06  # an eighth each
    assert drawn.square().mean(1).mean() == pytest.approx(1, abs=0.15)
    own = NoiseBank(clips, seed=0)
    assert len(own.rows) == 64
    assert bank.rows[:4].equal(own.rows[:4])
    silent = NoiseBank(replace(clips, noises=(torch.zeros(50),)), seed=0)
    assert torch.isfinite(silent.rows).all()


def test_the_level_of_silent_clips_is_the_middle_one_of_the_others():
    levels = torch.tensor([0.1, 0.2, 0.4])
    clips = tones(3)
    clips = replace(clips, waveforms=clips.waveforms / 0.3 * levels[:, None])
    assert speech_power(clips) == pytest.approx(0.2**2 / 2, rel=1e-3)
    assert speech_power(with_silence(clips, 50)) == pytest.approx(0.2**2 / 2, rel=1e-3)
    silent = replace(clips, waveforms=torch.zeros_like(clips.waveforms))
    assert speech_power(silent) > 0
    assert noisy(silent, 10.0).waveforms.any(1).all()


def test_levels_in_the_wrong_order_are_refused():
    with pytest.raises(UserError, match="from 20 to 5"):
        noisy(CLIPS, (20.0, 5.0))
