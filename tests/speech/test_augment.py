"""Augmentation: levels, spectra, masks and shifts measured on what comes out."""

import numpy as np
import pytest
import scipy.signal
import torch

from lib.errors import UserError
from lib.speech.augment.draws import one_of, uniform, whole_up_to
from lib.speech.augment.masking import SpecAugment, spec_augment, time_warp
from lib.speech.augment.mixing import (
    babble,
    fitted,
    gain,
    limit_peak,
    mix,
    random_gain,
    random_shift,
    shift,
    signal_power,
)
from lib.speech.augment.noise import burst_envelope, coloured_noise, noise_bursts
from lib.speech.augment.rooms import ROOMS, random_rooms, reverberate, room_responses
from lib.speech.augment.speed import SPEEDS, change_speed, random_speed, speed_length
from lib.speech.augment.telephone import band_pass, equalise, mu_law, random_handset, random_tilt, telephone, tilt
from lib.training.seeding import generator


def decibels(power: torch.Tensor) -> torch.Tensor:
    return 10 * power.log10()


# Draws


def test_draws_are_even_and_inside():
    source = generator(0)
    values = uniform(20000, -3.0, 5.0, source)
    assert -3 <= values.min() < -2.99
    assert 4.99 < values.max() <= 5
    assert values.mean().item() == pytest.approx(1.0, abs=0.1)
    levels = one_of((15, 10, 5, 0), 8000, source)
    assert levels.unique(return_counts=True)[0].tolist() == [0, 5, 10, 15]
    assert levels.unique(return_counts=True)[1].min() > 1850
    limits = torch.tensor([0, 1, 4]).repeat(9000, 1)
    drawn = whole_up_to(limits, source)
    for column, limit in enumerate((0, 1, 4)):
        counts = drawn[:, column].bincount(minlength=limit + 1)
        assert len(counts) == limit + 1
        assert counts.min() > 0.9 * 9000 / (limit + 1)
    with pytest.raises(UserError, match="lower to its upper"):
        uniform(3, 2.0, 1.0, source)
    with pytest.raises(UserError, match="nothing to choose"):
        one_of((), 3, source)


# Levels


def spoken(batch: int = 3, samples: int = 16000) -> torch.Tensor:
    """Noise of known power in the middle, silence around it."""
    waveforms = torch.zeros(batch, samples)
    waveforms[:, 4800:9600] = 0.1 * torch.randn(batch, 4800, generator=generator(5))
    return waveforms


def test_power_of_the_active_part_and_of_the_whole():
    waveforms = spoken()
    whole, active = signal_power(waveforms, "whole"), signal_power(waveforms)
    torch.testing.assert_close(whole, waveforms.square().mean(1))
    torch.testing.assert_close(active, waveforms[:, 4800:9600].square().mean(1))
    for extra in (1, 319, 5000):  # zeros behind do not count
        torch.testing.assert_close(signal_power(torch.nn.functional.pad(waveforms, (0, extra))), active)
    steady = torch.randn(2, 1001, generator=generator(0))  # the last block is no whole one
    torch.testing.assert_close(signal_power(steady), steady.square().mean(1))
    assert signal_power(torch.zeros(2, 500)).tolist() == [0, 0]
    assert signal_power(torch.zeros(2, 0)).tolist() == [0, 0]
    with pytest.raises(UserError, match="choose active or whole"):
        signal_power(waveforms, "speech")


@pytest.mark.parametrize("over", ["active", "whole"])
def test_the_ratio_is_the_one_asked_for(over):
    speech, noise = spoken(), 7 * torch.randn(3, 16000, generator=generator(1))
    wanted = torch.tensor([20.0, 0.0, -5.0])
    for ratio in (wanted, 12.0):
        mixed = mix(speech, noise, ratio, over)
        added = mixed - speech
        found = decibels(signal_power(speech, over) / signal_power(added, over))
        torch.testing.assert_close(found, torch.as_tensor(ratio).expand(3), atol=1e-2, rtol=0)
        correlation = (added * noise).sum(1) / (added.norm(dim=1) * noise.norm(dim=1))
        assert correlation.min() > 0.9999
    assert decibels(signal_power(mix(speech, noise, 0.0, over) - speech, "whole")).mean().item() == pytest.approx(
        -20 if over == "active" else -20 - 5.2, abs=0.3
    )


def test_a_burst_is_as_loud_as_it_is_while_it_lasts():
    speech = 0.1 * torch.randn(1, 16000, generator=generator(0))
    burst = noise_bursts(torch.tensor([16000]), 16000, generator(1), "middle", 0.2)
    added = mix(speech, burst, 3.0) - speech
    inside = added[:, 6400:9600].square().mean()
    assert decibels(0.01 / inside).item() == pytest.approx(3.0, abs=0.6)


def test_silence_stays_silent_and_no_noise_adds_nothing():
    speech, noise = spoken(2), torch.ones(2, 16000)
    speech[0] = 0
    noise[1] = 0
    torch.testing.assert_close(mix(speech, noise, 5.0), speech, atol=0, rtol=0)
    with pytest.raises(ValueError, match="cannot be mixed"):
        mix(speech, noise[:, :100], 5.0)


def test_gain_is_in_decibels():
    waveforms = spoken(3)
    found = decibels(signal_power(gain(waveforms, torch.tensor([-6.0, 0.0, 20.0]))) / signal_power(waveforms))
    assert found.tolist() == pytest.approx([-6, 0, 20], abs=1e-3)
    found = decibels(signal_power(random_gain(waveforms, -3, 3, generator(0))) / signal_power(waveforms))
    assert found.abs().max() <= 3
    assert found.unique().numel() == 3


def test_only_what_is_too_loud_is_made_quieter():
    waveforms = torch.tensor([[0.5, -0.2], [3.0, -6.0], [0.0, 0.0]])
    torch.testing.assert_close(limit_peak(waveforms, 0.9), torch.tensor([[0.5, -0.2], [0.45, -0.9], [0.0, 0.0]]))


def test_shifts_fill_with_zeros():
    waveforms = torch.arange(1.0, 6.0).repeat(5, 1)
    found = shift(waveforms, torch.tensor([0, 2, -1, 5, -9]))
    assert found.tolist() == [[1, 2, 3, 4, 5], [0, 0, 1, 2, 3], [2, 3, 4, 5, 0], [0] * 5, [0] * 5]
    impulses = torch.zeros(3000, 21)
    impulses[:, 10] = 1
    places = random_shift(impulses, 4, generator(0)).argmax(1) - 10
    counts = (places + 4).bincount()
    assert len(counts) == 9
    assert counts.min() > 250
    with pytest.raises(UserError, match="not -1"):
        random_shift(impulses, -1, generator(0))


def test_a_waveform_repeats_to_fit():
    assert fitted(torch.tensor([1.0, 2, 3]), 7, 2).tolist() == [3, 1, 2, 3, 1, 2, 3]
    with pytest.raises(UserError, match="remove empty"):
        fitted(torch.zeros(0), 3)


def test_babble_is_made_of_different_talkers():
    voices = [torch.sin(2 * np.pi * 200 * (k + 1) * torch.arange(4000 + 80 * k) / 16000) * 10.0**-k for k in range(6)]
    found = babble(voices, 40, 16000, generator(0), (2, 4))
    assert found.shape == (40, 16000)
    torch.testing.assert_close(found.square().mean(1), torch.ones(40), atol=1e-3, rtol=0)
    spectrum = torch.fft.rfft(found).abs()[:, [200, 400, 600, 800, 1000, 1200]] / 8000
    talking = spectrum > 0.4  # each as loud as the others, however quiet its recording
    counts = talking.sum(1)
    assert (counts.min().item(), counts.max().item()) == (2, 4)
    assert talking.any(0).all()
    for row, mask in zip(spectrum, talking, strict=True):
        assert row[mask].max() / row[mask].min() < 1.3
    with pytest.raises(UserError, match="made of 6 utterances"):
        babble(voices, 1, 100, generator(0), (3, 7))


# Noise


@pytest.mark.parametrize(("exponent", "wanted"), [(0.0, 0), ("white", 0), (0.5, 0.5), ("pink", 1), ("brown", 2)])
def test_noise_falls_as_its_colour(exponent, wanted):
    noise = coloured_noise(4, 60000, generator(0), exponent)
    assert noise.dtype == torch.float32
    torch.testing.assert_close(noise.square().mean(1), torch.ones(4))
    hertz, power = scipy.signal.welch(noise.double().numpy(), 16000, nperseg=2048)
    inner = (hertz > 60) & (hertz < 7000)
    slope = np.polyfit(np.log(hertz[inner]), np.log(power.mean(0)[inner]), 1)[0]
    assert slope == pytest.approx(-wanted, abs=0.05)


def test_each_example_has_its_own_colour():
    mixed = coloured_noise(2, 5000, generator(3), torch.tensor([0.0, 2.0]))
    white, brown = coloured_noise(2, 5000, generator(3), 0.0), coloured_noise(2, 5000, generator(3), 2.0)
    torch.testing.assert_close(mixed, torch.stack([white[0], brown[1]]))
    assert coloured_noise(3, 2, generator(0)).isfinite().all()
    with pytest.raises(UserError, match="choose white, pink, brown"):
        coloured_noise(1, 100, generator(0), "purple")
    with pytest.raises(UserError, match="2 samples or more"):
        coloured_noise(1, 1, generator(0))


def test_bursts_lie_where_they_should():
    lengths = torch.tensor([900, 600, 900, 900])
    found = noise_bursts(lengths, 1000, generator(0), ["start", "middle", "end", "anywhere"], 1 / 3, ramp=0)
    spans = [(row.nonzero()[0].item(), row.nonzero()[-1].item() + 1) for row in found]
    assert spans[:3] == [(0, 300), (200, 400), (600, 900)]
    assert spans[3][1] - spans[3][0] == 300
    starts = [row.nonzero()[0].item() for row in noise_bursts(lengths.repeat(50), 1000, generator(1), ramp=0)]
    assert min(starts) < 30
    assert max(starts) > 570
    whole = noise_bursts(torch.tensor([500]), 500, generator(0), fraction=1.0, ramp=0)
    assert (whole != 0).all()
    for wrong, message in (("beginning", "choose start, middle"), (["start"], "do not fit 4")):
        with pytest.raises(UserError, match=message):
            noise_bursts(lengths, 1000, generator(0), wrong)


def test_a_burst_swells_and_fades():
    found = burst_envelope(100, torch.tensor([20]), torch.tensor([80]), ramp=10)[0]
    assert found[:20].abs().max() == found[80:].abs().max() == 0
    torch.testing.assert_close(found[30:70], torch.ones(40))
    assert (found[20:30].diff() > 0).all()
    torch.testing.assert_close(found, found.flip(0))


# Masks


FEATURES = torch.rand(400, 60, 20, generator=generator(9)) + 1


def stretches(mask: torch.Tensor) -> list[int]:
    """Lengths of the runs of True."""
    edges = torch.nn.functional.pad(mask.int(), (1, 1)).diff()
    return ((edges == -1).nonzero() - (edges == 1).nonzero())[:, 0].tolist()


def test_one_mask_in_time_and_one_in_frequency():
    config = SpecAugment(1, 5, 1, 9, 1.0)
    found = spec_augment(FEATURES, config, generator(0))
    hidden = found == 0
    torch.testing.assert_close(found[~hidden], FEATURES[~hidden], atol=0, rtol=0)
    in_time, in_frequency = hidden.all(2), hidden.all(1)
    assert (hidden == (in_time[:, :, None] | in_frequency[:, None, :])).all()
    for mask, widest in ((in_time, 9), (in_frequency, 5)):
        assert all(len(stretches(row)) <= 1 for row in mask)
        widths = mask.sum(1).bincount(minlength=widest + 1)
        assert len(widths) == widest + 1
        assert widths.min() > 0.5 * 400 / (widest + 1)
        assert mask.any(0).all()  # every frame and band has its turn


def test_wide_masks_are_not_cut_at_the_edge():
    hidden = (spec_augment(FEATURES, SpecAugment(1, 20, 0), generator(0)) == 0).all(1)
    assert hidden.sum(1).float().mean() == pytest.approx(10, abs=1)


def test_masks_keep_to_the_utterance_and_to_their_share_of_it():
    lengths = torch.arange(400) % 50 + 1
    config = SpecAugment(0, 5, 3, 99, 0.2, fill=-7.0)
    hidden = spec_augment(FEATURES, config, generator(0), lengths) == -7
    for row, length in zip(hidden.all(2), lengths.tolist(), strict=True):
        assert not row[length:].any()
        assert row.sum() <= 3 * int(0.2 * length)
    frequency = spec_augment(FEATURES, SpecAugment(2, 30, 0), generator(0), lengths) == 0
    assert not frequency[torch.arange(60) >= lengths[:, None]].any()
    assert frequency.all(2).any(1).any()  # a mask may be as wide as all bands


def test_no_masks_change_nothing():
    torch.testing.assert_close(spec_augment(FEATURES, SpecAugment(0, 9, 0, 9), generator(0)), FEATURES, atol=0, rtol=0)
    torch.testing.assert_close(spec_augment(FEATURES, SpecAugment(2, 0, 2, 0), generator(0)), FEATURES, atol=0, rtol=0)


def test_time_is_warped_and_not_torn():
    ramp = torch.arange(60.0)[None, :, None].repeat(300, 1, 2)
    lengths = torch.full((300,), 50)
    lengths[:10] = 16
    found = time_warp(ramp, 8, generator(0), lengths)
    assert (found[:, 50:] == ramp[:, 50:]).all()
    assert (found[:10] == ramp[:10]).all()  # too short to be warped
    warped = found[10:, :50, 0]
    assert (warped[:, 0] == 0).all()
    torch.testing.assert_close(warped[:, -1], torch.full((290,), 49.0), atol=1e-3, rtol=0)
    assert (warped.diff(dim=1) > 0).all()
    moved = (warped - torch.arange(50.0)).abs().amax(1)
    assert moved.max() <= 8
    assert moved.max() > 6.5
    assert (warped - torch.arange(50.0)).max() > 6
    assert (warped - torch.arange(50.0)).min() < -6
    # Two straight pieces: the bend between them touches two differences at most.
    bends = (warped.diff(dim=1).diff(dim=1).abs() > 1e-3).sum(1)
    assert bends.max() <= 2
    found = spec_augment(ramp, SpecAugment(0, 0, 0, 0, warp=8), generator(0), lengths)
    assert (found != ramp).any()


@pytest.mark.parametrize(
    "settings", [{"time_width": -1}, {"time_fraction": 1.5}, {"warp": -1}, {"frequency_masks": -1}]
)
def test_masks_that_make_no_sense_are_one_sentence(settings):
    with pytest.raises(UserError, match=next(iter(settings))):
        SpecAugment(**settings)


# Speed


@pytest.mark.parametrize(
    ("speed", "samples", "wanted"), [(0.9, 900, 1000), (1.1, 16001, 14547), (1.0, 7, 7), (2, 3, 2)]
)
def test_speed_changes_length_and_pitch(speed, samples, wanted):
    assert speed_length(samples, speed) == wanted
    assert change_speed(torch.randn(2, samples, generator=generator(0)), speed).shape == (2, wanted)
    tone = torch.sin(2 * np.pi * 1000 * torch.arange(16000) / 16000)
    changed = change_speed(tone, speed)
    # The same tone, sampled at other moments.
    wanted_tone = torch.sin(2 * np.pi * 1000 * speed * torch.arange(len(changed)) / 16000)
    assert (changed - wanted_tone)[200:-200].abs().max() < 0.02


def test_each_example_has_its_own_speed():
    waveforms = torch.randn(60, 1000, generator=generator(0))
    lengths = torch.arange(60) * 10 + 400
    waveforms *= torch.arange(1000) < lengths[:, None]
    found, new = random_speed(waveforms, generator(1), lengths)
    assert found.shape == (60, int(new.max()))
    seen = set()
    for row, length, before, waveform in zip(found, new.tolist(), lengths.tolist(), waveforms, strict=True):
        (speed,) = (one for one in SPEEDS if speed_length(before, one) == length)
        seen.add(speed)
        torch.testing.assert_close(row[:length], change_speed(waveform[:before], speed), atol=1e-5, rtol=1e-4)
        assert not row[length:].any()
    assert seen == set(SPEEDS)
    found, new = random_speed(waveforms, generator(1), speeds=(1.0,))
    assert torch.equal(found, waveforms)
    assert random_speed(waveforms[:0], generator(0))[0].shape == (0, 0)


@pytest.mark.parametrize("speed", [0, -1, 1 / 3 + 1e-4, float("nan"), 100])
def test_a_speed_that_is_none_is_one_sentence(speed):
    with pytest.raises(UserError, match="A speed is"):
        change_speed(torch.zeros(1, 10), speed)


# Rooms


def schroeder_rt60(response: torch.Tensor, sample_rate: int = 16000) -> float:
    """From the slope of the energy that is still to come, between -5 and -35 dB of the tail's."""
    tail = response[64:].double()
    left = decibels(tail.square().flip(0).cumsum(0).flip(0))
    left = left - left[0]
    inner = (left < -5) & (left > -35)
    slope = np.polyfit(torch.arange(len(tail))[inner].numpy() / sample_rate, left[inner].numpy(), 1)[0]
    return -60 / slope


def test_rooms_die_away_as_asked_and_are_louder_from_afar():
    rt60, distance, volume = torch.tensor([0.2, 0.5, 1.0]), torch.tensor([0.5, 2.0, 4.0]), torch.tensor([40.0, 40, 900])
    responses = room_responses(rt60, distance, volume, generator(0))
    assert (responses[:, 0] == 1).all()
    assert not responses[:, 1:32].any()  # 2 ms
    for response, wanted in zip(responses, rt60.tolist(), strict=True):
        assert schroeder_rt60(response) == pytest.approx(wanted, rel=0.06)
    energy = responses[:, 1:].square().sum(1)
    critical = 0.057 * (volume / rt60).sqrt()
    torch.testing.assert_close(energy, (distance / critical) ** 2, rtol=1e-4, atol=0)
    with pytest.raises(UserError, match="distance of a room"):
        room_responses(rt60, -distance, volume, generator(0))


def test_reverberation_is_convolution_with_the_direct_sound_in_place():
    waveforms = torch.randn(3, 700, generator=generator(0))
    responses = 0.1 * torch.randn(3, 90, generator=generator(1))
    direct = [0, 7, 50]
    responses[range(3), direct] = torch.tensor([2.0, -3.0, 1.0])
    found = reverberate(waveforms, responses)
    for row, waveform, response, place in zip(found, waveforms, responses, direct, strict=True):
        scaled = (response / response[place]).numpy()
        wanted = np.convolve(waveform.numpy(), scaled)[place : place + 700]
        np.testing.assert_allclose(row.numpy(), wanted, atol=1e-4)
    shared = reverberate(waveforms, responses[1:2])
    torch.testing.assert_close(shared[1], found[1])
    alone = torch.zeros(1, 5)
    alone[0, 3] = 0.2
    torch.testing.assert_close(reverberate(waveforms, alone), waveforms, atol=1e-5, rtol=0)
    for silent in (torch.zeros(3, 4), torch.zeros(3, 0)):
        with pytest.raises(UserError, match="empty or silent"):
            reverberate(waveforms, silent)


@pytest.mark.parametrize("name", ["small", "medium", "large"])
def test_rooms_by_name(name):
    responses = random_rooms(5, generator(0), name)
    limits = ROOMS[name].rt60
    for response in responses:
        assert 0.9 * limits[0] < schroeder_rt60(response) < 1.1 * limits[1]
    with pytest.raises(UserError, match="choose small, medium, large"):
        random_rooms(1, generator(0), "cave")


# The telephone


@pytest.mark.parametrize(("sample_rate", "output_rate"), [(16000, None), (16000, 8000), (22050, 8000), (8000, None)])
def test_the_telephone_carries_its_band_only(sample_rate, output_rate):
    hertz = torch.tensor([100.0, 1000, 3000, 3800])
    time = torch.arange(sample_rate) / sample_rate
    tones = 0.5 * torch.sin(2 * np.pi * hertz[:, None] * time)
    found = telephone(tones, sample_rate, output_rate, levels=None)
    rate = output_rate or sample_rate
    assert found.shape == (4, rate)
    inner = found[:, rate // 4 : -rate // 4]
    loss = decibels(signal_power(inner, "whole") / 0.125)
    assert loss[[1, 2]].abs().max() < 0.3
    assert loss[[0, 3]].max() < -40
    # nothing is delayed
    wanted = 0.5 * torch.sin(2 * np.pi * 1000 * torch.arange(rate) / rate)
    assert (found[1] - wanted)[rate // 4 : -rate // 4].abs().max() < 0.02
    coded = telephone(tones, sample_rate, output_rate)
    noise = decibels(signal_power(found[1:2], "whole") / signal_power(coded[1:2] - found[1:2], "whole")).item()
    assert 34 < noise < 44  # eight bits of mu-law are known to leave about 38 dB


def test_the_band_s_edges():
    impulse = torch.zeros(1, 4000)
    impulse[0, 2000] = 1
    spectrum = torch.fft.rfft(band_pass(impulse, 1000, 3000, 16000)).abs()[0]
    hertz = torch.arange(2001) * 4.0
    torch.testing.assert_close(spectrum[(hertz > 1060) & (hertz < 2940)], torch.ones(469), atol=2e-2, rtol=0)
    assert spectrum[(hertz < 940) | (hertz > 3060)].max() < 2e-2
    assert spectrum[[250, 750]].tolist() == pytest.approx([0.5, 0.5], abs=0.02)
    with pytest.raises(UserError, match="between 0 and 8000"):
        band_pass(impulse, 3000, 1000)


def test_mu_law_is_its_formula():
    waveforms = torch.linspace(-1.2, 1.2, 50001)[None]
    x = waveforms.double().clamp(-1, 1)
    companded = x.sign() * torch.log1p(255 * x.abs()) / np.log(256)
    level = ((companded + 1) / 2 * 255 + 0.5).floor() / 255 * 2 - 1
    wanted = level.sign() * (256 ** level.abs() - 1) / 255
    found = mu_law(waveforms)
    different = (found.double() - wanted).abs() > 1e-5
    assert different.sum() < 10  # float32 may round the other way just between two levels
    assert found.unique().numel() == 256
    with pytest.raises(UserError, match="2 levels"):
        mu_law(waveforms, 1)


def test_handsets_and_tilts_shape_the_spectrum():
    impulses = torch.zeros(2, 2000)
    impulses[:, 1000] = 1
    curve = torch.tensor([[-6.0, 0.0, 12.0], [0.0, 0.0, 0.0]])
    found = 2 * decibels(torch.fft.rfft(equalise(impulses, curve)).abs())
    assert found[0, [250, 500, 750]].tolist() == pytest.approx([-3, 0, 6], abs=0.1)
    assert found[1].abs().max() < 1e-3
    by = torch.tensor([0.5, -0.5])
    found = tilt(impulses, by)
    assert found[:, 999:1003].tolist() == [[0, 1, 0.5, 0], [0, 1, -0.5, 0]]
    drawn = random_tilt(impulses.repeat(50, 1), 0.4, generator(0))[:, 1001]
    assert drawn.abs().max() <= 0.4
    assert drawn.min() < -0.3
    assert drawn.max() > 0.3
    handsets = 2 * decibels(torch.fft.rfft(random_handset(impulses.repeat(10, 1), generator(0))).abs())
    assert 4 < handsets.abs().max() < 6.5
    with pytest.raises(UserError, match="2 points"):
        equalise(impulses, torch.zeros(1, 1))


# All of it


def everything(source: torch.Generator) -> list[torch.Tensor]:
    speech = spoken(3)
    return [
        coloured_noise(3, 1000, source, uniform(3, 0, 1, source)),
        noise_bursts(torch.tensor([900, 800]), 1000, source),
        random_shift(speech, 1600, source),
        random_gain(speech, -6, 6, source),
        babble(list(speech), 2, 1000, source, (2, 3)),
        spec_augment(FEATURES[:3], SpecAugment(warp=5), source),
        random_speed(spoken(20), source)[1],
        reverberate(speech, random_rooms(3, source)),
        random_tilt(speech, 0.5, source),
        random_handset(speech, source),
    ]


def test_the_generator_decides_everything():
    state = torch.random.get_rng_state()
    first, again, other = (everything(generator(seed)) for seed in (1, 1, 2))
    for one, same, different in zip(first, again, other, strict=True):
        assert torch.equal(one, same)
        assert not torch.equal(one, different)
    assert torch.equal(torch.random.get_rng_state(), state)
