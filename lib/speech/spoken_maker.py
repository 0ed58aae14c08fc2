"""Speaks a corpus into a folder. Run in a process of its own: `python -m lib.speech.spoken_maker FOLDER`.

The description comes as JSON on standard input. The synthesiser carries state from call to call, so only a fresh
process that speaks the same lines in the same order gives the same samples. Nothing here imports torch: it would take
longer than the speaking.
"""

import csv
import dataclasses
import hashlib
import io
import os
import shutil
import sys
from pathlib import Path

import numpy as np
import soundfile
from scipy.signal import firwin, resample_poly

from lib.errors import UserError
from lib.speech import espeak
from lib.speech.spoken_corpora import Line, SpokenCorpus, from_json, to_json

SAMPLE_RATE = 16_000
UP, DOWN = 320, 441  # from the synthesiser's 22,050 Hz to 16,000 Hz
# What resample_poly would design anew for every clip.
LOW_PASS = firwin(2 * 10 * DOWN + 1, 1 / DOWN, window=("kaiser", 5.0))
PEAK = 0.5  # every clip is as loud as the others
FLOOR = 0.005  # of the peak: softer than that is silence (-46 dB)
MARGIN = 0.02  # seconds of silence that stay on either side
MANIFEST, SEAL = "manifest.csv", "corpus.json"
COLUMNS = ("path", "label", "text", "speaker", "split", "session", "voice", "rate", "pitch", "seconds", "bytes")


def make(description: SpokenCorpus, folder: Path) -> None:
    """Speak all lines into `folder`: FLAC files of 16 kHz and 16 bits, the manifest, and last the seal."""
    parent = os.getppid()
    rows = io.StringIO()
    table = csv.DictWriter(rows, COLUMNS, lineterminator="\n")
    table.writeheader()
    for number, line in enumerate(description.lines()):
        if os.getppid() != parent:  # nobody waits for this corpus any more
            shutil.rmtree(folder, ignore_errors=True)
            sys.exit(1)
        path = f"{line.split}/{line.label or 'speech'}/{line.speaker}-{number:05d}.flac"
        samples = spoken(line)
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(str(folder / path), samples, SAMPLE_RATE, subtype="PCM_16")
        table.writerow(
            dataclasses.asdict(line)
            | {"path": path, "seconds": f"{len(samples) / SAMPLE_RATE:.4f}", "bytes": (folder / path).stat().st_size}
        )
    manifest = rows.getvalue().encode()
    (folder / MANIFEST).write_bytes(manifest)
    (folder / SEAL).write_text(
        f'{{"manifest": "{hashlib.sha256(manifest).hexdigest()}", "made_from": {to_json(description)}}}\n'
    )


def spoken(line: Line) -> np.ndarray:
    """One utterance: float32 (samples,) of 16 kHz, its silences cut to `MARGIN`, its peak at `PEAK`."""
    speech = espeak.say(line.text, line.voice, line.rate, line.pitch)
    samples = resample_poly(speech.samples.astype(np.float64), UP, DOWN, window=LOW_PASS)
    level = np.abs(samples)
    sounding = np.flatnonzero(level > FLOOR * level.max())
    margin = round(MARGIN * SAMPLE_RATE)
    padded = np.pad(samples, margin)
    # In `padded` everything stands later by one margin.
    kept = padded[sounding[0] : sounding[-1] + 1 + 2 * margin]
    return (kept * (PEAK / level.max())).astype(np.float32)


def main() -> int:
    try:
        make(from_json(sys.stdin.read()), Path(sys.argv[1]))
    except UserError as fault:
        print(fault, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
