"""Reading and writing recordings, and what is wrong with some."""

import io
import os
import struct

import numpy as np
import pytest
import soundfile
import torch
from scipy.signal import resample_poly

from lib import files
from lib.errors import UserError
from lib.speech import audio
from lib.speech.audio import EmptyAudio, audio_faults, probe, read_audio, write_flac


def tone(seconds=1.0, rate=16_000, hertz=440.0, peak=0.5):
    return peak * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)


def write(path, samples, rate=16_000, **how):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples, rate, **how)
    return path


def wav_header(data_bytes, rate=16_000, channels=1):
    """The 44 bytes before the samples of a 16-bit WAV file."""
    fmt = struct.pack("<HHIIHH", 1, channels, rate, rate * channels * 2, channels * 2, 16)
    return b"RIFF" + struct.pack("<I", (36 + data_bytes) % 2**32) + b"WAVEfmt " + struct.pack("<I", 16) + fmt + (
        b"data" + struct.pack("<I", data_bytes)
    )  # fmt: skip


@pytest.mark.parametrize(
    ("name", "how", "tolerance"),
    [
        ("a.wav", {"subtype": "PCM_16"}, 1e-4),
        ("a.wav", {"subtype": "PCM_24"}, 1e-6),
        ("a.wav", {"subtype": "PCM_U8"}, 1e-2),
        ("a.wav", {"subtype": "FLOAT"}, 1e-7),
        ("a.wav", {"subtype": "DOUBLE"}, 1e-7),
        ("a.wav", {"subtype": "ULAW"}, 2e-2),
        ("a.wav", {"subtype": "ALAW"}, 2e-2),
        ("a.flac", {"subtype": "PCM_24"}, 1e-6),
        ("a.ogg", {}, 5e-2),
        ("a.mp3", {}, 5e-2),
        ("a.aiff", {}, 1e-4),
    ],
)
def test_every_kind_of_file_gives_the_samples_that_were_written(tmp_path, name, how, tolerance):
    path = write(tmp_path / name, tone(), **how)
    found = read_audio(path)
    assert (found.dtype, found.shape) == (torch.float32, (16_000,))
    assert np.abs(found.numpy() - tone()).max() < tolerance
    assert (probe(path).seconds, probe(path).sample_rate, probe(path).channels) == (1.0, 16_000, 1)


def test_probe_names_the_format(tmp_path):
    assert probe(write(tmp_path / "a.wav", tone(), subtype="PCM_24")).format == "WAV PCM_24"


def test_channels_are_averaged(tmp_path):
    path = write(tmp_path / "a.wav", np.stack([tone(), 0.5 * tone()], 1), subtype="FLOAT")
    assert probe(path).channels == 2
    assert np.abs(read_audio(path).numpy() - 0.75 * tone()).max() < 1e-6


@pytest.mark.parametrize(
    ("rate", "up", "down"), [(8_000, 2, 1), (44_100, 160, 441), (48_000, 1, 3), (11_025, 640, 441)]
)
def test_other_rates_are_resampled_as_scipy_does(tmp_path, rate, up, down):
    path = write(tmp_path / "a.wav", tone(1.0, rate), rate, subtype="FLOAT")
    found, expected = read_audio(path).numpy(), resample_poly(tone(1.0, rate), up, down)
    assert len(found) == len(expected) == 16_000
    assert np.abs(found - expected)[500:-500].max() < 0.01
    assert np.abs(found - tone())[500:-500].max() < 0.01
    assert len(read_audio(path, None)) == rate
    assert len(read_audio(path, 4_000)) == 4_000


@pytest.mark.parametrize("rate", [1_000, 15_999, 16_001, 123_457, 383_999])
def test_awkward_rates_cost_little_and_keep_the_pitch(tmp_path, rate):
    path = write(tmp_path / "a.wav", tone(1.0, rate), rate, subtype="FLOAT")
    found = read_audio(path).numpy()
    assert abs(len(found) - 16_000) <= 16
    spectrum = np.abs(np.fft.rfft(found * np.hanning(len(found))))
    assert abs(spectrum.argmax() * 16_000 / len(found) - 440) < 1.5


def test_a_part_is_the_same_samples(tmp_path):
    ramp = np.arange(16_000) / 20_000
    for name in ("a.wav", "a.flac"):
        path = write(tmp_path / name, ramp)
        whole = read_audio(path)
        assert torch.equal(read_audio(path, start=0.25, end=0.5), whole[4_000:8_000])
        assert torch.equal(read_audio(path, start=0.9), whole[14_400:])
        assert torch.equal(read_audio(path, start=0.9, end=1.3), whole[14_400:])  # aligners overshoot


@pytest.mark.parametrize(
    ("start", "end"),
    [(1.0, None), (2.0, 3.0), (-0.1, 0.5), (0.5, 0.5), (0.5, 0.4), (0.2, 1.6), (float("nan"), 1.0), (0.0, float("nan")),
     (0.5, 0.50001)],
)  # fmt: skip
def test_a_part_outside_the_file_is_one_sentence(tmp_path, start, end):
    path = write(tmp_path / "a.wav", tone())
    with pytest.raises(UserError, match=r"a\.wav.*correct"):
        read_audio(path, start=start, end=end)


def test_long_files_are_read_in_blocks(tmp_path, monkeypatch):
    monkeypatch.setattr(audio, "BLOCK_VALUES", 1_000)
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, (5_333, 3))
    path = write(tmp_path / "a.wav", noise, subtype="FLOAT")
    assert np.abs(read_audio(path).numpy() - noise.mean(1)).max() < 1e-6


def test_more_than_an_hour_is_one_sentence_but_a_part_of_it_is_read(tmp_path):
    path = write(tmp_path / "a.flac", np.zeros(1_000 * 3_700, np.int16), 1_000)
    with pytest.raises(UserError, match=r"a\.flac has 1\.0 hours.*cut it"):
        read_audio(path)
    assert len(read_audio(path, None, start=3_650, end=3_651)) == 1_000


def test_what_is_no_recording_is_one_sentence(tmp_path):
    wav = write(tmp_path / "whole.wav", tone()).read_bytes()
    flac = write(tmp_path / "whole.flac", tone()).read_bytes()
    unknown = bytearray(flac)  # a FLAC file that was written to a pipe: the number of samples (36 bits) is 0
    unknown[21] &= 0xF0
    unknown[22:26] = bytes(4)
    cases = {
        "empty.wav": (b"", "empty file"),
        "none.wav": (wav_header(0), "no samples"),
        "text.wav": (b"no sound at all " * 50, "cannot be read as audio"),
        "picture.flac": (b"\x89PNG\r\n\x1a\n" + bytes(500), "cannot be read as audio"),
        "head.wav": (wav[:30], "cannot be read as audio"),
        "samples.raw": (b"abcd" * 100, "cannot be read as audio"),
        "cut.wav": (wav[:9_000], r"is truncated: its header promises 32,044 bytes and 9,000 are there"),
        "nothing.wav": (wav[:44], "is truncated"),
        "absurd.wav": (wav_header(2_000_000_000) + bytes(100), "is truncated"),
        "cut.flac": (flac[: len(flac) // 2], "damaged or truncated"),
        "pipe.flac": (bytes(unknown), "does not say how long it is"),
        "rate.wav": (wav_header(100, rate=2**31 - 1) + bytes(100), "sample rate of 2147483647 Hz"),
    }
    for name, (content, message) in cases.items():
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(UserError, match=message) as caught:
            read_audio(path)
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)
    for name in ("empty.wav", "none.wav"):
        with pytest.raises(EmptyAudio):
            probe(tmp_path / name)
    for path, message in (
        (tmp_path, "is a folder"),
        (tmp_path / "gone.wav", "does not exist"),
        ("a\0b.wav", "does not exist|cannot be opened"),
    ):
        for reader in (read_audio, probe):
            with pytest.raises(UserError, match=message):
                reader(path)
    os.mkfifo(tmp_path / "pipe.wav")  # opening it would wait for ever
    with pytest.raises(UserError, match="no ordinary file"):
        read_audio(tmp_path / "pipe.wav")


def test_a_wav_file_written_to_a_pipe_is_read(tmp_path):
    path = tmp_path / "a.wav"
    path.write_bytes(wav_header(0xFFFF_FFFF) + (tone() * 32_767).astype("<i2").tobytes())
    assert len(read_audio(path)) == 16_000


def test_a_cut_file_is_known_behind_other_chunks_too(tmp_path):
    wav = write(tmp_path / "a.wav", tone()).read_bytes()
    odd = b"note" + struct.pack("<I", 5) + b"words" + b"\0"  # chunks of odd length are followed by a zero
    path = tmp_path / "b.wav"
    path.write_bytes(wav[:36] + odd + wav[36:])
    assert len(read_audio(path)) == 16_000
    path.write_bytes((wav[:36] + odd + wav[36:])[:-1_000])
    with pytest.raises(UserError, match="is truncated"):
        read_audio(path)


@pytest.mark.parametrize(
    ("value", "message"), [(np.nan, "no numbers"), (np.inf, "no numbers"), (-30_000.0, "scale them")]
)
def test_float_files_may_hold_anything_but_are_not_believed(tmp_path, value, message):
    samples = tone()
    samples[123] = value
    path = write(tmp_path / "a.wav", samples, subtype="FLOAT")
    with pytest.raises(UserError, match=rf"a\.wav.*{message}"):
        read_audio(path)
    assert len(read_audio(path, start=0.5)) == 8_000


def test_silent_and_clipped_clips_are_told():
    sound = torch.from_numpy(tone()).float()
    assert audio_faults(sound) == ()
    assert (
        audio_faults(torch.zeros(100))
        == audio_faults(torch.full((100,), 0.3))
        == audio_faults(sound[:0])
        == ("silent",)
    )
    quiet = sound * 2**0.5 / 0.5 * 10 ** (-90 / 20)  # -90 dB of full scale, root mean square
    assert audio_faults(quiet * 1.01) == ()
    assert audio_faults(quiet * 0.99) == ("silent",)
    loud = torch.zeros(1_000)
    loud[::2] = 0.1
    loud[:9] = 1.0
    assert audio_faults(loud) == ()
    loud[9] = -1.0
    assert audio_faults(loud) == ("clipped",)


def test_flac_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "new" / "a.flac"
    sound = torch.from_numpy(tone()).float()
    assert write_flac(path, sound, 8_000) == path
    assert probe(path).format == "FLAC PCM_16"
    assert torch.allclose(read_audio(path, 8_000), sound, atol=1 / 32_768)
    write_flac(path, 4 * sound, 8_000)
    assert read_audio(path, None).abs().max() <= 1.0
    before = path.read_bytes()
    for wrong in (sound[:0], torch.stack([sound, sound]), sound * float("nan")):
        with pytest.raises(UserError, match=r"a\.flac cannot be written"):
            write_flac(path, wrong)

    def full(*_):
        raise OSError("No space left on device")

    monkeypatch.setattr(files.os, "replace", full)
    with pytest.raises(OSError, match="No space"):
        write_flac(path, sound)
    assert path.read_bytes() == before
    assert os.listdir(path.parent) == ["a.flac"]


def test_soundfile_agrees_on_what_was_written(tmp_path):
    write_flac(tmp_path / "a.flac", torch.from_numpy(tone()).float())
    values, rate = soundfile.read(io.BytesIO((tmp_path / "a.flac").read_bytes()))
    assert rate == 16_000
    assert np.abs(values - tone()).max() < 1 / 32_768
