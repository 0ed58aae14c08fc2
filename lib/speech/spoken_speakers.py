"""Speakers of our own for the synthesiser: a vocal tract and a voice source, drawn at random.

espeak-ng's own variants are too few and too uneven for speaker recognition. A variant is a small text file; what its
lines mean is in the comments below.
"""

import random

FORMANTS = 9  # the synthesiser's resonances, counted from 0, of which the lowest five make the vowels


def variant_text(name: str, rng: random.Random) -> str:
    """The file of a new variant: somebody whose vocal tract is as short or long as a woman's or a man's may be."""
    female = rng.random() < 0.5
    # The formants' frequencies follow the length of the vocal tract, in per cent of the synthesiser's standard man.
    tract = rng.uniform(104, 122) if female else rng.uniform(84, 104)
    low = rng.uniform(140, 200) if female else rng.uniform(70, 115)
    lines = [
        "language variant",
        f"name {name}",
        f"gender {'female' if female else 'male'}",
        f"pitch {low:.0f} {low * rng.uniform(1.25, 1.55):.0f}",  # Hz, where intonation begins and ends
        f"flutter {rng.randint(1, 6)}",  # slow wavering of the pitch
        f"roughness {rng.randint(0, 3)}",  # every other period of the voice differs
        f"voicing {rng.randint(80, 130)}",  # loudness of vowels, in per cent
        f"consonants {rng.randint(75, 130)} {rng.randint(75, 130)}",  # of unvoiced and voiced consonants
        # Loudness at 600, 1200 and 2400 Hz, of 255: the colour that the voice source gives.
        f"tone 600 {rng.randint(170, 255)} 1200 {rng.randint(110, 255)} 2400 {rng.randint(70, 220)}",
    ]
    for number in range(FORMANTS):
        frequency = tract * rng.gauss(1, 0.04)
        lines.append(f"formant {number} {frequency:.0f} {rng.uniform(80, 120):.0f} {rng.uniform(75, 140):.0f}")
    if rng.random() < 0.3:
        lines.append(f"breath 0 {rng.randint(1, 4)} {rng.randint(1, 5)} {rng.randint(1, 5)}")  # noise in the formants
    return "\n".join(lines) + "\n"
