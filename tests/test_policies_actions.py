"""Policies that predict actions: which frames are acted, how fingers are commanded, what stops them."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from geo4d_lite.data.states import encode_states
from geo4d_lite.policies import ActionPolicy, ActionPolicyConfig, Observation, PolicyFailure
from geo4d_lite.policies.action_policy import finger_commands

CONFIG = ActionPolicyConfig()
THRESHOLD_M = 0.06


def future(frames: int = 16):
    """Both grippers rise by 2 cm a frame while the right one turns; poses (T, 2, 4, 4) and widths (T, 2)."""
    X_WG = np.tile(np.eye(4), (frames, 2, 1, 1))
    X_WG[:, 0, 1, 3], X_WG[:, 1, 1, 3] = 0.2, -0.2
    X_WG[..., 2, 3] = 0.1 + 0.02 * np.arange(frames)[:, None]
    X_WG[:, 1, :3, :3] = Rotation.from_rotvec(np.outer(0.1 * np.arange(frames), (0, 0, 1))).as_matrix()
    return X_WG, np.full((frames, 2), 0.12)


def observation() -> Observation:
    X_WG, width_m = future(1)
    return Observation("n", "m", np.eye(4), X_WG[0], width_m[0], 2 * np.eye(4))


def test_the_frames_after_the_present_one_are_acted():
    X_WG, width_m = future()
    answer = ActionPolicy(lambda views, X_WC, states: encode_states(X_WG, width_m), THRESHOLD_M).predict_action(
        observation()
    )
    np.testing.assert_allclose(answer.X_WG, X_WG[1:9], atol=1e-9)
    np.testing.assert_allclose(answer.width_m, 0.12)
    assert answer.step_s == 0.5 and not answer.is_blind


def test_the_model_is_shown_two_moments_and_both_cameras():
    asked = []

    def model(views, X_WC, states):
        asked.append((views, X_WC, states))
        return encode_states(*future())

    now = observation()
    earlier = replace(now, view_n="n before", view_m="m before", width_m=np.array([0.1, 0.11]))
    policy = ActionPolicy(model, THRESHOLD_M)
    policy.predict_action(replace(now, earlier=earlier))
    policy.predict_action(now)
    assert asked[0][0] == [["n before", "m before"], ["n", "m"]]
    assert asked[1][0] == [["n", "m"], ["n", "m"]], "at the start the present stands for what was before"
    np.testing.assert_array_equal(asked[0][1], np.stack([np.eye(4), 2 * np.eye(4)]))
    np.testing.assert_allclose(asked[0][2][:, [9, 19]], [[0.1, 0.11], [0.12, 0.12]])


def test_a_leap_is_slowed_down_to_what_is_safe():
    X_WG, width_m = future()
    X_WG[:, 0, :3, 3] = (0.0, 0.2, 2.0)
    policy = ActionPolicy(lambda views, X_WC, states: encode_states(X_WG, width_m), THRESHOLD_M)
    p_WG = policy.predict_action(observation()).X_WG[:, 0, :3, 3]
    way = np.concatenate([observation().X_WG[:1, :3, 3], p_WG])
    assert np.linalg.norm(np.diff(way, axis=0), axis=1).max() <= CONFIG.limits.max_speed * 0.5 + 1e-9


@pytest.mark.parametrize("broken", [np.nan, np.inf])
def test_a_prediction_that_is_no_number_is_no_answer(broken):
    policy = ActionPolicy(lambda views, X_WC, states: np.full((16, 20), broken), THRESHOLD_M)
    with pytest.raises(PolicyFailure, match="NaN"):
        policy.predict_action(observation())


def test_images_the_model_cannot_use_are_no_answer():
    def model(views, X_WC, states):
        raise ValueError("no depth pixel lies in the workspace")

    with pytest.raises(PolicyFailure, match="no depth pixel"):
        ActionPolicy(model, THRESHOLD_M).predict_action(observation())


@pytest.mark.parametrize(
    ("present_m", "predicted_m", "commanded_m"),
    [
        (0.12, [0.12, 0.11, 0.13], [0.12, 0.12, 0.12]),  # open and stays so: left alone
        (0.15, [0.15, 0.08, 0.042], [0.15, 0.15, 0.03]),  # closes: squeezes, as the object holds the fingers apart
        (0.042, [0.042, 0.05, 0.10], [0.03, 0.03, 0.155]),  # opens wide
        (0.15, [0.042, 0.042, 0.15], [0.03, 0.03, 0.155]),
        (0.042, [0.063, 0.058, 0.063], [0.03, 0.03, 0.03]),  # near the threshold nothing changes
    ],
)
def test_fingers_are_told_to_be_open_or_closed(present_m, predicted_m, commanded_m):
    commands = finger_commands(np.array(predicted_m), present_m, THRESHOLD_M, CONFIG)
    np.testing.assert_allclose(commands, commanded_m)
