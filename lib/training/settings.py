"""Single settings of a configuration, changed from the command line."""

import json
from collections.abc import Iterable
from copy import deepcopy
from typing import Any

from lib.errors import UserError


def changed(values: dict[str, Any], assignments: Iterable[str], what: str) -> dict[str, Any]:
    """A copy of a configuration, as nested dictionaries, with some values replaced.

    assignments   such as `network.graph.scaled=false`: the path of a setting, and its value in JSON; a word needs no
                  quotes
    what          whose settings they are, for the error message: "preset 'scaled'"

    Raises UserError for a path that leads to no setting.
    """
    values = deepcopy(values)
    for assignment in assignments:
        path, equals, text = assignment.partition("=")
        if not equals:
            raise UserError(f"'{assignment}' sets nothing: write it as NAME=VALUE, such as seed=3.")
        place, *parents, name = values, *path.split(".")
        for parent in parents:
            place = place.get(parent) if isinstance(place, dict) else None
        if not isinstance(place, dict) or name not in place:
            known = (
                f"choose one of {', '.join(place)}" if isinstance(place, dict) else "nothing lies below it in this run"
            )
            raise UserError(f"'{path}' is no setting of {what}: {known}.")
        try:
            place[name] = json.loads(text)
        except ValueError:
            place[name] = text
    return values
