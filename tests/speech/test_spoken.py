"""The embedded corpora: made alike everywhere, kept whole, split by speaker and sentence, and speech to the ear."""

import dataclasses
import itertools
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from scipy.signal import resample_poly
from sklearn.metrics import roc_auc_score
from torchaudio.transforms import MelSpectrogram

from lib.errors import UserError
from lib.speech import spoken
from lib.speech.data import SPLITS
from lib.speech.espeak import say
from lib.speech.spoken import (
    AccentCorpus,
    DigitCorpus,
    KeywordCorpus,
    MandarinCorpus,
    SpeakerCorpus,
    details,
    folder_of,
    is_whole,
    load,
    make,
)
from lib.speech.spoken_corpora import from_json, to_json
from lib.speech.spoken_maker import resampled
from lib.speech.spoken_plan import divide, draw_sentences
from lib.speech.vocabulary import ACCENTS, ENGLISH, MANDARIN_SENTENCES, SPANISH

ROOT = Path(__file__).parents[2]
WORDS = KeywordCorpus(voices=40, clips_per_keyword=30, clips_per_other=10)
TINY = DigitCorpus(voices=4, shares=(0.5, 0.25, 0.25), clips_per_digit=4)
ALL = [
    KeywordCorpus(),
    DigitCorpus(),
    AccentCorpus(),
    MandarinCorpus(),
    SpeakerCorpus(),
    SpeakerCorpus(languages=("english", "spanish", "spanish"), seed=3),
]
NAMES = [f"{one.name}{one.seed or ''}" for one in ALL]


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("BOOK_CACHE", str(tmp_path))
    return tmp_path


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """A cache in which the larger corpora of this file are made once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BOOK_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


def samples(description):
    return [samples for split in SPLITS for samples in load(description, split).waveforms()]


# What is planned, before anything is spoken


@pytest.mark.parametrize("description", ALL, ids=NAMES)
def test_no_speaker_and_no_variant_is_in_two_splits(description):
    found = {split: set() for split in SPLITS}
    for line in description.lines():
        found[line.split] |= {line.speaker, line.voice.partition("+")[2]}
    assert all(found.values())
    assert not any(one & other for one, other in itertools.combinations(found.values(), 2))


@pytest.mark.parametrize("description", [AccentCorpus(), MandarinCorpus()], ids=["accent", "mandarin"])
def test_no_sentence_is_in_two_splits(description):
    found = {split: {line.text for line in description.lines() if line.split == split} for split in SPLITS}
    assert [len(texts) for texts in found.values()] == divide(description.sentences, description.shares)
    assert not any(one & other for one, other in itertools.combinations(found.values(), 2))


@pytest.mark.parametrize("description", ALL, ids=NAMES)
def test_a_seed_is_a_corpus(description):
    assert description.lines() == description.lines()
    assert from_json(to_json(description)) == description
    other = dataclasses.replace(description, seed=99)
    said = [[(line.text, line.voice, line.rate, line.pitch) for line in one.lines()] for one in (description, other)]
    assert len(said[0]) == len(said[1])
    assert len(set(said[0]) & set(said[1])) < 0.1 * len(said[0])
    assert folder_of(other) != folder_of(description)
    assert folder_of(dataclasses.replace(description)) == folder_of(description)


@pytest.mark.parametrize("description", ALL, ids=NAMES)
def test_voices_stay_within_what_was_asked(description):
    lines = description.lines()
    assert len({line.speaker for line in lines}) == description.voices
    slack = 30 if isinstance(description, SpeakerCorpus) else 10  # sessions differ, and utterances
    assert all(description.rates[0] - slack <= line.rate <= description.rates[1] + slack for line in lines)
    assert all(0 <= line.pitch <= 100 for line in lines)


def test_every_word_is_said_as_often_as_asked():
    counts = Counter((line.label, line.split) for line in WORDS.lines())
    for word in WORDS.keywords:
        assert [counts[word, split] for split in SPLITS] == [21, 3, 6]
    for word in WORDS.others:
        unseen = word in WORDS.unseen_words
        assert [counts[word, split] for split in SPLITS] == ([0, 0, 2] if unseen else [7, 1, 2])
    spoken_by = Counter(line.speaker for line in WORDS.lines() if line.split == "train")
    assert max(spoken_by.values()) < 2.5 * min(spoken_by.values())


def test_neither_sentence_nor_speaker_gives_the_accent_away():
    lines = AccentCorpus().lines()
    by_text, by_speaker = {}, Counter((line.speaker, line.label) for line in lines)
    for line in lines:
        by_text.setdefault(line.text, []).append(line.label)
        assert line.voice.startswith(ACCENTS[line.label] + "+")
    assert all(sorted(labels) == sorted(ACCENTS) for labels in by_text.values())
    for speaker in {line.speaker for line in lines}:
        turns = [by_speaker[speaker, accent] for accent in ACCENTS]
        assert max(turns) - min(turns) <= 1


def test_the_grammars_say_many_different_sentences():
    for grammar, joiner in ((ENGLISH, " "), (SPANISH, " "), (MANDARIN_SENTENCES, "")):
        everything = [joiner.join(phrases) for phrases in itertools.product(*grammar)]
        assert len(set(everything)) == len(everything) > 5000
        rng = MandarinCorpus()._rng("test")
        drawn = draw_sentences(grammar, 400, joiner, rng)
        assert len(set(drawn)) == 400
        assert set(drawn) <= set(everything)
        for slot in grammar[1:]:  # every phrase comes up
            assert all(any(phrase in sentence for sentence in drawn) for phrase in slot)
    characters = Counter("".join(line.text for line in MandarinCorpus().lines() if line.split == "train"))
    assert len(characters) >= 60
    assert min(characters.values()) >= 10
    assert all("\u4e00" <= character <= "\u9fff" for character in characters)


def test_a_speaker_of_our_own_keeps_their_variant_over_sessions_and_languages():
    description = SpeakerCorpus(voices=12, languages=("english", "spanish", "spanish"))
    by_speaker = {}
    for line in description.lines():
        by_speaker.setdefault(line.speaker, []).append(line)
    variants = description.own_variants()
    for lines in by_speaker.values():
        assert len({line.voice for line in lines}) == 1
        assert lines[0].voice.partition("+")[2] in variants
        assert Counter(line.session for line in lines) == {f"session{number}": 2 for number in range(4)}
        assert len({line.text for line in lines}) == len(lines)
    assert len(set(variants.values())) == 12
    other = dataclasses.replace(description, seed=1).own_variants()
    assert not set(variants.values()) & set(other.values())


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"voices": 0}, "voices is 0: set it to a whole number of 1 or more"),
        ({"voices": 2.5}, "voices is 2.5"),
        ({"shares": (0.5, 0.5)}, "shares are three parts of one"),
        ({"shares": (0.5, 0.5, 0.5)}, "let them sum to 1"),
        ({"shares": (1.2, 0.0, -0.2)}, "shares are three parts"),
        ({"shares": (float("nan"), 0.5, 0.5)}, "shares are three parts"),
        ({"shares": (0.9, 0.1, 0.0)}, "unseen_words are for the test split"),
        ({"rates": (200, 100)}, r"rates go from low to high within 80 \.\.\. 450"),
        ({"pitches": (0, 101)}, "pitches go from low to high"),
        ({"accents": ("welsh",)}, "accents has 'welsh', which is none of american"),
        ({"accents": ()}, "accents is empty"),
        ({"accents": ("british", "british")}, "names one twice"),
        ({"clips_per_keyword": 0}, "clips_per_keyword is 0"),
        ({"keywords": ()}, "some word is there twice, or none"),
        ({"keywords": ("yes", "bed")}, "some word is there twice"),
        ({"keywords": ("Ja!",)}, "'Ja!' is not a word in small letters"),
        ({"unseen_words": ("yes",)}, "unseen_words has 'yes', which is not among others"),
    ],
)
def test_a_wrong_description_is_one_sentence(fields, sentence):
    with pytest.raises(UserError, match=sentence):
        KeywordCorpus(**fields)


def test_counts_that_do_not_work_out_are_one_sentence(cache):
    with pytest.raises(UserError, match="2 voices leave none for valid with a share of 0"):
        KeywordCorpus(voices=2).lines()
    with pytest.raises(UserError, match="100,000 different sentences are wanted, and the grammar makes 22,320"):
        MandarinCorpus(sentences=100_000).lines()
    with pytest.raises(UserError, match="accents has only 'british'"):
        AccentCorpus(accents=("british",))
    with pytest.raises(UserError, match="languages has 'dutch', which is none of english, spanish"):
        SpeakerCorpus(languages=("english", "dutch", "english"))
    with pytest.raises(UserError, match="No split called 'dev'"):
        load(TINY, "dev")
    with pytest.raises(UserError, match="valid split of this digit corpus has a share of 0"):
        load(DigitCorpus(shares=(0.8, 0, 0.2)), "valid")
    # A fault of the other process comes through as its sentence.
    with pytest.raises(UserError, match="2 voices leave none for valid"):
        make(KeywordCorpus(voices=2))


# What is heard


@pytest.fixture(scope="module")
def words(kept):
    return {split: load(WORDS, split) for split in SPLITS}


def test_a_split_is_what_the_plan_says(words):
    for split, found in words.items():
        lines = [line for line in WORDS.lines() if line.split == split]
        assert [(one.label, one.text, one.speaker) for one in found.utterances] == [
            (line.label, line.text, line.speaker) for line in lines
        ]
        assert found.class_names == (*WORDS.keywords, *WORDS.others)
        assert [found.class_names[number] for number in found.labels] == [line.label for line in lines]
        assert [(row["voice"], int(row["rate"])) for row in details(found)] == [
            (line.voice, line.rate) for line in lines
        ]
        assert "synthetic speech (espeak-ng 1." in found.describe()
        assert details(found.subset([4]))[0] == details(found)[4]


def test_words_are_trimmed_level_and_of_a_words_length(words):
    lengths = []
    for found in words.values():
        assert soundfile.info(str(found.utterances[0].path)).samplerate == 16_000
        for one, row in zip(found.waveforms(), details(found), strict=True):
            assert len(one) / 16_000 == pytest.approx(float(row["seconds"]), abs=1e-4)
            lengths.append(len(one) / 16_000)
            level = one.abs()
            assert level.max() == pytest.approx(0.5, abs=0.001)
            assert (level > 0.499).float().mean() < 0.01  # not clipped
            assert one.square().mean().sqrt() > 0.03  # not silent
            sounding = torch.nonzero(level > 0.002)[[0, -1], 0] / 16_000  # -48 dB
            assert sounding[0] < 0.022
            assert lengths[-1] - sounding[1] < 0.022
    assert min(lengths) > 0.15
    assert max(lengths) < 1.2
    assert 0.25 < np.median(lengths) < 0.5


def test_resampling_is_what_scipy_does():
    said = say("the farmer is hiding the old car", rate=200).samples
    ours, theirs = resampled(said), resample_poly(said.astype(float), 320, 441)
    assert abs(len(ours) - len(theirs)) < 1000
    size = min(len(ours), len(theirs))
    difference = ours[:size] - theirs[:size]
    assert np.sqrt(np.mean(difference**2)) < 0.01 * np.sqrt(np.mean(theirs**2))
    assert np.abs(ours[size:]).max() < 0.005
    second = np.arange(22_050) / 22_050
    high = resampled(np.sin(2 * np.pi * 9000 * second) * np.hanning(22_050))  # beyond 8 kHz: nothing may fold back
    assert np.abs(high).max() < 1e-3


MEL = MelSpectrogram(16_000, n_fft=512, hop_length=160, n_mels=24)


def test_words_sound_different_in_voices_never_heard(words):
    """A nearest neighbour on four mean spectra a word: 10 keywords, so chance is 0.1. Measured: 0.95 and more."""

    def pictures(found):
        logs = [(MEL(one) + 1e-5).log() for one in found.waveforms()]
        return torch.stack([torch.cat([part.mean(1) for part in one.sub(one.mean()).chunk(4, 1)]) for one in logs])

    train, test = (
        found.subset([number for number, one in enumerate(found.utterances) if one.label in WORDS.keywords])
        for found in (words["train"], words["test"])
    )
    nearest = torch.cdist(pictures(test), pictures(train)).argmin(1)
    assert (train.labels[nearest] == test.labels).float().mean() > 0.7


def test_speakers_sound_different_and_stay_themselves_over_sessions(kept):
    """Mean and spread of the log spectrum tell pairs of one speaker from pairs of two. Measured: area 0.95."""
    found = load(SpeakerCorpus(voices=36, shares=(0.2, 0.2, 0.6), sessions=2, utterances_per_session=2), "test")
    assert found.class_names == found.speakers
    rows = []
    for one in found.waveforms():
        spectrum = (MEL(one) + 1e-5).log()
        loud = spectrum.mean(0) > spectrum.mean(0).median()
        rows.append(torch.cat([spectrum[:, loud].mean(1), spectrum[:, loud].std(1)]))
    rows = torch.stack(rows)
    distances = torch.cdist((rows - rows.mean(0)) / rows.std(0), (rows - rows.mean(0)) / rows.std(0))
    sessions = [row["session"] for row in details(found)]
    pairs = [
        (found.utterances[one].speaker == found.utterances[other].speaker, -distances[one, other].item())
        for one, other in itertools.combinations(range(len(found)), 2)
        if sessions[one] != sessions[other]
    ]
    assert roc_auc_score(*zip(*pairs, strict=True)) > 0.8


def test_mandarin_is_read_as_text_without_classes(kept):
    found = load(MandarinCorpus(voices=8, shares=(0.5, 0.25, 0.25), sentences=24), "train")
    assert len(found) == 12
    assert found.class_names == ()
    for one, samples in zip(found.utterances, found.waveforms(), strict=True):
        assert " " not in one.text
        assert 0.1 < len(samples) / 16_000 / len(one.text) < 0.7  # seconds a character


# How it is made and kept


def test_two_fresh_processes_make_the_same_samples(tmp_path, monkeypatch):
    """All variants of the synthesiser, breathy ones included, and speakers of our own."""
    everybody = DigitCorpus(voices=64, clips_per_digit=10)
    ours = SpeakerCorpus(voices=30, shares=(0.4, 0.3, 0.3), sessions=1, utterances_per_session=1)
    for description in (everybody, ours):
        found = []
        for name in ("here", "there"):
            monkeypatch.setenv("BOOK_CACHE", str(tmp_path / name))
            found.append(samples(description))
        assert len(found[0]) == len(description.lines())
        for one, other in zip(*found, strict=True):
            assert len(one) == len(other)
            assert (one - other).abs().max() < 1e-3


def test_another_seed_is_other_speech(cache):
    first, second = samples(TINY), samples(dataclasses.replace(TINY, seed=1))
    assert len(first) == len(second)
    assert (
        sum(len(one) == len(other) and torch.equal(one, other) for one, other in zip(first, second, strict=True)) == 0
    )


def test_a_second_load_speaks_nothing(cache, monkeypatch):
    folder = make(TINY)
    monkeypatch.setattr(spoken, "_speak", lambda *_: pytest.fail("spoke again"))
    assert make(TINY) == folder
    assert folder.parent == cache / "spoken"
    assert os.listdir(folder.parent) == [folder.name]


def cut_a_clip(folder):
    path = sorted(folder.glob("train/*/*.flac"))[3]
    path.write_bytes(path.read_bytes()[:-100])


def cut_the_manifest(folder):
    rows = (folder / "manifest.csv").read_text().splitlines(keepends=True)
    (folder / "manifest.csv").write_text("".join(rows[:-1]))


DAMAGES = {
    "a clip is missing": lambda folder: sorted(folder.glob("test/*/*.flac"))[0].unlink(),
    "a clip is cut": cut_a_clip,
    "no manifest": lambda folder: (folder / "manifest.csv").unlink(),
    "a manifest that is cut": cut_the_manifest,
    "no seal": lambda folder: (folder / "corpus.json").unlink(),
    "an empty seal": lambda folder: (folder / "corpus.json").write_text(""),
    "a strange seal": lambda folder: (folder / "corpus.json").write_text("[1]"),
}


def test_a_damaged_folder_is_noticed_and_made_anew(cache, monkeypatch):
    before = samples(TINY)
    folder = folder_of(TINY)
    whole = cache / "whole"
    shutil.copytree(folder, whole)
    assert is_whole(folder)
    for name, damage in DAMAGES.items():
        damage(folder)
        assert not is_whole(folder), name
        if name == "a clip is cut":  # really made anew this time, else put back
            after = samples(TINY)
            assert all(torch.equal(one, other) for one, other in zip(before, after, strict=True))
        else:
            monkeypatch.setattr(spoken, "_speak", lambda _, work: shutil.copytree(whole, work / "made"))
            make(TINY)
            monkeypatch.undo()
            monkeypatch.setenv("BOOK_CACHE", str(cache))
        assert is_whole(folder), name
        assert os.listdir(folder.parent) == [folder.name]


def test_two_that_make_it_at_once_both_get_it(cache):
    with ThreadPoolExecutor(2) as pool:  # each has a process of its own that speaks
        folders = list(pool.map(make, [TINY, TINY]))
    assert folders[0] == folders[1]
    assert is_whole(folders[0])
    assert os.listdir(folders[0].parent) == [folders[0].name]


@pytest.mark.parametrize(
    ("code", "words", "sentence"),
    [
        (-signal.SIGKILL, "", r"broken off \(SIGKILL\): nothing was kept; try again"),
        (-signal.SIGSEGV, "", r"broken off \(SIGSEGV\)"),
        (1, "Traceback\nOSError: No space left on device\n", r"broken off \(OSError: No space left on device\)"),
        (2, "The package is missing.\n", "^The package is missing.$"),
    ],
)
def test_a_maker_that_fails_leaves_nothing_behind(cache, monkeypatch, code, words, sentence):
    def half(command, **_):
        work = Path(command[-1])
        (work / "made" / "train").mkdir(parents=True)
        (work / "made" / "manifest.csv").write_text("path,label\n")
        return subprocess.CompletedProcess(command, code, "", words)

    monkeypatch.setattr(spoken.subprocess, "run", half)
    with pytest.raises(UserError, match=sentence):
        make(TINY)
    assert os.listdir(cache / "spoken") == []


@pytest.mark.skipif(os.name != "posix", reason="orphans are known by their parent's number")
def test_a_killed_reader_leaves_nothing_behind(cache):
    code = "from lib.speech.spoken import *; make(KeywordCorpus(clips_per_keyword=5000))"
    reader = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT)
    try:
        until(lambda: list(cache.glob("spoken/.keyword*/made/train/*/*.flac")), 60)
    finally:
        reader.kill()
        reader.wait()
    until(lambda: not list(cache.glob("spoken/.keyword*")), 10)
    assert os.listdir(cache / "spoken") == []


def until(happened, seconds):
    stop = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < stop
        time.sleep(0.05)


def test_what_was_abandoned_long_ago_is_swept_away(cache):
    old, new = cache / "spoken" / ".digit-1-x", cache / "spoken" / ".digit-2-y"
    for folder in (old, new):
        (folder / "made").mkdir(parents=True)
    os.utime(old, (time.time() - 7200,) * 2)
    folder = make(TINY)
    assert sorted(os.listdir(cache / "spoken")) == sorted([".digit-2-y", folder.name])


def test_the_cache_is_where_the_environment_says(monkeypatch, tmp_path):
    monkeypatch.setenv("BOOK_CACHE", "~/somewhere")
    assert spoken.cache_root() == Path.home() / "somewhere"
    monkeypatch.setenv("BOOK_CACHE", "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert spoken.cache_root() == tmp_path / "papers-that-run"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert spoken.cache_root() == Path.home() / ".cache" / "papers-that-run"
    monkeypatch.setenv("BOOK_CACHE", str(tmp_path / "file"))
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="let BOOK_CACHE name a folder"):
        make(TINY)


def test_only_embedded_corpora_have_details(words):
    stranger = dataclasses.replace(
        words["test"], utterances=(dataclasses.replace(words["test"].utterances[0], path=Path("x.wav")),)
    )
    with pytest.raises(UserError, match="is no embedded corpus"):
        details(stranger)
