"""From cards to commands: what is listed, described, refused, and how flags become options."""

import itertools
import json
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib.cli.systems import spread
from lib.papers import load_cards


def test_the_list_has_one_line_for_each_card_and_says_what_runs(papers):
    found = papers("list")
    lines = found.out.splitlines()
    assert found.code == 0
    assert [line.split()[1] for line in lines] == [card.id for card in load_cards()]
    assert "runs here" in lines[0]
    assert "Catch-Up Distillation" in lines[0]


def test_list_and_help_do_not_wait_for_torch():
    code = (
        "import sys; from lib.cli.app import run; "
        "codes = [run(words.split()) for words in ('list', '', '--help', 'train --help', 'nonsense')]; "
        "sys.exit(str(codes) + str('torch' in sys.modules))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert found.stderr.splitlines()[-1] == "[0, 0, 0, 0, 2]False"
    assert "reproduce" in found.stdout


@pytest.mark.parametrize(
    ("preset", "count"), [("mnist", 2_155_201), ("cifar10", 55_732_739), ("imagenet64", 295_899_267)]
)
def test_describe_counts_what_the_paper_counts(papers, preset, count):
    found = papers("describe", "cud", "--preset", preset, "--json")
    (row,) = json.loads(found.out)["presets"]
    assert (row["parameters"], row["paper_parameters"]) == (count, count)
    assert row["multiplies"] > count
    assert row["config"]["name"] == preset


def test_describe_shows_all_presets_beside_each_other(papers):
    text = papers("describe", "cud").out
    for word in ("toy", "scaled", "2,155,201", "55,732,739", "295,899,267"):
        assert word in text


@pytest.mark.parametrize("verb", ["train", "evaluate", "sample"])
def test_each_verb_lists_its_flags(papers, verb):
    found = papers(verb, "cud", "--help")
    assert found.code == 0
    assert "--seed" in found.out
    assert ("--nfe" in found.out) == (verb != "train")


def test_a_list_flag_takes_values_in_every_form():
    flags = {"--nfe"}
    expected = ["--json", "--nfe", "1", "--nfe", "2", "--nfe", "4", "--seed", "3"]
    assert spread(["--json", "--nfe", "1", "2", "4", "--seed", "3"], flags) == expected
    assert spread(["--json", "--nfe", "1,2,4", "--seed", "3"], flags) == expected
    assert spread(["--json", "--nfe=1", "--nfe", "2,4", "--seed", "3"], flags) == expected
    assert spread(["--json", "--nfe=1,2", "4", "--seed", "3"], flags) == expected
    assert spread(["--nfe", "second_session.stages=[1,2]"], flags) == ["--nfe", "second_session.stages=[1,2]"]
    assert spread(["--nfe", "-1"], flags) == ["--nfe", "-1"]  # a number below zero is a value, not a flag
    assert spread(["--nfe", "--json"], flags) == ["--nfe", "--json"]
    assert spread(["--json", "--nfe"], flags) == ["--json", "--nfe"]


@given(st.lists(st.lists(st.integers(-9, 99), min_size=1), max_size=4), st.booleans())
def test_spreading_keeps_every_value_in_its_order(groups, commas):
    words = []
    for group in groups:
        values = [str(value) for value in group]
        words += ["--nfe", *([",".join(values)] if commas else values), "--json"]
    result = spread(words, {"--nfe"})
    flat = [str(value) for group in groups for value in group]
    assert [value for flag, value in itertools.pairwise(result) if flag == "--nfe"] == flat
    assert result.count("--nfe") == len(flat)
    assert result.count("--json") == len(groups)
