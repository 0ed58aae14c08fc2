"""The synthesiser: what it is asked for can be heard in the samples, and its faults are one sentence."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from lib.errors import UserError
from lib.speech import espeak
from lib.speech.espeak import say
from lib.speech.vocabulary import ACCENTS, ENGLISH, MANDARIN, VARIANTS

ROOT = Path(__file__).parents[2]


def phonemes(speech):
    return tuple(mark.phoneme for mark in speech.marks if mark.phoneme)


def fundamental(speech):
    """The pitch in Hz: the median over loud frames of 50 ms of the highest peak of the autocorrelation."""
    rate = speech.sample_rate
    size, shortest, longest = rate // 20, rate // 400, rate // 60
    window = np.hanning(size)
    expected = np.correlate(window, window, "full")[size - 1 :][:longest]  # of the window alone
    found = []
    for begin in range(0, len(speech.samples) - size, size // 2):
        frame = speech.samples[begin : begin + size]
        correlation = np.correlate(frame * window, frame * window, "full")[size - 1 :][:longest] / expected
        if correlation[0] > 0.3 * speech.samples.var():
            found.append(rate / (shortest + correlation[shortest:].argmax()))
    return np.median(found)


def in_fresh_process(code):
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)


def test_a_word_is_samples_and_phonemes_in_order():
    speech = say("house")
    assert speech.sample_rate == 22_050
    assert speech.samples.dtype == np.float32
    assert 0.2 < len(speech.samples) / speech.sample_rate < 1
    assert 0.1 < np.abs(speech.samples).max() <= 1
    assert phonemes(speech) == ("h", "ˈaʊ", "s")
    seconds = [mark.seconds for mark in speech.marks]
    assert seconds == sorted(seconds)
    assert seconds[0] >= 0
    assert seconds[-1] <= len(speech.samples) / speech.sample_rate


def test_the_mark_of_a_hiss_is_where_the_hiss_is():
    speech = say("house", rate=130)
    begins = next(mark.seconds for mark in speech.marks if mark.phoneme == "s")
    spectra = np.abs(np.fft.rfft(speech.samples[: len(speech.samples) // 512 * 512].reshape(-1, 512))) ** 2
    share = spectra[:, 70:].sum(1) / (spectra.sum(1) + 1e-6)  # above 3 kHz
    hissing = np.flatnonzero(share > 0.5) * 512 / speech.sample_rate
    assert abs(hissing[hissing > 0.1].min() - begins) < 0.06


def test_rate_and_pitch_are_followed():
    text = "the farmer is hiding the old car in the park"
    lengths = [len(say(text, rate=rate).samples) for rate in (120, 160, 220)]
    assert lengths[0] > 1.2 * lengths[1] > 1.3 * lengths[2]
    low, middle, high = (say("a warm lawn mower", pitch=pitch, pitch_range=0) for pitch in (10, 50, 90))
    heard = [fundamental(speech) for speech in (low, middle, high)]
    assert heard[0] * 1.2 < heard[1] < heard[2] / 1.1


def test_a_variant_is_another_speaker():
    man, woman = say("four", "gmw/en-US+m3"), say("four", "gmw/en-US+f3")
    assert fundamental(woman) > 1.5 * fundamental(man)
    assert phonemes(man) == phonemes(woman)


def test_accents_are_other_phonemes_and_not_another_colour_of_voice():
    assert "æ" in "".join(phonemes(say("bath", ACCENTS["american"])))
    assert "ɑː" in "".join(phonemes(say("bath", ACCENTS["received"])))
    said = {
        accent: tuple(phonemes(say(phrase, voice)) for slot in ENGLISH for phrase in slot)
        for accent, voice in ACCENTS.items()
    }
    assert len(set(said.values())) == len(ACCENTS)


def test_mandarin_reads_characters():
    for characters, romanised in (("音乐", "yin1yue4"), ("快乐", "kuai4le4")):  # one character, two readings
        read, spelt = say(characters, MANDARIN), say(romanised, "sit/cmn-Latn-pinyin")
        assert "".join(phonemes(read)).replace("ˈ", "") == "".join(phonemes(spelt)).replace("ˈ", "")


def test_the_voices_that_the_corpora_want_are_there():
    identifiers = {voice.identifier for voice in espeak.voices()}
    assert {*ACCENTS.values(), MANDARIN} <= identifiers
    assert set(VARIANTS) <= set(espeak.variants())
    assert len(set(VARIANTS)) == len(VARIANTS)
    assert not any("whisper" in name or "robo" in name.lower() for name in VARIANTS)
    assert espeak.library_version().startswith("1.")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"voice": "en-gb"}, "no voice 'en-gb'"),
        ({"voice": "gmw/en-US+nobody"}, r"no voice 'gmw/en-US\+nobody'.*variants"),
        ({"rate": 20}, r"rate of a synthetic voice lies in 80 \.\.\. 450, this is 20"),
        ({"pitch": 101}, r"pitch of a synthetic voice lies in 0 \.\.\. 100"),
        ({"pitch_range": -1}, "pitch range of a synthetic voice"),
        ({"text": ""}, "made no sound of ''"),
        ({"text": "..."}, "made no sound of '...'"),
    ],
)
def test_what_cannot_be_said_is_one_sentence(arguments, sentence):
    with pytest.raises(UserError, match=sentence):
        say(**{"text": "house", **arguments})
    assert phonemes(say("house")) == ("h", "ˈaʊ", "s")  # and the next word is well


def test_threads_wait_for_each_other():
    words = ["yes", "no", "stop", "left", "seven", "happy"] * 5
    alone = {word: say(word) for word in set(words)}
    with ThreadPoolExecutor(6) as pool:
        for word, speech in zip(words, pool.map(say, words), strict=True):
            assert phonemes(speech) == phonemes(alone[word])
            # State carries over: a word's length changes by some samples.
            assert abs(len(speech.samples) - len(alone[word].samples)) < 1500


def test_the_synthesiser_starts_once():
    say("yes")
    with pytest.raises(UserError, match="runs already in this process"):
        espeak.start()


def test_neither_torch_nor_the_synthesiser_is_imported_before_it_is_needed():
    done = in_fresh_process(
        "import sys, lib.speech.espeak, lib.speech.spoken_maker\n"
        "assert 'torch' not in sys.modules and 'espeakng_loader' not in sys.modules\n"
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("before", "sentence"),
    [
        ("sys.modules['espeakng_loader'] = None", "pip install espeakng-loader"),
        (
            "import espeakng_loader\nespeakng_loader.get_library_path = lambda: sys.argv[0]",
            "cannot be loaded",
        ),
        (
            "import espeakng_loader\nespeakng_loader.get_data_path = lambda: '/nowhere/espeak-ng-data'",
            "does not start with /nowhere/espeak-ng-data",
        ),
    ],
)
def test_a_missing_or_broken_package_is_one_sentence(before, sentence):
    done = in_fresh_process(
        f"import sys\n{before}\n"
        "from lib.errors import UserError\nfrom lib.speech.espeak import say\n"
        "try:\n    say('yes')\nexcept UserError as fault:\n    print(fault)"
    )
    assert sentence in done.stdout
    assert done.stdout.count("\n") == 1
    assert done.returncode == 0, done.stderr
