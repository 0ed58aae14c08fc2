"""The tape: speed 1 changes nothing, others move a tone's pitch, held against NumPy's interpolation."""

import numpy as np
import torch

from lib.speech.augment.tape import played


def test_speed_one_changes_nothing():
    x = torch.randn(3, 100, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(played(x, torch.ones(3)), x)


def test_each_row_equals_numpy_interpolation_at_its_own_speed():
    x = torch.randn(4, 101, generator=torch.Generator().manual_seed(1))
    speeds = torch.tensor([0.8, 0.95, 1.05, 1.3])
    found = played(x, speeds)
    for row, speed, result in zip(x.numpy(), speeds.tolist(), found.numpy(), strict=True):
        places = 50 + (np.arange(101) - 50) * np.float32(speed)
        expected = np.interp(places, np.arange(101), row, left=0, right=0)
        np.testing.assert_allclose(result, expected, atol=1e-4)


def test_a_tone_moves_in_pitch():
    time = torch.arange(16_000) / 16_000
    tone = torch.sin(2 * torch.pi * 500 * time)[None]
    for speed in (0.9, 1.1):
        spectrum = torch.fft.rfft(played(tone, torch.tensor([speed]))[0]).abs()
        assert abs(int(spectrum.argmax()) - 500 * speed) <= 2
