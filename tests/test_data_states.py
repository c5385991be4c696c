"""States as rows of numbers: nothing of a pose is lost, and what a network makes up still is a pose."""

import numpy as np
import pytest
import torch
from pydrake.math import RigidTransform
from scipy.spatial.transform import Rotation

from geo4d_lite.data.states import STATE_NUMBERS, StateRange, decode_states, encode_states


def random_grippers(count: int = 50, seed: int = 0):
    """Poses (count, 2, 4, 4) and widths (count, 2)."""
    rng = np.random.default_rng(seed)
    X_WG = np.tile(np.eye(4), (count, 2, 1, 1))
    X_WG[..., :3, :3] = Rotation.random(2 * count, rng=rng).as_matrix().reshape(count, 2, 3, 3)
    X_WG[..., :3, 3] = rng.uniform(-0.3, 0.3, (count, 2, 3))
    return X_WG, rng.uniform(0.02, 0.16, (count, 2))


def test_a_state_carries_pose_and_width_of_both_arms_without_loss():
    X_WG, width_m = random_grippers()
    states = encode_states(X_WG, width_m)
    assert states.shape == (50, STATE_NUMBERS)
    back, back_m = decode_states(states)
    np.testing.assert_allclose(back, X_WG, atol=1e-12)
    np.testing.assert_allclose(back_m, width_m, atol=1e-12)


def test_a_state_is_laid_out_as_documented():
    X_WG, width_m = random_grippers(1)
    left, right = encode_states(X_WG, width_m)[0].reshape(2, 10)
    for arm, numbers in enumerate((left, right)):
        R = Rotation.from_matrix(X_WG[0, arm, :3, :3])
        np.testing.assert_allclose(numbers[:3], X_WG[0, arm, :3, 3])
        np.testing.assert_allclose(numbers[3:6], R.apply([1, 0, 0]), atol=1e-12)
        np.testing.assert_allclose(numbers[6:9], R.apply([0, 1, 0]), atol=1e-12)
        assert numbers[9] == width_m[0, arm]


def test_made_up_numbers_still_give_poses_that_drake_takes():
    rng = np.random.default_rng(1)
    X_WG, _ = decode_states(rng.normal(size=(20, STATE_NUMBERS)))
    for X in X_WG.reshape(-1, 4, 4):
        RigidTransform(X)  # checks the rotation and throws
    noisy = encode_states(*random_grippers(20)) + rng.normal(size=(20, STATE_NUMBERS)) * 0.01
    turn = Rotation.from_matrix(
        np.swapaxes(decode_states(noisy)[0][..., :3, :3], -1, -2).reshape(-1, 3, 3)
        @ random_grippers(20)[0][..., :3, :3].reshape(-1, 3, 3)
    )
    assert np.rad2deg(turn.magnitude()).max() < 3.0, "a little noise turns a little"


def test_numbers_of_another_length_are_refused():
    with pytest.raises(ValueError, match=r"\(4, 7\)"):
        decode_states(np.zeros((4, 7)))


def test_the_range_maps_the_data_to_one_and_leaves_rotations_alone():
    states = encode_states(*random_grippers())
    states[:, 9] = 0.1  # a width that never changes
    scaled = StateRange.of(states)
    x = scaled.encode(states)
    moving = [0, 1, 2, 10, 11, 12, 19]
    np.testing.assert_allclose(x[:, moving].min(axis=0), -1, atol=1e-9)
    np.testing.assert_allclose(x[:, moving].max(axis=0), 1, atol=1e-9)
    rotations = [*range(3, 9), *range(13, 19)]
    np.testing.assert_allclose(x[:, rotations], states[:, rotations], atol=1e-12)
    np.testing.assert_allclose(x[:, 9], 0, atol=1e-9)
    np.testing.assert_allclose(scaled.decode(x), states, atol=1e-12)
    tensor = torch.from_numpy(states).float()
    torch.testing.assert_close(scaled.encode(tensor), torch.from_numpy(x).float())
