"""Real corpora of speech: where they can be had. The fetching and checking is that of `lib.downloads`.

The checksums are those that torchaudio (Speech Commands, LibriSpeech), TensorFlow Datasets (spoken digits) and
PaddleSpeech (AISHELL-1) publish for the same addresses.
"""

from lib.downloads import RemoteFile

_OPENSLR = ("https://www.openslr.org/resources", "https://openslr.elda.org/resources")


def _speech_commands(version: str, checksum: str) -> tuple[RemoteFile, ...]:
    url = f"http://download.tensorflow.org/data/speech_commands_v{version}.tar.gz"
    return (RemoteFile((url,), checksum, f"SpeechCommands/speech_commands_v{version}", inside=""),)


def _librispeech(part: str, checksum: str) -> RemoteFile:
    urls = tuple(f"{host}/12/{part}.tar.gz" for host in _OPENSLR)
    return RemoteFile(urls, checksum, f"LibriSpeech/{part}", inside=f"LibriSpeech/{part}")


_FIRST_COMMANDS = _speech_commands("0.01", "743935421bb51cccdb6bdd152e04c5c70274e935c82119ad7faeec31780d811d")
_LIBRISPEECH = {
    part: _librispeech(part, checksum)
    for part, checksum in (
        ("dev-clean", "76f87d090650617fca0cac8f88b9416e0ebf80350acb97b343a85fa903728ab3"),
        ("dev-other", "12661c48e8c3fe1de2c1caa4c3e135193bfb1811584f11f569dd12645aa84365"),
        ("test-clean", "39fde525e59672dc6d1551919b1478f724438a95aa55f874b576be21967e6c23"),
        ("test-other", "d09c181bba5cf717b3dee7d4d592af11a3ee3a09e08ae025c5506f6ebe961c29"),
        ("train-clean-100", "d4ddd1d5a6ab303066f14971d768ee43278a5f2a0aa43dc716b0e64ecbbbf6e2"),
        ("train-clean-360", "146a56496217e96c14334a160df97fffedd6e0a04e66b9c5af0d40be3c792ecf"),
        ("train-other-500", "ddb22f27f96ec163645d53215559df6aa36515f26e01dd70798188350adcb6d2"),
    )
}

# The compressed sizes: Speech Commands 1.5 and 2.4 GB, spoken digits 12 MB, AISHELL-1 15 GB; of LibriSpeech the three
# clean parts that make "librispeech" 7 GB, all seven 60 GB.
REMOTE: dict[str, tuple[RemoteFile, ...]] = {
    "speech_commands": _FIRST_COMMANDS,  # of chapter 7's paper
    "speech_commands_v0.01": _FIRST_COMMANDS,
    "speech_commands_v0.02": _speech_commands(
        "0.02", "af14739ee7dc311471de98f5f9d2c9191b18aedfe957f4a6ff791c709868ff58"
    ),
    "fsdd": (
        RemoteFile(
            ("https://github.com/Jakobovski/free-spoken-digit-dataset/archive/v1.0.9.tar.gz",),
            "8bc44cde129d505cbbb6b365c09f80c663f2aa77578afc634e6141a2f87100c0",
            "fsdd",
            inside="free-spoken-digit-dataset-1.0.9",
        ),
    ),
    "aishell1": (
        RemoteFile(
            tuple(f"{host}/33/data_aishell.tgz" for host in _OPENSLR),
            "2f494334227864a8a8fec932999db9d8",
            "data_aishell",
            inside="data_aishell",
            nested="wav/*.tar.gz",
        ),
    ),
    "librispeech": tuple(_LIBRISPEECH[part] for part in ("train-clean-100", "dev-clean", "test-clean")),
    **{f"librispeech_{part}": (file,) for part, file in _LIBRISPEECH.items()},
}
