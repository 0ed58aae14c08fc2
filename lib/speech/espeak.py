"""The speech synthesiser espeak-ng, in this process: text in, samples and phonemes out.

The library comes with the package `espeakng-loader` and is called through ctypes. It is one global state machine, so
one lock stands before it. It carries state from one utterance to the next: the same word twice differs by a few
samples. Who needs the same samples again starts a fresh process and makes the same calls in the same order, as
`lib.speech.spoken_maker` does. The speech sounds synthetic: what is measured on it says little about people.

A voice is a language or accent as the library identifies it ("gmw/en-US", "sit/cmn"), and behind a plus sign, if
wanted, a variant, which is another speaker ("gmw/en-US+f3").
"""

import ctypes
import functools
import threading
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lib.errors import UserError

RATES = (80, 450)  # words a minute that the library follows
PITCHES = (0, 100)
SYNCHRONOUS, PHONEME_EVENTS, PHONEMES_AS_IPA, DO_NOT_EXIT = 2, 1, 2, 0x8000
RATE, VOLUME, PITCH, PITCH_RANGE = 1, 2, 3, 4  # the library's numbers for its parameters
PHONEME_EVENT, UTF8 = 7, 1


class _VoiceRecord(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_char_p),
        ("languages", ctypes.c_char_p),
        ("identifier", ctypes.c_char_p),
        ("gender", ctypes.c_ubyte),
        ("age", ctypes.c_ubyte),
        ("variant", ctypes.c_ubyte),
        ("unused", ctypes.c_ubyte),
        ("score", ctypes.c_int),
        ("spare", ctypes.c_void_p),
    )


class _EventId(ctypes.Union):
    _fields_ = (("number", ctypes.c_int), ("name", ctypes.c_char_p), ("string", ctypes.c_char * 8))


class _Event(ctypes.Structure):
    _fields_ = (
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", _EventId),
    )


@dataclass(frozen=True)
class Mark:
    """A phoneme (in the International Phonetic Alphabet) and the second at which it begins."""

    seconds: float
    phoneme: str


@dataclass(frozen=True)
class Speech:
    """What was said: float32 (samples,) in -1 ... 1, the rate in Hz (22,050), and the phonemes in order."""

    samples: np.ndarray
    sample_rate: int
    marks: tuple[Mark, ...]


@dataclass(frozen=True)
class Voice:
    """A language or accent that the library speaks; `identifier` is what `say` takes."""

    identifier: str
    name: str


_lock = threading.Lock()
_library: ctypes.CDLL | None = None
_folder: Path | None = None
_sample_rate = 0
_chunks: list[np.ndarray] = []
_marks: list[Mark] = []


# At module level because ctypes keeps no callback alive.
@ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event))
def _receive(samples, count, events):  # types: as the line above says
    if samples and count > 0:
        _chunks.append(np.ctypeslib.as_array(samples, shape=(count,)).copy())
    number = 0
    while events[number].type:
        if events[number].type == PHONEME_EVENT:
            phoneme = events[number].id.string.decode("utf8", "replace")
            _marks.append(Mark(events[number].audio_position / 1000, phoneme))
        number += 1
    return 0


def data_folder() -> Path:
    """The folder with the library's dictionaries and voices. Raises UserError when the package is missing."""
    return Path(_package().get_data_path())


@functools.cache
def library_version() -> str:
    """As "1.52.0". Raises UserError when the library is missing."""
    return _load().espeak_Info(None).decode().split()[0]


def start(folder: Path | None = None) -> None:
    """Start the library with the data in `folder` (default: its own); `say` does this itself, with the default.

    A folder of one's own, made like `data_folder()`, can hold more variants. Once started, the library keeps its
    data until the process ends. Raises UserError when the library is missing or does not start.
    """
    with _lock:
        if _library is not None:
            raise UserError("The speech synthesiser runs already in this process: start a fresh one.")
        _started(folder)


def voices() -> tuple[Voice, ...]:
    """Every language and accent, in the library's order."""
    with _lock:
        records = _started().espeak_ListVoices(None)
        found = []
        while records[len(found)]:
            record = records[len(found)].contents
            found.append(Voice(record.identifier.decode(), record.name.decode()))
        return tuple(found)


def variants() -> tuple[str, ...]:
    """The variants (other speakers), sorted; any can follow any voice."""
    return tuple(sorted(path.name for path in _variant_folder().iterdir()))


def say(text: str, voice: str = "gmw/en-US", rate: int = 160, pitch: int = 50, pitch_range: int = 50) -> Speech:
    """Speak `text`.

    voice         an identifier of `voices()`, with "+variant" behind it for another speaker
    rate          words a minute, 80 ... 450
    pitch         of the voice, 0 ... 100
    pitch_range   of the intonation, 0 ... 100; 0 is monotonous

    Raises UserError for an unknown voice, a value out of range, or a text in which there is nothing to say.
    """
    for name, value, (low, high) in (
        ("rate", rate, RATES),
        ("pitch", pitch, PITCHES),
        ("pitch range", pitch_range, PITCHES),
    ):
        if not low <= value <= high:
            raise UserError(f"The {name} of a synthetic voice lies in {low} ... {high}, this is {value}.")
    with _lock:
        library = _started()
        variant = voice.partition("+")[2]
        # The library itself passes over a variant that it does not know.
        if (variant and not (_variant_folder() / variant).is_file()) or library.espeak_SetVoiceByName(voice.encode()):
            raise UserError(
                f"The speech synthesiser has no voice '{voice}': choose an identifier of `voices()`, and after a plus "
                "sign, if you like, one of `variants()`."
            )
        # At the library's volume of 100 the louder variants are compressed.
        for parameter, value in ((RATE, rate), (VOLUME, 60), (PITCH, pitch), (PITCH_RANGE, pitch_range)):
            library.espeak_SetParameter(parameter, int(value), 0)
        _chunks.clear()
        _marks.clear()
        content = text.encode() + b"\0"
        fault = library.espeak_Synth(content, len(content), 0, 1, 0, UTF8, None, None)
        library.espeak_Synchronize()
        samples = np.concatenate(_chunks or [np.zeros(0, np.int16)]).astype(np.float32) / 32768
        if fault or not samples.any():
            raise UserError(f"The speech synthesiser made no sound of {text!r}: give it words of the voice's language.")
        return Speech(samples, _sample_rate, tuple(_marks))


def _variant_folder() -> Path:
    return (data_folder() if _folder is None else _folder) / "voices" / "!v"


def _package():
    try:
        import espeakng_loader  # here: the package is large, and only the embedded speech needs it
    except ImportError:
        raise UserError(
            "The embedded speech needs the package espeakng-loader: run `pip install espeakng-loader`, or choose "
            "recordings of your own."
        ) from None
    return espeakng_loader


@functools.cache
def _load() -> ctypes.CDLL:
    path = _package().get_library_path()
    try:
        library = ctypes.CDLL(str(path))
        library.espeak_Info.restype = ctypes.c_char_p
        library.espeak_Info.argtypes = (ctypes.c_void_p,)
        library.espeak_Initialize.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_char_p, ctypes.c_int)
        library.espeak_ListVoices.restype = ctypes.POINTER(ctypes.POINTER(_VoiceRecord))
        library.espeak_ListVoices.argtypes = (ctypes.c_void_p,)
        library.espeak_SetVoiceByName.argtypes = (ctypes.c_char_p,)
        library.espeak_ng_SetRandSeed.argtypes = (ctypes.c_long,)
        library.espeak_Synth.argtypes = (
            *(ctypes.c_char_p, ctypes.c_size_t, ctypes.c_uint, ctypes.c_int, ctypes.c_uint, ctypes.c_uint),
            *(ctypes.c_void_p, ctypes.c_void_p),
        )
    except (OSError, AttributeError) as fault:
        raise UserError(f"{path} cannot be loaded ({fault}): install espeakng-loader anew.") from None
    return library


def _started(folder: Path | None = None) -> ctypes.CDLL:
    """The library, running. Call with the lock held."""
    global _library, _folder, _sample_rate
    if _library is None:
        library = _load()
        folder = data_folder() if folder is None else folder
        _sample_rate = library.espeak_Initialize(
            SYNCHRONOUS, 0, str(folder.parent).encode(), PHONEME_EVENTS | PHONEMES_AS_IPA | DO_NOT_EXIT
        )
        if _sample_rate <= 0:
            raise UserError(f"The speech synthesiser does not start with {folder}: install espeakng-loader anew.")
        library.espeak_SetSynthCallback(_receive)
        library.espeak_ng_SetRandSeed(1)  # else the clock seeds the noise of breathy variants
        _library, _folder = library, folder
    return _library
