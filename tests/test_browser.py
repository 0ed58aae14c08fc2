"""How the tests find their browser."""

import pytest

from tests.browser import chromium


@pytest.fixture
def programs(tmp_path, monkeypatch):
    """Makes programs in the only folder that is searched."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("BOOK_CHROMIUM", raising=False)

    def make(name: str) -> str:
        program = tmp_path / name
        program.touch(mode=0o755)
        return str(program)

    return make


def test_the_browser_asked_for_comes_first(programs, monkeypatch):
    usual, other = programs("google-chrome"), programs("other")
    assert chromium() == usual
    monkeypatch.setenv("BOOK_CHROMIUM", other)
    assert chromium() == other


def test_without_a_browser_one_sentence_says_how_to_get_it(programs):
    with pytest.raises(pytest.fail.Exception, match=r"need Chromium: install it .* or set BOOK_CHROMIUM"):
        chromium()
