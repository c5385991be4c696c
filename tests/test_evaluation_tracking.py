"""The tracker's report card: errors against SciPy-free arithmetic, the score's AUROC against brute force."""

from dataclasses import replace

import numpy as np
import pytest
import synthetic
from scipy.spatial.transform import Rotation

from geo4d_lite.data import open_dataset
from geo4d_lite.evaluation.tracking import TrackedFrame, auroc, pose_error, summarise_tracking, track_episode
from geo4d_lite.perception import ColourSegmenter, Estimate, PerceptionError

FRAME = TrackedFrame(0, 0, 0.001, 0.5, 0.9, 0.1, 0.1, 0.1, 300, 0.02)


def test_pose_error_by_hand():
    X = np.eye(4)
    X[:3, 3] = (0.03, 0.0, 0.04)
    X[:3, :3] = Rotation.from_euler("z", 30, degrees=True).as_matrix()
    assert pose_error(X, np.eye(4)) == pytest.approx((0.05, 30.0))


def test_auroc_agrees_with_counting_pairs():
    rng = np.random.default_rng(0)
    scores, good = np.round(rng.random(60), 1), rng.random(60) < 0.6
    pairs = [(a > b) + 0.5 * (a == b) for a in scores[good] for b in scores[~good]]
    assert auroc(scores, good) == pytest.approx(np.mean(pairs))
    assert auroc(scores, np.ones(60, bool)) is None


def test_summary_of_known_rows():
    rows = [replace(FRAME, position_m=error, score=1 - 20 * error) for error in (0.001, 0.002, 0.003, 0.05)]
    summary = summarise_tracking(rows)
    assert summary["n"] == 4 and summary["lost"] == 0.25 and summary["auroc"] == 1.0
    assert summary["median_mm"] == pytest.approx(2.5) and summary["hz"] == pytest.approx(50.0)


class TruthTeller:
    """A tracker that cannot register on the first frame and then knows the truth."""

    def __init__(self, episode, camera):
        self.poses = iter(np.linalg.inv(episode.X_WC[camera]) @ episode.X_WG[1:, 0])
        self.calls = 0

    def register(self, rgb, depth_m, mask, K):
        self.calls += 1
        if self.calls == 1:
            raise PerceptionError("not yet")
        return Estimate(next(self.poses), 1.0, 0.1)

    def track(self, rgb, depth_m, K):
        return Estimate(next(self.poses), 1.0, 0.1)


def test_an_episode_is_registered_once_and_compared_in_the_world(tmp_path):
    root = synthetic.make_dataset(tmp_path, train=1, test=1, frames=36, cameras=5)
    episode = open_dataset(root).split("test")[0]
    rows = track_episode(episode, 4, 0, TruthTeller(episode, 4), ColourSegmenter())
    assert [row.frame for row in rows] == list(range(1, episode.frames)), "the frame without a registration is left out"
    assert max(row.position_m for row in rows) < 1e-9 and max(row.rotation_deg for row in rows) < 1e-4
    assert rows[-1].true_width_m == episode.width_m[-1, 0]
