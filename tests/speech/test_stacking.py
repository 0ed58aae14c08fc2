"""Frames side by side, against a loop."""

import pytest
import torch

from lib.errors import UserError
from lib.speech.stacking import stack_frames, stacked_length
from lib.training.seeding import generator


@pytest.mark.parametrize("edges", ["drop", "repeat"])
@pytest.mark.parametrize(("left", "right", "step"), [(0, 2, 3), (3, 0, 3), (1, 1, 1), (0, 0, 4), (2, 3, 2)])
@pytest.mark.parametrize("frames", [1, 2, 3, 5, 6, 17])
def test_stacks_are_the_loop_s(edges, left, right, step, frames):
    features = torch.randn(2, frames, 4, generator=generator(0))
    stacks = []
    if edges == "drop":
        middles = [t for t in range(left, frames - right) if (t - left) % step == 0]
    else:
        middles = range(0, frames, step)
    for middle in middles:
        around = [features[:, min(max(t, 0), frames - 1)] for t in range(middle - left, middle + right + 1)]
        stacks.append(torch.cat(around, -1))
    found = stack_frames(features, left, right, step, edges)
    assert found.shape == (2, stacked_length(frames, left, right, step, edges), 4 * (left + 1 + right))
    assert found.shape[1] == len(stacks)
    if stacks:
        assert torch.equal(found, torch.stack(stacks, 1))


def test_groups_of_three_drop_the_rest():
    features = torch.arange(8.0)[None, :, None]
    assert stack_frames(features).tolist() == [[[0, 1, 2], [3, 4, 5]]]
    assert stack_frames(features[:, :0]).shape == (1, 0, 3)
    assert stack_frames(features[:, :0], edges="repeat").shape == (1, 0, 3)


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"left": -1}, "Stacking wants"), ({"step": 0}, "Stacking wants"), ({"edges": "mirror"}, "choose drop or repeat")],
)
def test_what_makes_no_sense_is_one_sentence(settings, message):
    with pytest.raises(UserError, match=message):
        stack_frames(torch.zeros(1, 5, 2), **settings)
