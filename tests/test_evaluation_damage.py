"""Damage is what it says, and of strength zero none."""

from types import SimpleNamespace

import numpy as np
import pytest

from geo4d_lite.evaluation.damage import ORDERS, blurred, frame_numbers, noisy, without

RGB = np.random.default_rng(0).integers(0, 256, size=(2, 5, 12, 16, 3), dtype=np.uint8)


def test_no_strength_is_no_damage():
    np.testing.assert_array_equal(noisy(RGB, 0.0, np.random.default_rng(0)), RGB)
    np.testing.assert_array_equal(blurred(RGB, 0.0), RGB)


def test_noise_has_the_deviation_asked_for_and_stays_in_range():
    grey = np.full((4, 64, 64, 3), 128, np.uint8)
    assert noisy(grey, 0.1, np.random.default_rng(0)).std() == pytest.approx(25.5, rel=0.02)
    extreme = noisy(RGB, 5.0, np.random.default_rng(0))
    assert extreme.dtype == np.uint8 and extreme.min() == 0 and extreme.max() == 255


def test_blur_spreads_a_dot_within_its_own_frame_and_colour():
    dot = np.zeros((1, 3, 21, 21, 3), np.uint8)
    dot[0, 1, 10, 10, 2] = 255
    soft = blurred(dot, 1.0)
    row = np.exp(-0.5 * (np.arange(21) - 10.0) ** 2)
    np.testing.assert_allclose(soft[0, 1, 10, :, 2], 255 * row / row.sum() ** 2, atol=0.7)
    soft[0, 1, ..., 2] = 0
    assert not soft.any()


def test_orders_hold_the_frames_they_promise():
    orders = {order: frame_numbers(order, 10, np.random.default_rng(0)).tolist() for order in ORDERS}
    assert orders["frozen"] == [0] * 10 and orders["reversed"] == list(range(9, -1, -1))
    assert sorted(orders["shuffled"]) == list(range(10)) != orders["shuffled"]
    with pytest.raises(ValueError, match="order is 'backwards'; expected one of frozen, shuffled, reversed"):
        frame_numbers("backwards", 10, np.random.default_rng(0))


def test_what_a_mask_marks_comes_from_the_observed_frame_and_nothing_else_changes():
    rng = np.random.default_rng(1)
    item = {
        "rgb": rng.integers(0, 256, size=(2, 6, 12, 16, 3), dtype=np.uint8),
        "pointmap": rng.normal(size=(2, 6, 12, 16, 3)),
        "valid": rng.random((2, 6, 12, 16)) < 0.5,
    }
    film = SimpleNamespace(**{name: array[:, 1:] for name, array in item.items()})
    mask = rng.random((2, 5, 12, 16)) < 0.3
    spoilt = without(film, mask, item)
    for name, array in item.items():
        observed = np.broadcast_to(array[:, :1], array[:, 1:].shape)
        np.testing.assert_array_equal(getattr(spoilt, name)[mask], observed[mask])
        np.testing.assert_array_equal(getattr(spoilt, name)[~mask], array[:, 1:][~mask])
