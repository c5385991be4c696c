"""A film that shows another path than it was to be drawn along is drawn again, and then shows it more nearly."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from test_policies_path import THRESHOLD_M, X_WC, moving, observation, path_of

from geo4d_lite.perception import Estimate
from geo4d_lite.policies import CONFIGS, VideoPolicy, corrected_path, path_of_poses, poses_of_path
from geo4d_lite.policies.paths import MAX_SHIFT_M, MAX_TURN, SHARE, TURN_SHARE

OFF = np.eye(4)
OFF[:3, :3], OFF[:3, 3] = Rotation.from_rotvec([0.1, -0.05, 0.08]).as_matrix(), (0.01, -0.02, 0.015)


def shown_instead(path: np.ndarray) -> np.ndarray:
    """Poses (T, arms, 4, 4) of a film that always shows hands off by the same motion."""
    X, _ = poses_of_path(path)
    moved = X.copy()
    moved[..., :3, 3] += OFF[:3, 3]
    moved[..., :3, :3] = OFF[:3, :3] @ X[..., :3, :3]
    return moved


def estimates(X: np.ndarray) -> list[list[Estimate]]:
    return [[Estimate(X[t, arm], 0.9, 0.1) for t in range(len(X))] for arm in range(2)]


def errors(X: np.ndarray, path: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Largest distance and largest angle between poses and a path's."""
    Y, _ = poses_of_path(path)
    turns = Rotation.from_matrix((X[..., :3, :3] @ np.swapaxes(Y[..., :3, :3], -1, -2)).reshape(-1, 3, 3))
    return np.linalg.norm(X[..., :3, 3] - Y[..., :3, 3], axis=-1).max(), turns.magnitude().max()


def test_a_path_is_made_of_poses_again():
    path = path_of(*moving())
    np.testing.assert_allclose(path_of_poses(*poses_of_path(path)), path, atol=1e-12)


def test_what_is_asked_is_off_the_other_way_until_the_film_shows_what_was_wanted():
    wanted = asked = path_of(*moving())
    before = errors(shown_instead(asked), wanted)
    for round_ in range(1, 4):
        asked = corrected_path(asked, wanted, estimates(shown_instead(asked)))
        shift, turn = errors(shown_instead(asked), wanted)
        assert shift == pytest.approx((1 - SHARE) ** round_ * before[0], rel=1e-6)
        assert turn == pytest.approx((1 - TURN_SHARE) ** round_ * before[1], rel=0.1)
    np.testing.assert_allclose(asked[..., 9], wanted[..., 9])


def test_what_was_not_found_is_asked_as_before_and_a_wild_estimate_moves_it_little():
    path = path_of(*moving())
    wild = shown_instead(path)
    wild[..., :3, 3] += 1.0
    found = estimates(wild)
    found[0] = [None] * len(path)
    asked = corrected_path(path, path, found)
    np.testing.assert_allclose(asked[:, 0], path[:, 0], atol=1e-12)
    X, Y = (poses_of_path(p)[0][:, 1] for p in (asked, path))
    moved = np.linalg.norm((X - Y)[:, :3, 3], axis=-1)
    np.testing.assert_allclose(moved, SHARE * MAX_SHIFT_M, rtol=1e-9)
    turned = Rotation.from_matrix(X[:, :3, :3] @ np.swapaxes(Y[:, :3, :3], -1, -2)).magnitude()
    assert turned.max() <= TURN_SHARE * MAX_TURN + 1e-9


@dataclass
class Film:
    """Stands for a video: what it shows, and along which path it was to be drawn."""

    shows: np.ndarray
    path: np.ndarray | None


class Drawer:
    """Draws every path with the same error, and counts; "knows": whether its films name their path."""

    def __init__(self, knows: bool):
        self.knows, self.asked = knows, []

    def __call__(self, view_n, view_m, path=None):
        self.asked.append(path)
        path = path_of(*moving()) if path is None else path
        return Film(shown_instead(path), path if self.knows else None)


class Reader(VideoPolicy):
    """The policy with a tracker that sees exactly what a film shows."""

    def track_view(self, index, view, video):
        return estimates(video.shows)

    def camera_pose(self, index, view, video):
        X_nC = np.eye(4)
        X_nC[0, 3] = float(index)
        return X_nC


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_a_policy_asks_again_and_follows_the_last_film(config):
    config = replace(config, smooth_frames=0.0)
    wanted, off = path_of(*moving()), {}
    for redraws in (0, 2):
        drawer = Drawer(knows=True)
        policy = Reader(drawer, None, None, THRESHOLD_M, replace(config, redraws=redraws))
        answer = policy.predict_action(observation())
        assert len(drawer.asked) == 1 + redraws and drawer.asked[0] is None
        off[redraws], _ = errors(np.linalg.inv(X_WC) @ answer.X_WG, wanted)
    assert off[2] < 0.15 * off[0]


def test_films_that_know_no_path_are_drawn_once():
    drawer = Drawer(knows=False)
    Reader(drawer, None, None, THRESHOLD_M, replace(CONFIGS["confident"], redraws=3)).predict_action(observation())
    assert drawer.asked == [None]
