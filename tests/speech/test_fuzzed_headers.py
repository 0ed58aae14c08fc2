"""Two hundred damaged recordings: each is read or refused, quickly and in little memory."""

import io
import os
import sys
import time
from random import Random

import numpy as np
import pytest
import soundfile
import torch

from lib.errors import UserError
from lib.speech.audio import probe, read_audio

KINDS = (
    ("WAV", "PCM_16", 1, 16_000),
    ("WAV", "FLOAT", 2, 44_100),
    ("WAV", "ULAW", 1, 8_000),
    ("FLAC", "PCM_16", 1, 16_000),
    ("FLAC", "PCM_24", 2, 48_000),
)
HEADER = 64  # bytes
SECONDS_EACH, BYTES_ALL = 1.0, 200 * 1024**2


def recording(kind):
    name, subtype, channels, rate = kind
    buffer = io.BytesIO()
    samples = np.random.default_rng(0).uniform(-0.5, 0.5, (rate // 4, channels))
    soundfile.write(buffer, samples, rate, format=name, subtype=subtype)
    return buffer.getvalue()


def damaged(content, random):
    """Bytes replaced in the header, bits flipped anywhere, or the end cut off; and any two of these together."""
    found = bytearray(content)
    for harm in random.sample(("header", "anywhere", "cut"), random.choice((1, 1, 2))):
        if harm == "header":
            for _ in range(random.randint(1, 8)):
                found[random.randrange(min(HEADER, len(found)))] = random.choice((0, 0x7F, 0xFF, random.randrange(256)))
        elif harm == "anywhere":
            for _ in range(random.randint(1, 20)):
                found[random.randrange(len(found))] ^= 1 << random.randrange(8)
        else:
            del found[random.choice((random.randrange(1, HEADER), random.randrange(1, len(found)))) :]
    return bytes(found)


def highest_memory():
    """The most memory this process has had since it was reset, in bytes (Linux)."""
    with open("/proc/self/status") as file:
        return 1024 * int(next(line for line in file if line.startswith("VmHWM")).split()[1])


@pytest.fixture
def memory_taken():
    """A function: the bytes by which memory has risen at most since the test began; 0 where it cannot be known."""
    if not sys.platform.startswith("linux") or not os.access("/proc/self/clear_refs", os.W_OK):
        return lambda: 0
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")  # forget the highest value so far
    before = highest_memory()
    return lambda: highest_memory() - before


def test_every_damaged_file_is_read_or_refused(tmp_path, memory_taken):
    read, sentences = 0, {}
    slowest = (0.0, -1)
    for seed in range(200):
        random = Random(seed)
        kind = KINDS[seed % len(KINDS)]
        path = tmp_path / f"{seed}.{kind[0].lower()}"
        path.write_bytes(damaged(recording(kind), random))
        start, end = random.choice(((0.0, None), (0.0, None), (0.1, None), (0.1, 0.2)))
        begun = time.perf_counter()
        try:
            samples = read_audio(path, start=start, end=end)
        except UserError as fault:
            sentences[seed] = str(fault)
        else:
            read += 1
            assert samples.dtype == torch.float32, seed
            assert samples.ndim == 1, seed
            assert torch.isfinite(samples).all(), seed
            assert probe(path).seconds > 0, seed
        slowest = max(slowest, (time.perf_counter() - begun, seed))
    assert read >= 30, "damage that always shows tests nothing"
    assert len(sentences) >= 30
    assert not [seed for seed, text in sentences.items() if str(tmp_path / f"{seed}.") not in text or "\n" in text]
    assert slowest[0] < SECONDS_EACH
    assert memory_taken() < BYTES_ALL
