"""How much of a gripper is seen: against what Drake renders where nothing hides it."""

import numpy as np
import pytest

from geo4d_lite.evaluation.visibility import finger_pixels, silhouette_pixels, visible_share
from geo4d_lite.geometry import Intrinsics, invert, look_at
from geo4d_lite.geometry.labels import FINGERS, gripper_labels
from geo4d_lite.simulation import make_station

K = Intrinsics.from_fov(160, 128, np.deg2rad(42.0))


@pytest.fixture(scope="module")
def station():
    return make_station("PutSpatulaOnTable", seed=3)


@pytest.mark.parametrize("arm", [0, 1])
def test_a_gripper_in_full_view_is_seen_whole(station, arm):
    X_WG, width_m = station.X_WG()[arm], station.width_m()[arm]
    X_WC = look_at(X_WG[:3, 3] + [0.6, 0.0, 0.25], X_WG[:3, 3] + [0.0, 0.0, 0.05])
    label = station.render(X_WC, K).label
    seen = np.isin(label, gripper_labels(arm)).sum()
    assert silhouette_pixels(invert(X_WC) @ X_WG, width_m, K) == pytest.approx(seen, rel=0.02)
    assert visible_share(label, arm, X_WG, width_m, X_WC, K) == pytest.approx(1.0, abs=0.02)
    assert finger_pixels(label, arm) == tuple((label == finger).sum() for finger in FINGERS[arm])


def test_what_is_outside_the_image_or_covered_counts_as_hidden(station):
    X_WG, width_m = station.X_WG()[1], station.width_m()[1]
    X_WC = look_at(X_WG[:3, 3] + [0.6, 0.0, 0.25], X_WG[:3, 3])
    label = station.render(X_WC, K).label
    left, right = label.copy(), label.copy()
    left[:, :80], right[:, 80:] = 0, 0
    shares = [visible_share(image, 1, X_WG, width_m, X_WC, K) for image in (label, left, right)]
    assert shares[0] == pytest.approx(shares[1] + shares[2]) and min(shares) > 0.1
    away = look_at(X_WC[:3, 3], X_WC[:3, 3] + [1.0, 0.0, 0.5])
    assert visible_share(np.zeros_like(label), 1, X_WG, width_m, X_WC, K) == 0.0
    assert not station.render(away, K).label.any()
