"""Speaks a corpus into a folder. Run in a process of its own: `python -m lib.speech.spoken_maker WORK`.

The description comes as JSON on standard input. The synthesiser carries state from call to call, so only a fresh
process that speaks the same lines in the same order gives the same samples. Nothing here imports torch: it would take
longer than the speaking.
"""

import csv
import dataclasses
import hashlib
import io
import json
import os
import shutil
import sys
from pathlib import Path

import numpy as np
import soundfile

from lib.errors import UserError
from lib.speech import espeak
from lib.speech.spoken_corpora import from_json, to_json
from lib.speech.spoken_plan import Line, SpokenCorpus

SAMPLE_RATE = 16_000
UP, DOWN = 320, 441  # from the synthesiser's 22,050 Hz to 16,000 Hz
PASS, STOP = 7_600, 8_000  # Hz: what is below passes, what is above would fold back
PEAK = 0.5  # every clip is as loud as the others
FLOOR = 0.005  # of the peak: softer than that is silence (-46 dB)
MARGIN = 0.02  # seconds of silence that stay on either side
UNLABELLED = "speech"  # the folder of utterances without a label
MANIFEST, SEAL = "manifest.csv", "corpus.json"
DICTIONARIES = {"en_dict", "es_dict", "cmn_dict"}
COLUMNS = ("path", "label", "text", "speaker", "split", "session", "voice", "rate", "pitch", "seconds", "bytes")


def make(description: SpokenCorpus, work: Path) -> None:
    """Speak all lines into `work`/made: FLAC files of 16 kHz and 16 bits, the manifest, and last the seal."""
    parent = os.getppid()
    _start(description.own_variants(), work / "engine" / "espeak-ng-data")
    folder = work / "made"
    rows = io.StringIO()
    table = csv.DictWriter(rows, COLUMNS, lineterminator="\n")
    table.writeheader()
    lines = description.lines()
    for split, label in {(line.split, line.label) for line in lines}:
        (folder / split / (label or UNLABELLED)).mkdir(parents=True)
    for number, line in enumerate(lines):
        if os.getppid() != parent:  # nobody waits for this corpus any more
            shutil.rmtree(work, ignore_errors=True)
            sys.exit(1)
        path = f"{line.split}/{line.label or UNLABELLED}/{line.speaker}-{number:05d}.flac"
        samples = spoken(line)
        soundfile.write(str(folder / path), samples, SAMPLE_RATE, subtype="PCM_16")
        seconds, size = f"{len(samples) / SAMPLE_RATE:.4f}", (folder / path).stat().st_size
        table.writerow(dataclasses.asdict(line) | {"path": path, "seconds": seconds, "bytes": size})
    content = rows.getvalue().encode()
    (folder / MANIFEST).write_bytes(content)
    seal = {"manifest": hashlib.sha256(content).hexdigest(), "description": json.loads(to_json(description))}
    (folder / SEAL).write_text(json.dumps(seal, indent=1) + "\n")


def _start(own_variants: dict[str, str], data: Path) -> None:
    """Start the synthesiser; for variants of our own, with a copy of its data to which they are added."""
    if not own_variants:
        espeak.start()
        return
    # The dictionaries are nearly all of the data, and few of them are needed.
    unused = {path.name for path in espeak.data_folder().glob("*_dict")} - DICTIONARIES
    shutil.copytree(espeak.data_folder(), data, ignore=lambda _, names: unused & set(names))
    espeak.start(data)
    # Of variants that are there when it lists its voices, the library takes 349 at most; of later ones, any number.
    espeak.voices()
    for name, text in own_variants.items():
        (data / "voices" / "!v" / name).write_text(text, encoding="utf-8")


def spoken(line: Line) -> np.ndarray:
    """One utterance: float32 (samples,) of 16 kHz, its silences cut to `MARGIN`, its peak at `PEAK`."""
    speech = espeak.say(line.text, line.voice, line.rate, line.pitch)
    samples = resampled(speech.samples)
    level = np.abs(samples)
    sounding = np.flatnonzero(level > FLOOR * level.max())
    margin = round(MARGIN * SAMPLE_RATE)
    padded = np.pad(samples, margin)
    # In `padded` everything stands later by one margin.
    kept = padded[sounding[0] : sounding[-1] + 1 + 2 * margin]
    return (kept * (PEAK / level.max())).astype(np.float32)


def resampled(samples: np.ndarray) -> np.ndarray:
    """From 22,050 to 16,000 Hz, by cutting the spectrum; some silence follows.

    SciPy and torch can do this too, but importing either takes longer than speaking a small corpus.
    """
    blocks = len(samples) // DOWN + 2  # of 20 ms; one is silence, since the end runs on into the beginning
    spectrum = np.fft.rfft(samples, blocks * DOWN)[: blocks * UP // 2 + 1]
    frequencies = np.arange(len(spectrum)) * (SAMPLE_RATE / (blocks * UP))
    return np.fft.irfft(spectrum * np.interp(frequencies, (PASS, STOP), (1, 0)), blocks * UP) * (UP / DOWN)


def main() -> int:
    try:
        make(from_json(sys.stdin.read()), Path(sys.argv[1]))
    except UserError as fault:
        print(fault, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
