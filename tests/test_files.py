"""Writing a file in one instant."""

import os

import pytest

from lib import files
from lib.files import write_whole


def test_text_and_bytes_are_written_and_replaced(tmp_path):
    path = tmp_path / "new" / "folder" / "file.json"
    assert write_whole(path, "Fréchet\n") == path
    assert path.read_bytes() == "Fréchet\n".encode()
    write_whole(path, b"\x00\xff")
    assert path.read_bytes() == b"\x00\xff"
    assert os.listdir(path.parent) == ["file.json"]
    assert path.stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("content", ["half \ud800", "fine"])
def test_a_fault_leaves_the_old_file_and_nothing_beside_it(tmp_path, monkeypatch, content):
    path = tmp_path / "file"
    write_whole(path, "old")

    def full(*_):
        raise OSError("No space left on device")

    monkeypatch.setattr(files.os, "replace", full)
    with pytest.raises((OSError, UnicodeEncodeError)):
        write_whole(path, content)
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["file"]
