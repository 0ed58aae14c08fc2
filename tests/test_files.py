"""Writing a file in one instant."""

import os
from pathlib import Path

import pytest

from lib import files
from lib.errors import UserError
from lib.files import cache_root, write_whole


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


def test_the_cache_is_where_it_is_wanted(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "shared"))
    monkeypatch.setenv("BOOK_CACHE", str(tmp_path / "own"))
    assert cache_root() == tmp_path / "own"
    monkeypatch.setenv("BOOK_CACHE", "~/own")
    assert cache_root() == tmp_path / "home" / "own"
    monkeypatch.setenv("BOOK_CACHE", "own")
    assert cache_root() == Path.cwd() / "own"
    for nothing in (lambda: monkeypatch.setenv("BOOK_CACHE", ""), lambda: monkeypatch.delenv("BOOK_CACHE")):
        nothing()
        assert cache_root() == tmp_path / "shared" / "papers-that-run"
    for nothing in ("", "relative"):
        monkeypatch.setenv("XDG_CACHE_HOME", nothing)
        assert cache_root() == tmp_path / "home" / ".cache" / "papers-that-run"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_root() == tmp_path / "home" / ".cache" / "papers-that-run"
    assert not any(tmp_path.iterdir())


def test_a_cache_in_the_home_of_nobody_is_one_sentence(monkeypatch):
    monkeypatch.setenv("BOOK_CACHE", "~nobody-of-that-name/cache")
    with pytest.raises(UserError, match="write the path out"):
        cache_root()
