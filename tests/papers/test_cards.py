"""The cards in `seeds/`, and each way in which a card can be bad."""

import copy
import itertools
import re
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from lib.errors import UserError
from lib.papers import SEEDS, Claim, ClaimTest, claim, load_card, load_cards

PACKAGES = ["cud", "hqnas", "faqs", "dmsc", "stbd", "thuee", "cenet"]  # the design's, in the order of chapters
CUD_CLAIMS = {
    "cud-15-nfe",
    "cud-one-step",
    "few-steps-2d",
    "few-steps-digits",
    "straightening-order",
    "second-session",
    "one-step-needs-second-session",
    "rk-order",
    "peers-at-equal-compute",
}
GOOD = yaml.safe_load((SEEDS / "cud.yml").read_text(encoding="utf-8"))


def write_card(folder: Path, fields, name: str = "cud.yml") -> Path:
    path = folder / name
    path.write_text(fields if isinstance(fields, str) else yaml.safe_dump(fields, allow_unicode=True), encoding="utf-8")
    return path


def message_of(folder: Path, system: str = "cud") -> str:
    with pytest.raises(UserError) as caught:
        load_card(system, folder)
    message = str(caught.value)
    assert "\n" not in message
    assert message.endswith(".")
    return message


def changed(*path, to):
    """The good card with the field at `path` set to `to`."""
    fields = copy.deepcopy(GOOD)
    place = fields
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = to
    return fields


def test_the_book_has_the_seven_cards_of_the_design_in_chapter_order():
    cards = load_cards()
    assert [card.id for card in cards] == PACKAGES
    assert [card.chapter for card in cards] == [1, 2, 3, 4, 5, 6, 7]
    assert [card.package for card in cards] == [f"lib.{name}" for name in PACKAGES]
    assert sorted(path.stem for path in SEEDS.glob("*.yml")) == sorted(PACKAGES)


@pytest.mark.parametrize("system", PACKAGES)
def test_card_says_what_a_reader_needs(system):
    card = load_card(system)
    sentences = re.findall(r"[.!?](?:\s|$)", card.problem)
    assert len(sentences) == 2, card.problem
    assert {data.kind for data in card.data_sets} == {"embedded", "real"}
    assert "scaled" in card.presets
    assert len(card.claims) >= 3
    # A claim that the paper puts in figures says where; one that is ours says so and gives none.
    for one in card.claims:
        assert one.sentence.endswith("."), one.id
        if one.figure is not None:
            assert one.place is not None, one.id
            assert one.evidence != "derived", one.id
    # Something can be measured on a laptop.
    assert any(one.test.preset in ("toy", "scaled") for one in card.claims)


def test_cud_has_the_agreed_claims_with_the_figures_of_the_abstract():
    card = load_card("cud")
    assert {one.id for one in card.claims} >= CUD_CLAIMS
    assert (card.claim("cud-15-nfe").figure, card.claim("cud-15-nfe").evidence) == (2.80, "abstract")
    assert (card.claim("cud-one-step").figure, card.claim("cud-one-step").evidence) == (3.37, "abstract")
    assert claim("cud", "rk-order").figure is None
    assert set(card.presets) == {"toy", "scaled", "mnist", "cifar10", "imagenet64"}


def test_cards_are_frozen():
    card = load_card("cud")
    with pytest.raises(ValidationError):
        card.title = "Another"


def test_folder_can_be_given_and_a_good_card_read_from_it(tmp_path):
    write_card(tmp_path, changed("title", to="Another title"))
    assert load_card("cud", tmp_path).title == "Another title"
    assert [card.id for card in load_cards(str(tmp_path))] == ["cud"]


BAD = {
    "missing field": ({k: v for k, v in GOOD.items() if k != "venue"}, "venue is missing"),
    "unknown field": (GOOD | {"tittle": "x"}, "tittle is not a field"),
    "unknown nested field": (changed("claims", 2, "test", "metrik", to="x"), "claims[2].test.metrik"),
    "year as text": (GOOD | {"year": "2023"}, "year"),
    "year as truth": (GOOD | {"year": True}, "year"),
    "figure as text": (changed("claims", 0, "figure", to="2.80"), "claims[0].figure"),
    "figure not finite": (changed("claims", 0, "figure", to=float("nan")), "claims[0].figure"),
    "figure without unit": (changed("claims", 0, "unit", to=None), "unit is missing"),
    "claims not a list": (GOOD | {"claims": "none"}, "claims"),
    "no claims": (GOOD | {"claims": []}, "claims"),
    "empty sentence": (changed("claims", 1, "sentence", to="  "), "claims[1].sentence"),
    "claim id with a space": (changed("claims", 1, "id", to="one step"), "claims[1].id"),
    "duplicate claim id": (changed("claims", 1, "id", to="cud-15-nfe"), "'cud-15-nfe' twice"),
    "unknown evidence": (changed("claims", 1, "evidence", to="hearsay"), "claims[1].evidence"),
    "unknown direction": (changed("claims", 1, "test", "direction", to="up"), "claims[1].test.direction"),
    "three things compared": (changed("claims", 1, "test", "comparison", to=["a", "b", "c"]), "comparison"),
    "preset not named": (changed("claims", 1, "test", "preset", to="huge"), "'huge'"),
    "margin not a number": (changed("claims", 1, "test", "margin", "value", to="small"), "margin.value"),
    "chapter out of range": (GOOD | {"chapter": 8}, "chapter"),
    "arXiv number wrong": (changed("identifier", "arxiv", to="2305"), "identifier.arxiv"),
    "found nowhere": (GOOD | {"identifier": {"arxiv": None, "doi": None, "note": None}}, "identifier"),
    "foreign package": (GOOD | {"package": "lib.hqnas"}, "package"),
    "data kind": (changed("data_sets", 0, "kind", to="fake"), "data_sets[0].kind"),
    "a list instead of fields": ("- a\n- b\n", "cud.yml"),
    "empty file": ("", "cud.yml"),
    "broken YAML": ("id: [cud\ntitle: x\n", "not readable YAML at line 2"),
    "a tab": ("id: cud\n\ttitle: x\n", "not readable YAML"),
    "impossible date": ("id: cud\nyear: 2023-99-99\n", "not readable YAML"),
    "a key twice": ("id: cud\nyear: 2023\nyear: 2024\n", "year is given twice (line 3)"),
    "an object of Python": ("id: !!python/object/apply:os.system ['true']\n", "not readable YAML"),
}


@pytest.mark.parametrize(("fields", "named"), BAD.values(), ids=BAD)
def test_bad_card_gets_one_sentence_with_file_and_field(tmp_path, fields, named):
    write_card(tmp_path, fields)
    message = message_of(tmp_path)
    assert "cud.yml" in message
    assert named in message
    with pytest.raises(UserError):
        load_cards(tmp_path)


def test_id_must_be_the_file_name(tmp_path):
    write_card(tmp_path, GOOD, "hqnas.yml")
    assert "id is 'cud'" in message_of(tmp_path, "hqnas")


def test_file_must_be_utf8_text(tmp_path):
    (tmp_path / "cud.yml").write_bytes("title: Größe".encode("latin-1"))
    assert "UTF-8" in message_of(tmp_path)


def test_two_cards_cannot_share_a_chapter(tmp_path):
    write_card(tmp_path, GOOD)
    write_card(tmp_path, GOOD | {"id": "hqnas", "package": "lib.hqnas"}, "hqnas.yml")
    with pytest.raises(UserError, match=r"hqnas\.yml: chapter is 1, but cud\.yml has"):
        load_cards(tmp_path)


@pytest.mark.parametrize("system", ["cut", "../cud", "", "cud.yml", "CUD"])
def test_unknown_system_is_told_the_known_ones(system):
    with pytest.raises(UserError, match="cenet, cud, dmsc, faqs, hqnas, stbd, thuee"):
        load_card(system)


def test_unknown_claim_is_told_the_known_ones():
    with pytest.raises(UserError, match=r"no claim 'speed'.*rk-order"):
        claim("cud", "speed")


def test_folder_without_cards(tmp_path):
    with pytest.raises(UserError, match="holds no card"):
        load_cards(tmp_path / "nowhere")


def _paths(value, path=()):
    """Every path to a required field of the card, but not into `presets`, whose names are free."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if key != "decimals":
                yield (*path, key)
            if key != "presets":
                yield from _paths(inner, (*path, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _paths(inner, (*path, index))


@settings(max_examples=40, deadline=None)
@given(path=st.sampled_from(list(_paths(GOOD))), misspelt=st.booleans())
def test_every_field_is_required_and_no_misspelling_passes(tmp_path_factory, path, misspelt):
    fields = copy.deepcopy(GOOD)
    place = fields
    for step in path[:-1]:
        place = place[step]
    value = place.pop(path[-1])
    if misspelt:
        place[path[-1] + "s"] = value
    folder = tmp_path_factory.mktemp("card")
    write_card(folder, fields)
    message = message_of(folder)
    assert "cud.yml" in message
    assert path[-1] in message


def a_test(direction: str, kind: str, value: float, count: int = 2) -> ClaimTest:
    return ClaimTest.model_validate(
        {
            "metric": "m",
            "comparison": [f"thing {index}" for index in range(count)],
            "data": "d",
            "preset": "toy",
            "direction": direction,
            "margin": {"kind": kind, "value": value, "words": "w"},
        }
    )


@pytest.mark.parametrize(
    ("direction", "kind", "value", "values", "holds"),
    [
        ("lower", "ratio", 0.9, [0.89, 1.0], True),
        ("lower", "ratio", 0.9, [0.91, 1.0], False),
        ("lower", "difference", 0.2, [3.0, 2.8], True),
        ("lower", "difference", 0.2, [3.1, 2.8], False),
        ("higher", "ratio", 3, [3.1, 1.0], True),
        ("higher", "ratio", 3, [2.9, 1.0], False),
        ("higher", "difference", -0.7, [71.4, 72.0], True),
        ("higher", "difference", -0.7, [71.2, 72.0], False),
        ("equal", "difference", 0.05, [16.24, 16.2], True),
        ("equal", "difference", 0.05, [16.3, 16.2], False),
        ("equal", "difference", 0, [512, 512], True),
        ("equal", "ratio", 1.05, [1.86, 1.95], True),
        ("equal", "ratio", 1.05, [2.68, 1.95], False),
        ("lower", "ratio", 0.9, [float("nan"), 1.0], False),
        ("higher", "ratio", 0.9, [float("inf"), 1.0], False),
    ],
)
def test_margin_by_hand(direction, kind, value, values, holds):
    assert a_test(direction, kind, value).holds(values) is holds


positive = st.floats(1e-3, 1e3)


@given(values=st.lists(positive, min_size=2, max_size=6), ratio=st.floats(0.5, 1.0))
def test_falling_is_each_pair_lower_than_the_one_before(values, ratio):
    pairs = itertools.pairwise(values)
    test = a_test("lower", "ratio", ratio)
    expected = all(test.holds([later, earlier]) for earlier, later in pairs)
    assert a_test("falling", "ratio", ratio, len(values)).holds(values) is expected


@given(first=positive, second=positive, value=st.floats(0.1, 3))
def test_lower_and_higher_share_their_bound_and_only_that(first, second, value):
    lower, higher = a_test("lower", "ratio", value), a_test("higher", "ratio", value)
    assert lower.holds([first, second]) or higher.holds([first, second])
    if lower.holds([first, second]) and higher.holds([first, second]):
        assert first == second * value


def test_wrong_count_of_values_is_refused():
    with pytest.raises(UserError, match="compares 2 things"):
        a_test("lower", "ratio", 1).holds([1.0])


def test_a_claim_refuses_an_unknown_field_directly():
    fields = load_card("cud").claims[0].model_dump()
    assert Claim.model_validate(fields).id == "cud-15-nfe"
    with pytest.raises(ValidationError, match="Extra inputs"):
        Claim.model_validate(fields | {"figures": 2.8})
