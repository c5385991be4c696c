"""The arms are Pandas: kinematics and limits as published, differential IK that respects them."""

import numpy as np
import pytest
from pydrake.math import RigidTransform, RotationMatrix

from geo4d_lite.geometry import load_gripper
from geo4d_lite.simulation import make_station
from geo4d_lite.simulation.control import interpolate, joint_step, pose_error
from geo4d_lite.simulation.panda import BASE_POSITIONS, READY_POSTURE, X_FG

# Franka Emika, "Denavit-Hartenberg parameters" and "Limits in the joint space" of the Panda: a, d, alpha (modified DH).
DH = [
    (0.0, 0.333, 0.0),
    (0.0, 0.0, -np.pi / 2),
    (0.0, 0.316, np.pi / 2),
    (0.0825, 0.0, np.pi / 2),
    (-0.0825, 0.384, -np.pi / 2),
    (0.0, 0.0, np.pi / 2),
    (0.088, 0.0, np.pi / 2),
]
FLANGE_D = 0.107
LOWER = [-2.8973, -1.7628, -2.8973, -3.0718, -2.8973, -0.0175, -2.8973]
UPPER = [2.8973, 1.7628, 2.8973, -0.0698, 2.8973, 3.7525, 2.8973]
SPEED = [2.1750, 2.1750, 2.1750, 2.1750, 2.6100, 2.6100, 2.6100]


@pytest.fixture(scope="module")
def station():
    return make_station("PutSpatulaOnTable", seed=3)


def dh_flange(q: np.ndarray) -> np.ndarray:
    """Pose (4, 4) of the flange in the base by modified Denavit-Hartenberg matrices, independent of Drake."""
    X = np.eye(4)
    for (a, d, alpha), theta in zip(DH, q, strict=True):
        c, s, ca, sa = np.cos(theta), np.sin(theta), np.cos(alpha), np.sin(alpha)
        X = X @ [[c, -s, 0, a], [s * ca, c * ca, -sa, -d * sa], [s * sa, c * sa, ca, d * ca], [0, 0, 0, 1]]
    X[:3, 3] += FLANGE_D * X[:3, 2]
    return X


@pytest.mark.parametrize("arm, name", [(0, "left"), (1, "right")])
def test_forward_kinematics_are_those_of_the_published_table(station, arm, name):
    plant = station.scene.plant
    context = plant.CreateDefaultContext()
    rng = np.random.default_rng(0)
    for q in rng.uniform(LOWER, UPPER, (50, 7)):
        plant.SetPositions(context, station.scene.arms[arm].model, [*q, 0.05, 0.05])
        X_BF = dh_flange(q)
        X_BF[:3, 3] += BASE_POSITIONS[name]
        X_WG = station.scene.arms[arm].hand.EvalPoseInWorld(context).GetAsMatrix4()
        np.testing.assert_allclose(X_WG, X_BF @ X_FG.GetAsMatrix4(), atol=1e-9)


def test_joint_limits_and_speeds_are_the_published_ones(station):
    for arm in station.scene.arms:
        np.testing.assert_array_equal(arm.limits, [LOWER, UPPER, SPEED])


def test_closing_axis_runs_from_the_right_to_the_left_finger(station):
    plant, context = station.scene.plant, station.scene.plant.CreateDefaultContext()
    for arm in station.scene.arms:
        plant.SetPositions(context, arm.model, [*READY_POSTURE, 0.04, 0.07])
        X_WG = arm.hand.EvalPoseInWorld(context)
        for finger, y in ((arm.finger_left, 0.04), (arm.finger_right, -0.07)):
            p_GFinger = X_WG.inverse() @ finger.EvalPoseInWorld(context).translation()
            np.testing.assert_allclose(p_GFinger, [0.0, y, 0.0], atol=1e-12)


def test_at_the_ready_posture_the_hand_points_down_and_opens_sideways(station):
    plant, context = station.scene.plant, station.scene.plant.CreateDefaultContext()
    arm = station.scene.arms[0]
    plant.SetPositions(context, arm.model, [*READY_POSTURE, 0.05, 0.05])
    X_BG = arm.hand.EvalPoseInWorld(context).GetAsMatrix4()
    X_BG[:3, 3] -= BASE_POSITIONS["left"]
    # Franka gives the flange of this posture at x 0.3069 m, z 0.5903 m; the pads are 0.145 m below it.
    expected = [[1, 0, 0, 0.3069], [0, -1, 0, 0], [0, 0, -1, 0.5903 - 0.145], [0, 0, 0, 1]]
    np.testing.assert_allclose(X_BG, expected, atol=2e-4)


def test_fingers_cannot_leave_the_range_of_the_cad(station):
    gripper = load_gripper()
    for arm in station.scene.arms:
        for name in ("finger_left_slide", "finger_right_slide"):
            joint = station.scene.plant.GetJointByName(name, arm.model)
            assert 2 * joint.position_lower_limit() == pytest.approx(gripper.min_width_m)
            assert 2 * joint.position_upper_limit() == pytest.approx(gripper.max_width_m)


def test_joint_step_moves_the_gripper_by_the_twist_asked_for(station):
    J = jacobian(station, READY_POSTURE)
    twist = np.array([0.01, -0.02, 0.005, 0.002, 0.001, -0.002])
    step = joint_step(J, twist, READY_POSTURE, READY_POSTURE, (np.array(LOWER), np.array(UPPER), np.array(SPEED)), 0.1)
    assert np.linalg.norm(J @ step - twist) < 0.02 * np.linalg.norm(twist)


def test_joint_step_keeps_every_joint_within_range_and_speed(station):
    limits, dt = (np.array(LOWER), np.array(UPPER), np.array(SPEED)), 0.02
    rng = np.random.default_rng(1)
    for q in rng.uniform(LOWER, UPPER, (100, 7)):
        q = np.clip(q + rng.choice([-1.0, 0.0, 1.0], 7), LOWER, UPPER)  # often at a limit
        step = joint_step(jacobian(station, q), rng.normal(size=6), q, READY_POSTURE, limits, dt)
        assert np.all(q + step >= limits[0] - 1e-12) and np.all(q + step <= limits[1] + 1e-12)
        assert np.all(np.abs(step) <= limits[2] * dt + 1e-12)


def test_the_other_joints_make_up_for_one_that_is_at_its_limit(station):
    limits, q = (np.array(LOWER), np.array(UPPER), np.array(SPEED)), READY_POSTURE.copy()
    q[0] = UPPER[0]
    J = jacobian(station, q)
    twist = J @ [0.02, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]  # what the blocked joint would have done
    step = joint_step(J, twist, q, q, limits, dt=1.0)
    assert step[0] <= 1e-12
    assert np.linalg.norm(J @ step - twist) < 0.1 * np.linalg.norm(twist)


def test_interpolation_follows_the_error_it_closes():
    X_WA = RigidTransform(RotationMatrix.MakeXRotation(0.3), [0.1, 0.2, 0.3])
    X_WB = RigidTransform(RotationMatrix.MakeZRotation(-1.1), [0.3, 0.0, 0.5])
    halfway = interpolate(X_WA, X_WB, 0.5)
    np.testing.assert_allclose(pose_error(X_WA, halfway), pose_error(X_WA, X_WB) / 2, atol=1e-12)
    np.testing.assert_allclose(pose_error(halfway, X_WB), pose_error(X_WA, X_WB) / 2, atol=1e-12)


def jacobian(station, q: np.ndarray, delta: float = 1e-6) -> np.ndarray:
    """Geometric Jacobian (6, 7) of the left gripper by finite differences of the DH table."""
    X, columns = dh_flange(q) @ X_FG.GetAsMatrix4(), []
    for joint in range(7):
        moved = dh_flange(q + delta * np.eye(7)[joint]) @ X_FG.GetAsMatrix4()
        columns.append(pose_error(RigidTransform(X), RigidTransform(moved)) / delta)
    return np.stack(columns, axis=1)
