"""Error rates against torchaudio's edit distance and against every shortest alignment."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from torchaudio.functional import edit_distance

from lib.errors import UserError
from lib.speech.metrics.errors import ErrorCounts, character_errors, word_errors

CHARACTERS = st.text(alphabet="ab中文", max_size=8)


def shortest_splits(said, heard):
    """All (substitutions, deletions, insertions) of least sum, by dynamic programming over sets."""
    rows = {(0, 0): {(0, 0, 0)}}
    for i in range(len(said) + 1):
        for j in range(len(heard) + 1):
            if i == j == 0:
                continue
            options = set()
            if i and j:
                change = said[i - 1] != heard[j - 1]
                options |= {(s + change, d, n) for s, d, n in rows[i - 1, j - 1]}
            if i:
                options |= {(s, d + 1, n) for s, d, n in rows[i - 1, j]}
            if j:
                options |= {(s, d, n + 1) for s, d, n in rows[i, j - 1]}
            least = min(map(sum, options))
            rows[i, j] = {option for option in options if sum(option) == least}
    return rows[len(said), len(heard)]


@given(CHARACTERS, CHARACTERS)
@settings(deadline=None, max_examples=200)
def test_one_pair_has_a_shortest_alignment(said, heard):
    counts = character_errors([said], [heard])
    assert counts.errors == edit_distance(said, heard)
    assert (counts.substitutions, counts.deletions, counts.insertions) in shortest_splits(said, heard)
    assert counts.length == len(said)


@given(st.lists(st.tuples(CHARACTERS, CHARACTERS), min_size=1, max_size=6))
@settings(deadline=None, max_examples=100)
def test_a_corpus_sums_before_it_divides(pairs):
    said, heard = map(list, zip(*pairs, strict=True))
    counts = character_errors(said, heard)
    assert counts == sum((character_errors([a], [b]) for a, b in pairs), ErrorCounts(0, 0, 0, 0))
    length = sum(map(len, said))
    if length:
        assert counts.rate == sum(edit_distance(a, b) for a, b in pairs) / length
    else:
        with pytest.raises(UserError, match="All references are empty"):
            _ = counts.rate


def test_words_are_parted_by_any_white_space():
    chance = random.Random(0)
    words = ["yes", "no", "up", "down"]
    for _ in range(30):
        said, heard = (chance.choices(words, k=chance.randint(1, 9)) for _ in range(2))
        counts = word_errors([" ".join(said)], ["  " + "\t".join(heard) + "\n"])
        assert (counts.errors, counts.length) == (edit_distance(said, heard), len(said))
        assert (counts.substitutions, counts.deletions, counts.insertions) in shortest_splits(said, heard)


def test_what_counts_by_hand():
    assert character_errors(["甲乙丙丁"], ["甲丙丁戊己"]) == ErrorCounts(0, 1, 2, 4)
    assert character_errors(["甲乙"], [""]) == ErrorCounts(0, 2, 0, 2)
    assert character_errors(["", "甲"], ["乙丙", "甲"]) == ErrorCounts(0, 0, 2, 1)
    assert character_errors(["", "甲"], ["乙丙", "甲"]).rate == 2.0
    assert word_errors(["the cat sat"], ["the hat"]) == ErrorCounts(1, 1, 0, 3)


def test_normalisation_and_spaces_do_what_they_say():
    assert character_errors(["ＡＢ１"], ["AB1"]).errors == 0
    assert character_errors(["ＡＢ１"], ["AB1"], normalisation="NFC").errors == 3
    assert character_errors(["e\u0301"], ["é"], normalisation="NFC").errors == 0
    assert character_errors(["e\u0301"], ["é"], normalisation="none").errors == 2
    assert character_errors(["我 们"], ["我们"]).errors == 0
    assert character_errors(["我\u3000们"], ["我们"]).length == 2
    assert character_errors(["我 们"], ["我们"], spaces=True) == ErrorCounts(0, 1, 0, 3)
    assert character_errors(["Yes."], ["yes"]).errors == 2
    assert word_errors(["ｙｅｓ"], ["yes"]).errors == 0


@pytest.mark.parametrize("measure", [character_errors, word_errors])
def test_bad_input_is_one_sentence(measure):
    for said, heard, sentence in (
        (["a"], [], "1 references and 0 hypotheses"),
        ([], [], "no texts"),
        ("abc", "abc", "lists of texts"),
        ([None], ["a"], "lists of texts"),
    ):
        with pytest.raises(UserError, match=sentence):
            measure(said, heard)
    with pytest.raises(UserError, match="choose one of NFKC, NFC, none"):
        measure(["a"], ["a"], normalisation="NFKD")
