"""Downloads from a server on this machine: whole and checked, or not kept at all."""

import hashlib
import http.server
import io
import tarfile
import threading

import pytest

from lib.errors import UserError
from lib.vision import download
from lib.vision.download import RemoteFile, check, found_sets, get

PAYLOAD = b"the images" * 100
MD5 = hashlib.md5(PAYLOAD).hexdigest()


def tar_of(members):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as bundle:
        for name, content in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            bundle.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


ARCHIVE = tar_of({"set/a.bin": b"first", "set/b.bin": b"second", "../evil.bin": b"outside"})


@pytest.fixture
def server():
    """A server on 127.0.0.1 and the list of what it was asked for."""
    asked = []
    files = {"/data.gz": PAYLOAD, "/set.tar.gz": ARCHIVE, "/wrong.gz": b"another file"}

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            content = files.get(self.path)
            self.send_response(200 if content is not None else 404)
            self.send_header("Content-Length", str(len(content or b"")))
            self.end_headers()
            self.wfile.write(content or b"")

        def log_message(self, *_arguments):
            pass

    running = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=running.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{running.server_port}", asked
    running.shutdown()
    running.server_close()


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setenv("BOOK_DATA", str(tmp_path))
    return tmp_path


def remote(monkeypatch, *files):
    monkeypatch.setitem(download.REMOTE, "mnist", files)


def test_a_file_is_fetched_once(root, server, monkeypatch):
    address, asked = server
    remote(monkeypatch, RemoteFile((f"{address}/data.gz",), MD5, "mnist/data.gz"))
    assert [one.verdict for one in check("mnist")] == ["missing"]
    assert get("mnist") == [root / "mnist" / "data.gz"]
    assert (root / "mnist" / "data.gz").read_bytes() == PAYLOAD
    get("mnist")
    assert asked == ["/data.gz"]
    assert [one.verdict for one in check("mnist")] == ["ok"]
    assert [path.name for path in (root / "mnist").iterdir()] == ["data.gz"]


def test_a_damaged_file_is_fetched_again(root, server, monkeypatch):
    remote(monkeypatch, RemoteFile((f"{server[0]}/data.gz",), MD5, "mnist/data.gz"))
    (root / "mnist").mkdir()
    (root / "mnist" / "data.gz").write_bytes(PAYLOAD[:50])
    assert [one.verdict for one in check("mnist")] == ["wrong"]
    get("mnist")
    assert [one.verdict for one in check("mnist")] == ["ok"]


def test_the_second_address_helps_when_the_first_fails(root, server, monkeypatch):
    address, _ = server
    urls = (f"{address}/gone.gz", f"{address}/wrong.gz", f"{address}/data.gz")
    remote(monkeypatch, RemoteFile(urls, MD5, "mnist/data.gz"))
    get("mnist")
    assert (root / "mnist" / "data.gz").read_bytes() == PAYLOAD


def test_a_wrong_checksum_and_no_server_leave_nothing_behind(root, server, monkeypatch):
    urls = (f"{server[0]}/wrong.gz", "http://127.0.0.1:9/data.gz")
    remote(monkeypatch, RemoteFile(urls, MD5, "mnist/data.gz"))
    with pytest.raises(UserError, match=r"wrong checksum.*cannot be reached.*put it at mnist/data\.gz"):
        get("mnist")
    assert list((root / "mnist").iterdir()) == []


def test_an_archive_gives_its_named_members_and_nothing_else(root, server, monkeypatch):
    address, asked = server
    md5 = hashlib.md5(ARCHIVE).hexdigest()
    remote(monkeypatch, RemoteFile((f"{address}/set.tar.gz",), md5, "set", unpack=("set/a.bin", "set/b.bin")))
    (root / "set").mkdir()
    (root / "set" / "a.bin").write_bytes(b"left by a stopped run")
    assert get("mnist") == [root / "set"]
    assert sorted(path.name for path in root.rglob("*")) == ["a.bin", "b.bin", "set"]
    assert (root / "set" / "a.bin").read_bytes() == b"first"
    get("mnist")
    assert asked == ["/set.tar.gz"]
    assert [one.verdict for one in check("mnist")] == ["unchecked", "unchecked"]


def test_an_archive_without_a_member_keeps_nothing(root, server, monkeypatch):
    md5 = hashlib.md5(ARCHIVE).hexdigest()
    remote(monkeypatch, RemoteFile((f"{server[0]}/set.tar.gz",), md5, "set", unpack=("set/a.bin", "set/z.bin")))
    with pytest.raises(UserError, match=r"no file set/z\.bin"):
        get("mnist")
    assert list(root.iterdir()) == []


def test_listed_sums_are_checked(root):
    folder = root / "anything"
    folder.mkdir()
    for name in ("a", "b"):
        (folder / name).write_bytes(name.encode())
    digest = hashlib.sha256(b"a").hexdigest()
    (folder / "SHA256SUMS").write_text(f"{digest}  a\n{digest}  b\n{digest} *c\n")
    assert [(one.path.name, one.verdict) for one in check("anything")] == [
        ("a", "ok"),
        ("b", "wrong"),
        ("c", "missing"),
    ]
    (folder / "SHA256SUMS").write_text("nonsense\n")
    with pytest.raises(UserError, match="line 1"):
        check("anything")


def test_unknown_names_and_no_root_are_one_sentence(root, monkeypatch):
    for verb in (get, check):
        with pytest.raises(UserError, match="choose one of mnist, fashion_mnist, cifar10"):
            verb("imagenet")
        with pytest.raises(UserError, match="choose one of"):
            verb("../etc")
    (root / "MNIST" / "raw").mkdir(parents=True)
    assert found_sets() == {"mnist": root / "MNIST" / "raw", "fashion_mnist": None, "cifar10": None}
    monkeypatch.delenv("BOOK_DATA")
    assert set(found_sets().values()) == {None}
    with pytest.raises(UserError, match="BOOK_DATA is not set"):
        get("mnist")


def test_the_known_sums_are_torchvisions():
    from torchvision.datasets import MNIST, FashionMNIST

    for name, theirs in (("mnist", MNIST), ("fashion_mnist", FashionMNIST)):
        assert [(file.path.split("/")[1], file.checksum) for file in download.REMOTE[name]] == theirs.resources
