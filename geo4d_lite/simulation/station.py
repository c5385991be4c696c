"""The station: two arms at a table, driven by gripper poses and widths, seen by any camera."""

from typing import Self

import numpy as np
from pydrake.math import RigidTransform, RotationMatrix
from pydrake.multibody.tree import JacobianWrtVariable
from pydrake.systems.analysis import Simulator
from pydrake.systems.framework import Context

from geo4d_lite.geometry import Intrinsics, load_gripper
from geo4d_lite.simulation.control import interpolate, joint_step, pose_error
from geo4d_lite.simulation.panda import READY_POSTURE, comfortable_posture
from geo4d_lite.simulation.rendering import Frame, render
from geo4d_lite.simulation.scene import Scene, shared_scene
from geo4d_lite.simulation.tasks import Snapshot, Task, get_task

CONTROL_STEP_S = 0.02  # a multiple of the plant's time step
SETTLE_S = 0.6


class Station:
    """A simulated table with two arms. Arrays with an arm axis are ordered left, right; poses are in the world.

    The state is the Drake context and the joint angles last commanded; the diagram is shared by all stations.
    """

    def __init__(self, scene: Scene, task: Task, context: Context, q_command: np.ndarray, width_command: np.ndarray):
        self.scene, self.task = scene, task
        self._q_command, self._width_command = q_command, width_command  # (2, 7) radians, (2,) metres
        self._simulator = Simulator(scene.diagram, context)
        self._ik_context = scene.plant.CreateDefaultContext()
        self._target_X_WG, self._target_width = self._command_poses(), width_command.copy()

    @property
    def _plant_context(self) -> Context:
        return self.scene.plant.GetMyContextFromRoot(self._simulator.get_context())

    # -- reset and copy ------------------------------------------------------------------------------------------

    def reset(self, seed: int) -> None:
        """Lay the scene out as `seed` says and let it settle; time starts again at zero."""
        layout, plant = self.task.draw_layout(np.random.default_rng(seed)), self.scene.plant
        root = self.scene.diagram.CreateDefaultContext()
        context = plant.GetMyMutableContextFromRoot(root)
        for name, X_WO in layout.X_WO.items():
            plant.SetFreeBodyPose(context, self.scene.objects[name], X_WO)
        self._q_command = np.stack([self._solve_ik(arm, X_WG) for arm, X_WG in enumerate(layout.X_WG)])
        self._width_command = np.array(layout.width_m)
        for arm, q, width in zip(self.scene.arms, self._q_command, self._width_command, strict=True):
            plant.SetPositions(context, arm.model, [*q, width / 2, width / 2])
        self._simulator.reset_context(root)
        self._target_X_WG, self._target_width = self._command_poses(), self._width_command.copy()
        self.advance(SETTLE_S)
        self._simulator.get_mutable_context().SetTime(0.0)
        self._simulator.Initialize()

    def copy(self) -> Self:
        """An independent station in the same state: advancing one leaves the other as it was."""
        context = self._simulator.get_context().Clone()
        other = type(self)(self.scene, self.task, context, self._q_command.copy(), self._width_command.copy())
        other._target_X_WG, other._target_width = list(self._target_X_WG), self._target_width.copy()
        return other

    # -- what is measured ----------------------------------------------------------------------------------------

    @property
    def time_s(self) -> float:
        """Seconds since the last reset."""
        return self._simulator.get_context().get_time()

    def joint_positions(self) -> np.ndarray:
        """Angles of the seven joints of both arms, (2, 7) radians."""
        context = self._plant_context
        return np.stack([self.scene.plant.GetPositions(context, arm.model)[:7] for arm in self.scene.arms])

    def X_WG(self) -> np.ndarray:
        """Measured poses of both grippers in the world, (2, 4, 4)."""
        context = self._plant_context
        return np.stack([arm.hand.EvalPoseInWorld(context).GetAsMatrix4() for arm in self.scene.arms])

    def width_m(self) -> np.ndarray:
        """Measured distances between the centres of the two fingers, (2,) metres."""
        context = self._plant_context
        return np.array([self.scene.plant.GetPositions(context, arm.model)[7:].sum() for arm in self.scene.arms])

    def X_W_object(self) -> np.ndarray:
        """Pose of what the task moves (its frame is described in its URDF file) in the world, (4, 4)."""
        return self.scene.objects[self.task.moved].EvalPoseInWorld(self._plant_context).GetAsMatrix4()

    def snapshot(self) -> Snapshot:
        """What the scripted demonstration and the success predicate look at."""
        context, objects = self._plant_context, self.scene.objects
        velocities = {name: body.EvalSpatialVelocityInWorld(context) for name, body in objects.items()}
        return Snapshot(
            X_WG=tuple(arm.hand.EvalPoseInWorld(context) for arm in self.scene.arms),
            width_m=tuple(float(width) for width in self.width_m()),
            X_WO={name: body.EvalPoseInWorld(context) for name, body in objects.items()},
            speed={name: float(np.linalg.norm(V.get_coeffs())) for name, V in velocities.items()},
        )

    def success(self) -> bool:
        """Whether the task is solved now; what that means is in the file of the task."""
        return self.task.is_solved(self.snapshot())

    def phase(self) -> str:
        """The phase of the scripted demonstration that fits the present state."""
        return self.task.decide(self.snapshot()).phase

    def positions(self) -> np.ndarray:
        """All generalised positions of the plant, for replays."""
        return self.scene.plant.GetPositions(self._plant_context).copy()

    # -- what is commanded ---------------------------------------------------------------------------------------

    def commanded_X_WG(self) -> np.ndarray:
        """Poses the joint angles last commanded would give the grippers, (2, 4, 4)."""
        return np.stack([X_WG.GetAsMatrix4() for X_WG in self._command_poses()])

    def commanded_width_m(self) -> np.ndarray:
        """Widths last commanded, (2,) metres; narrower than measured while an object is squeezed."""
        return self._width_command.copy()

    def set_command(self, X_WG: np.ndarray, width_m: np.ndarray) -> None:
        """Set the gripper poses (2, 4, 4) and widths (2,) to be reached at the end of the next `advance`.

        Raises ValueError for shapes, NaN or a pose that is not rigid. Widths are clipped to the gripper's range; a pose
        out of reach is not an error: the arm goes as near as its joint limits let it.
        """
        X_WG, width_m = np.asarray(X_WG, float), np.asarray(width_m, float)
        if X_WG.shape != (2, 4, 4) or width_m.shape != (2,):
            raise ValueError(f"command has shapes {X_WG.shape} and {width_m.shape}; expected (2, 4, 4) and (2,)")
        if not (np.isfinite(X_WG).all() and np.isfinite(width_m).all()):
            raise ValueError("command holds NaN or infinity; keep the last valid pose where a tracker found none")
        R = X_WG[:, :3, :3]
        if not (np.allclose(R @ R.swapaxes(1, 2), np.eye(3), atol=1e-3) and (np.linalg.det(R) > 0).all()):
            raise ValueError("command X_WG holds a 3x3 block that is not a rotation; normalise it before commanding")
        gripper = load_gripper()
        self._target_X_WG = [RigidTransform(RotationMatrix.ProjectToRotationMatrix(X[:3, :3]), X[:3, 3]) for X in X_WG]
        self._target_width = np.clip(width_m, gripper.min_width_m, gripper.max_width_m)

    def advance(self, duration_s: float) -> None:
        """Run physics for `duration_s`, the commands moving along straight lines to the targets last set."""
        steps = round(duration_s / CONTROL_STEP_S)
        if steps < 1 or abs(steps * CONTROL_STEP_S - duration_s) > 1e-6:
            raise ValueError(f"duration_s is {duration_s}; expected a positive multiple of {CONTROL_STEP_S} s")
        starts, width_start = self._command_poses(), self._width_command
        start_time = self.time_s
        for step in range(1, steps + 1):
            fraction = step / steps
            q_before = self._q_command
            waypoints = [interpolate(a, b, fraction) for a, b in zip(starts, self._target_X_WG, strict=True)]
            self._q_command = q_before + self._joint_steps(waypoints)
            self._width_command = (1 - fraction) * width_start + fraction * self._target_width
            self._send((self._q_command - q_before) / CONTROL_STEP_S)
            self._simulator.AdvanceTo(start_time + step * CONTROL_STEP_S)

    # -- cameras -------------------------------------------------------------------------------------------------

    def render(self, X_WC: np.ndarray, K: Intrinsics) -> Frame:
        """RGB, depth and labels from a camera at `X_WC` (4, 4; OpenCV optical frame) with intrinsics `K`."""
        root = self._simulator.get_context()
        scene_graph = self.scene.scene_graph
        query = scene_graph.get_query_output_port().Eval(scene_graph.GetMyContextFromRoot(root))
        return render(query, np.asarray(X_WC, float), K, self.scene.label_of_body)

    # -- inside --------------------------------------------------------------------------------------------------

    def _command_poses(self) -> list[RigidTransform]:
        """Forward kinematics of the commanded joint angles."""
        self._set_ik_joints(self._q_command)
        return [arm.hand.EvalPoseInWorld(self._ik_context) for arm in self.scene.arms]

    def _set_ik_joints(self, q: np.ndarray) -> None:
        for arm, q_arm in zip(self.scene.arms, q, strict=True):
            self.scene.plant.SetPositions(self._ik_context, arm.model, [*q_arm, 0.05, 0.05])

    def _joint_steps(self, waypoints: list[RigidTransform], dt: float = CONTROL_STEP_S) -> np.ndarray:
        """One differential-IK step (2, 7) of the commanded joints towards the waypoints of both grippers."""
        self._set_ik_joints(self._q_command)
        return np.stack([self._joint_step(arm, waypoints[arm], self._q_command[arm], dt) for arm in range(2)])

    def _joint_step(self, arm: int, waypoint: RigidTransform, q: np.ndarray, dt: float) -> np.ndarray:
        plant, handles = self.scene.plant, self.scene.arms[arm]
        X_WG = handles.hand.EvalPoseInWorld(self._ik_context)
        J = plant.CalcJacobianSpatialVelocity(
            self._ik_context,
            JacobianWrtVariable.kV,
            handles.hand.body_frame(),
            np.zeros(3),
            plant.world_frame(),
            plant.world_frame(),
        )[:, handles.velocity_indices]
        return joint_step(J, pose_error(X_WG, waypoint), q, comfortable_posture(arm, X_WG), handles.limits, dt)

    def _solve_ik(self, arm: int, X_WG: RigidTransform) -> np.ndarray:
        """Joint angles (7,) of one arm for a gripper pose, by stepping from the ready posture turned towards it."""
        q = np.stack([READY_POSTURE, READY_POSTURE])
        q[arm] = comfortable_posture(arm, X_WG)
        for _ in range(200):
            self._set_ik_joints(q)
            q[arm] += self._joint_step(arm, X_WG, q[arm], dt=0.05)
        return q[arm]

    def _send(self, velocity: np.ndarray) -> None:
        """Hand the commanded joint angles, `velocity` (2, 7) and widths to the joint controllers."""
        context = self.scene.plant.GetMyMutableContextFromRoot(self._simulator.get_mutable_context())
        for arm, q, v, width in zip(self.scene.arms, self._q_command, velocity, self._width_command, strict=True):
            desired = np.concatenate([q, [width / 2, width / 2], v, [0.0, 0.0]])
            self.scene.plant.get_desired_state_input_port(arm.model).FixValue(context, desired)


def make_station(task: str, seed: int = 0) -> Station:
    """A station for `task` (see TASKS), laid out by `seed`. Unknown tasks raise ValueError."""
    known = get_task(task)
    scene = shared_scene(known)
    q = np.stack([READY_POSTURE, READY_POSTURE])
    station = Station(scene, known, scene.diagram.CreateDefaultContext(), q, np.array([0.1, 0.1]))
    station.reset(seed)
    return station
