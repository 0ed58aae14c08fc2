"""A preset on other data: the network takes their shape and classes, its encoder their shape alone."""

from dataclasses import replace

import pytest
import torch

from lib.cud.config import CUDConfig, preset_named, with_method
from lib.cud.fit import Run
from lib.cud.suit_data import suited
from lib.cud.train import check_shape, train
from lib.errors import UserError
from lib.vision.data import ImageSet


def images(classes: int, shape: tuple[int, int, int] = (1, 8, 8)) -> ImageSet:
    pixels = torch.zeros(3 * classes, *shape, dtype=torch.uint8)
    names = tuple(f"class {number}" for number in range(classes))
    return ImageSet("photos", "train", torch.arange(3 * classes) % classes, names, shape, pixels)


def conditional(classes: int, method: str = "rk12") -> CUDConfig:
    config = preset_named("scaled")
    return with_method(replace(config, network=replace(config.network, classes=classes)), method)


@pytest.mark.parametrize(("count", "words"), [(3, "knows 3 classes instead of 7"), (1, "knows 1 class instead of 7")])
def test_a_network_with_classes_takes_those_of_the_data(count, words):
    config, notes = suited(conditional(7), images(count))
    assert config.network == replace(conditional(7).network, classes=count)
    assert notes == [f"note: the network of preset 'scaled' {words}, as the data do."]
    check_shape(config, images(count))


def test_shape_and_classes_change_together_and_the_encoder_has_no_classes():
    config, notes = suited(conditional(7, "catch_up_learned"), images(12, (3, 12, 12)))
    assert (config.network.input_shape, config.network.classes) == ((3, 12, 12), 12)
    assert (config.coupling.encoder.input_shape, config.coupling.encoder.classes) == ((3, 12, 12), 0)
    assert "takes 3x12x12 instead of 1x8x8 and knows 12 classes instead of 7" in notes[0]
    run = Run(max_steps=2, progress=False)
    config = replace(config, optimiser=replace(config.optimiser, batch_size=4))
    flow = train(config, images(12, (3, 12, 12)), run)
    assert flow.sample(13, 1).samples.shape == (13, 3, 12, 12)


def test_nothing_is_said_or_changed_where_all_fits():
    assert suited(conditional(4), images(4)) == (conditional(4), [])
    assert suited(preset_named("scaled"), images(4)) == (preset_named("scaled"), [])  # never told the class


def test_a_side_that_cannot_be_halved_is_refused():
    with pytest.raises(UserError, match="side that 2 divides"):
        suited(conditional(4), images(4, (1, 9, 9)))
