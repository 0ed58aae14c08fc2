"""Fetching from a server on this machine that cuts connections, ignores what it is asked, or sends something else."""

import hashlib
import http.server
import io
import random
import re
import shutil
import tarfile
import threading
from collections import Counter

import pytest

from lib import downloads
from lib.downloads import RemoteFile, check, data_root, find, get
from lib.errors import UserError

PAYLOAD = random.Random(0).randbytes(700_000)
SHA256, MD5 = hashlib.sha256(PAYLOAD).hexdigest(), hashlib.md5(PAYLOAD).hexdigest()


def tar_of(members, mode="w:gz"):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as bundle:
        for name, content in members.items():
            entry = tarfile.TarInfo(name)
            if content is None:
                entry.type, entry.linkname = tarfile.SYMTYPE, "/etc/passwd"
            entry.size = len(content or b"")
            bundle.addfile(entry, io.BytesIO(content or b""))
    return buffer.getvalue()


class Server:
    """What the server holds, how it behaves, and what it was asked for."""

    def __init__(self):
        self.files = {"/data.bin": PAYLOAD}
        self.asked: list[tuple[str, str]] = []  # path and Range
        self.cuts: list[int] = []  # so many bytes of the first, second, ... answer, then the connection breaks
        self.ignores_range = False

    def answer(self, handler):
        wanted = handler.headers.get("Range", "")
        self.asked.append((handler.path, wanted))
        content = self.files.get(handler.path)
        if content is None:
            handler.send_error(404)
            return
        start = 0
        if wanted and not self.ignores_range:
            start = int(re.fullmatch(r"bytes=(\d+)-", wanted)[1])
            if start >= len(content):
                handler.send_response(416)
                handler.send_header("Content-Range", f"bytes */{len(content)}")
                handler.send_header("Content-Length", "0")
                handler.end_headers()
                return
            handler.send_response(206)
            handler.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        else:
            handler.send_response(200)
        handler.send_header("Content-Length", str(len(content) - start))
        handler.end_headers()
        cut = self.cuts.pop(0) if self.cuts else None
        handler.wfile.write(content[start:] if cut is None else content[start : start + cut])
        if cut is not None:
            handler.close_connection = True


@pytest.fixture
def server():
    state = Server()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            state.answer(self)

        def log_message(self, *_arguments):
            pass

    running = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    state.url = f"http://127.0.0.1:{running.server_port}"
    yield state
    running.shutdown()
    running.server_close()


@pytest.fixture
def root(tmp_path, monkeypatch):
    (tmp_path / "data").mkdir()
    monkeypatch.setenv("BOOK_DATA", str(tmp_path / "data"))
    monkeypatch.setattr(downloads, "PIECE", 50)
    return tmp_path / "data"


def one(server, checksum=SHA256, name="data.bin", path="set/data.bin", **how):
    return {"set": (RemoteFile((f"{server.url}/{name}",), checksum, path, **how),)}


def there(root):
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())


@pytest.mark.parametrize("checksum", [SHA256, MD5])
def test_a_cut_connection_is_taken_up_where_it_broke(root, server, checksum):
    server.cuts = [300_000, 100_000]
    assert get("set", one(server, checksum)) == [root / "set" / "data.bin"]
    assert (root / "set" / "data.bin").read_bytes() == PAYLOAD
    assert there(root) == ["set/data.bin"]
    assert [wanted for _, wanted in server.asked] == ["", "bytes=300000-", "bytes=400000-"]
    assert [found.verdict for found in check("set", one(server, checksum))] == ["ok"]


def test_what_arrived_is_kept_for_the_next_try(root, server):
    server.cuts = [300_000, 0]  # the second connection brings nothing: we give up
    with pytest.raises(UserError, match=r"cannot be reached.*What has arrived is kept"):
        get("set", one(server))
    assert there(root) == ["set/data.bin.part"]
    assert (root / "set" / "data.bin.part").read_bytes() == PAYLOAD[:300_000]
    get("set", one(server))
    assert server.asked[-1][1] == "bytes=300000-"
    assert (root / "set" / "data.bin").read_bytes() == PAYLOAD
    assert there(root) == ["set/data.bin"]


def test_a_server_that_ignores_the_range_sends_it_anew(root, server):
    server.cuts, server.ignores_range = [300_000], True
    get("set", one(server))
    assert (root / "set" / "data.bin").read_bytes() == PAYLOAD
    assert [wanted for _, wanted in server.asked] == ["", "bytes=300000-"]


def test_a_server_that_ignores_the_range_and_always_cuts_does_not_keep_us_for_ever(root, server):
    server.cuts, server.ignores_range = [300_000] * 50, True
    with pytest.raises(UserError, match="cannot be reached"):
        get("set", one(server))
    assert len(server.asked) == 2


@pytest.mark.parametrize("size", [len(PAYLOAD) - 5, len(PAYLOAD), len(PAYLOAD) + 5])
def test_the_half_of_another_file_is_thrown_away(root, server, size):
    (root / "set").mkdir()
    (root / "set" / "data.bin.part").write_bytes(bytes(size))
    get("set", one(server))
    assert (root / "set" / "data.bin").read_bytes() == PAYLOAD
    assert server.asked[-1][1] == ""


def test_a_download_that_was_whole_needs_no_byte_more(root, server):
    (root / "set").mkdir()
    (root / "set" / "data.bin.part").write_bytes(PAYLOAD)
    get("set", one(server))
    assert server.asked == [("/data.bin", f"bytes={len(PAYLOAD)}-")]
    assert there(root) == ["set/data.bin"]


def test_a_wrong_checksum_is_not_kept(root, server):
    with pytest.raises(UserError, match=r"data\.bin gave a file with a wrong checksum"):
        get("set", one(server, "0" * 64))
    assert there(root) == []
    assert len(server.asked) == 1


def test_without_a_checksum_no_halves_are_joined(root, server):
    remote = one(server, "")
    server.cuts = [300_000]
    with pytest.raises(UserError, match=r"cannot be reached \(.*\)\. Try again later.*BOOK_DATA\.$"):
        get("set", remote)
    assert there(root) == []
    (root / "set" / "data.bin.part").write_bytes(PAYLOAD[:100])  # left by Ctrl-C
    get("set", remote)
    assert [wanted for _, wanted in server.asked] == ["", ""]
    assert (root / "set" / "data.bin").read_bytes() == PAYLOAD
    assert [found.verdict for found in check("set", remote)] == ["unchecked"]


def test_an_answer_that_is_no_file_is_told(root, server):
    remote = {"set": (RemoteFile((f"{server.url}/gone", "http://127.0.0.1:9/x"), SHA256, "set/data.bin"),)}
    with pytest.raises(UserError, match=r"gone answers 404; http://127\.0\.0\.1:9/x cannot be reached"):
        get("set", remote)
    assert there(root) == []


def test_too_small_a_disk_is_told_before_it_is_full(root, server, monkeypatch):
    usage = shutil.disk_usage(root)._replace(free=1_000)
    monkeypatch.setattr(downloads.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(UserError, match="make room"):
        get("set", one(server))
    assert there(root) == []


MEMBERS = {
    "./top/yes/1.wav": b"one",
    "./top/deep/er/2.wav": b"two",
    "./top/link": None,
    "./other/3.wav": b"three",
    "./LICENSE": b"text",
}


@pytest.mark.parametrize(
    ("inside", "expected"),
    [
        ("top", ["SHA256SUMS", "deep/er/2.wav", "yes/1.wav"]),
        ("", ["LICENSE", "SHA256SUMS", "other/3.wav", "top/deep/er/2.wav", "top/yes/1.wav"]),
    ],
)
def test_a_whole_archive_becomes_a_folder_with_sums(root, server, inside, expected):
    archive = server.files["/set.tar.gz"] = tar_of(MEMBERS)
    server.cuts = [50]
    remote = one(server, hashlib.sha256(archive).hexdigest(), "set.tar.gz", "sets/mine", inside=inside)
    assert [found.verdict for found in check("set", remote)] == ["missing"]
    assert get("set", remote) == [root / "sets" / "mine"]
    assert there(root) == [f"sets/mine/{name}" for name in expected]
    get("set", remote)
    assert len(server.asked) == 2, "what is there is left alone"
    assert Counter(found.verdict for found in check("set", remote)) == {"ok": len(expected) - 1}
    next((root / "sets" / "mine").rglob("1.wav")).write_bytes(b"won")
    assert Counter(found.verdict for found in check("set", remote))["wrong"] == 1


def test_archives_in_an_archive_are_unpacked_where_they_lie(root, server):
    inner = {f"d/wav/S{number}.tar.gz": tar_of({f"train/S{number}/1.wav": b"x"}) for number in (1, 2)}
    archive = server.files["/set.tgz"] = tar_of({**inner, "d/text.txt": b"words"})
    md5 = hashlib.md5(archive).hexdigest()
    get("set", one(server, md5, "set.tgz", "d", inside="d", nested="wav/*.tar.gz"))
    assert there(root / "d") == ["SHA256SUMS", "text.txt", "wav/train/S1/1.wav", "wav/train/S2/1.wav"]


def cut_archive():
    return tar_of({"top/1": PAYLOAD})[:-5_000]


BAD = {
    "outside": (tar_of({"top/a": b"a", "../evil": b"e"}), "", "nothing was kept"),
    "far outside": (tar_of({"top/a": b"a", "../../../evil": b"e"}), "", "nothing was kept"),
    "another folder": (tar_of({"a/b": b"a"}), "top", "no folder top"),
    "no archive": (b"no archive", "top", "cannot be unpacked"),
    "cut": (tar_of({"top/1": PAYLOAD})[:-5_000], "top", "cannot be unpacked"),
    "outside of the inner": (tar_of({"top/in.tar.gz": tar_of({"../../../e": b"e"})}), "top", "nothing was kept"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_archive_leaves_nothing_and_never_leaves_its_folder(root, server, case):
    archive, inside, message = BAD[case]
    server.files["/set.tgz"] = archive
    md5 = hashlib.md5(archive).hexdigest()
    with pytest.raises(UserError, match=message):
        get("set", one(server, md5, "set.tgz", "a/b/c", inside=inside, nested="**/*.tar.gz"))
    assert there(root.parent) == []


def test_a_folder_of_the_readers_own_is_left_alone(root, server):
    (root / "mine").mkdir()
    (root / "mine" / "1.wav").write_bytes(b"x")
    remote = one(server, SHA256, path="mine", inside="")
    assert get("set", remote) == [root / "mine"]
    assert server.asked == []
    assert [found.verdict for found in check("set", remote)] == ["unchecked"]


def test_stopping_while_unpacking_keeps_the_archive(root, server, monkeypatch):
    archive = server.files["/set.tgz"] = tar_of({"top/a": b"a"})
    remote = one(server, hashlib.md5(archive).hexdigest(), "set.tgz", "mine", inside="top")

    def stop(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(downloads, "_write_sums", stop)
        with pytest.raises(KeyboardInterrupt):
            get("set", remote)
    assert there(root) == ["set.tgz.part"]
    get("set", remote)
    assert there(root) == ["mine/SHA256SUMS", "mine/a"]


def test_sums_that_are_no_text_are_one_sentence(root):
    (root / "mine").mkdir()
    (root / "mine" / "SHA256SUMS").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="no UTF-8 text"):
        check("mine", {})
    with pytest.raises(UserError, match="No data set called 'yours' can be fetched"):
        check("yours", {})


def test_where_sets_lie(root, monkeypatch):
    (root / "b").mkdir()
    assert find({"one": ("a", "b"), "two": ("c",)}) == {"one": root / "b", "two": None}
    monkeypatch.setenv("BOOK_DATA", str(root / "gone"))
    assert find({"one": ("a", "b")}) == {"one": None}
    with pytest.raises(UserError, match="which is no folder"):
        data_root()
