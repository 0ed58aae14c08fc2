"""Settings changed from the command line."""

import pytest

from lib.errors import UserError
from lib.training.settings import changed


def test_values_are_json_or_words_and_the_original_stays():
    values = {"network": {"width": 3, "kind": "a"}, "seed": 1}
    found = changed(values, ["network.width=5", "network.kind=learned", "seed=null"], "the run")
    assert found == {"network": {"width": 5, "kind": "learned"}, "seed": None}
    assert values["network"]["width"] == 3


@pytest.mark.parametrize("assignment", ["network.depth=3", "depth=3", "seed", "seed.x=3", "network.width.x=1"])
def test_a_path_to_nothing_is_refused(assignment):
    with pytest.raises(UserError):
        changed({"network": {"width": 3}, "seed": 1}, [assignment], "the run")
