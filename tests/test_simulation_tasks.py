"""Every task: laid out by a seed, solved by its demonstration from anywhere, held by friction, and possible to fail."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
from pydrake.math import RigidTransform, RotationMatrix

from geo4d_lite.geometry import load_gripper
from geo4d_lite.geometry.labels import Label
from geo4d_lite.simulation import TASKS, ScriptedDemonstration, Station, make_station
from geo4d_lite.simulation.panda import BASE_POSITIONS
from geo4d_lite.simulation.tasks import Snapshot, apple, cereal_box
from geo4d_lite.simulation.tasks.moves import LEFT, RIGHT, hand_rotation, raised

PICK = ["reach", "approach", "close", "lift"]
BY_RIGHT = [f"right {phase}" for phase in [*PICK, "carry", "lower", "release", "retreat"]]
BY_LEFT = [phase.replace("right", "left") for phase in BY_RIGHT]
PHASES = {
    "StoreCerealBoxUnderShelf": [*PICK, "draw back", "lower", "slide in", "set down", "release"]
    + ["withdraw", "close behind", "push in", "retreat"],
    "PutSpatulaOnTable": [*PICK, "carry", "lower", "release", "retreat"],
    "PlaceAppleFromBowlIntoBin": BY_LEFT + BY_RIGHT,
}
MIDWAY = {  # task -> phase of the copy, the arm that holds the object then
    "StoreCerealBoxUnderShelf": ("draw back", LEFT),
    "PutSpatulaOnTable": ("carry", RIGHT),
    "PlaceAppleFromBowlIntoBin": ("right carry", RIGHT),
}
SECONDS = {"StoreCerealBoxUnderShelf": (10, 16), "PutSpatulaOnTable": (9, 15), "PlaceAppleFromBowlIntoBin": (18, 28)}


@dataclass
class Run:
    """A demonstration: per step of 0.1 s the phase, success and snapshot; the station at its end and midway."""

    phases: list[str]
    successes: list[bool]
    snapshots: list[Snapshot]
    end: Station
    midway: Station
    arm: int  # holds the object midway


@pytest.fixture(scope="module", params=list(TASKS))
def run(request) -> Run:
    station, (phase, arm) = make_station(request.param, seed=7), MIDWAY[request.param]
    demonstration, phases, successes, snapshots, copies = ScriptedDemonstration(station), [], [], [], []
    while not demonstration.done:
        phases.append(station.phase())
        successes.append(station.success())
        snapshots.append(station.snapshot())
        if phases[-1] == phase:
            copies.append(station.copy())
        demonstration.step(0.1)
    return Run(phases, successes, snapshots, station, copies[len(copies) // 2], arm)


def test_it_is_unsolved_at_first_and_solved_at_last(run):
    low, high = SECONDS[run.end.task.name]
    assert run.end.success() and low < run.end.time_s < high < run.end.task.time_limit_s + 5
    release = [phase for phase in PHASES[run.end.task.name] if "release" in phase][-1]
    assert not any(run.successes[: run.phases.index(release)])


def test_phases_come_in_order(run):
    changes = [b for a, b in zip([None, *run.phases], run.phases, strict=False) if a != b]
    assert changes == PHASES[run.end.task.name]


def test_it_can_be_taken_up_midway(run):
    copy = run.midway.copy()
    demonstration = ScriptedDemonstration(copy)
    while not demonstration.done:
        demonstration.step(0.1)
    assert copy.success()


def test_hands_move_slowly_enough_for_frames_half_a_second_apart(run):
    positions = np.array([[X_WG.translation() for X_WG in now.X_WG] for now in run.snapshots])
    assert np.linalg.norm(np.diff(positions, axis=0), axis=-1).max() / 0.1 < 0.16


def test_the_object_stays_where_it_is_in_the_hand(run):
    """Friction holds it: within 5 mm and 5 degrees all the way of the carrying phase."""
    held = [now for now, phase in zip(run.snapshots, run.phases, strict=True) if phase == MIDWAY[run.end.task.name][0]]
    poses = [now.X_WG[run.arm].InvertAndCompose(now.X_WO[run.end.task.moved]) for now in held]
    slips = [poses[0].InvertAndCompose(pose) for pose in poses]
    assert max(np.linalg.norm(slip.translation()) for slip in slips) < 0.005
    assert max(slip.rotation().ToAngleAxis().angle() for slip in slips) < np.deg2rad(5)


def test_it_is_held_by_friction_alone(run):
    """Fingers that stay closed hold it for two seconds, fingers that open let it fall."""
    fallen_m = {}
    for name, width_m in (("closed", None), ("open", 0.155)):
        station = run.midway.copy()
        widths, before_m = station.commanded_width_m(), station.X_W_object()[2, 3]
        widths[run.arm] = widths[run.arm] if width_m is None else width_m
        station.set_command(station.commanded_X_WG(), widths)
        station.advance(1.0)
        station.advance(1.0)
        fallen_m[name] = before_m - station.X_W_object()[2, 3]
    assert fallen_m["open"] > 0.03 and abs(fallen_m["closed"]) < 0.005


def test_nothing_but_the_object_is_moved(run):
    for name in run.end.task.objects:
        if name != run.end.task.moved:
            start, end = run.snapshots[0].X_WO[name], run.end.snapshot().X_WO[name]
            assert np.linalg.norm(end.translation() - start.translation()) < 0.005


def test_widths_lie_clear_of_the_threshold(run):
    threshold_m = run.end.task.gripper_threshold_m
    assert run.snapshots[0].width_m[run.arm] > threshold_m + 0.02
    assert run.midway.width_m()[run.arm] < threshold_m - 0.01


def test_an_object_that_is_held_or_moving_is_not_there_yet(run):
    done, solved, name = run.end.snapshot(), run.end.task.is_solved, run.end.task.moved
    assert solved(done)
    assert not solved(replace(done, speed=done.speed | {name: 0.3}))
    lifted = RigidTransform([0.0, 0.0, 0.2]) @ done.X_WO[name]
    assert not solved(moved(done, name, lifted))
    X_GO = run.midway.snapshot().X_WG[run.arm].InvertAndCompose(run.midway.snapshot().X_WO[name])
    hands, widths = list(done.X_WG), list(done.width_m)
    hands[run.arm], widths[run.arm] = done.X_WO[name] @ X_GO.inverse(), run.midway.width_m()[run.arm]
    assert not solved(replace(done, X_WG=tuple(hands), width_m=tuple(widths)))


def test_an_object_out_of_hand_in_the_air_is_lost(run):
    done, name = run.end.snapshot(), run.end.task.moved
    aside = RigidTransform([-0.25, 0.0, 0.1]) @ done.X_WO[name]
    assert run.end.task.decide(moved(done, name, aside)).phase == "lost"


def moved(now: Snapshot, name: str, X_WO: RigidTransform) -> Snapshot:
    return replace(now, X_WO=now.X_WO | {name: X_WO})


@pytest.mark.parametrize("task", TASKS.values(), ids=list(TASKS))
def test_a_seed_is_one_layout_and_another_seed_another(task):
    first, again, other = (task.draw_layout(np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert set(first.X_WO) == set(task.objects)
    for name in task.objects:
        assert first.X_WO[name].IsExactlyEqualTo(again.X_WO[name])
        assert np.linalg.norm(first.X_WO[name].translation() - other.X_WO[name].translation()) > 0.001


@pytest.mark.parametrize("task", TASKS.values(), ids=list(TASKS))
def test_only_what_is_moved_is_an_object(task):
    labels = list(task.objects.values())
    assert labels.count(Label.OBJECT) == 1 and set(labels) == {Label.OBJECT, Label.FIXTURE}
    assert task.gripper_threshold_m < load_gripper().max_width_m - 0.02


def box_at(x_F: float, y_F: float, z_F: float, turn: float = 0.0) -> Snapshot:
    """A cereal box at rest at a place of the shelf, both hands open and far away."""
    X_WF = RigidTransform(RotationMatrix.MakeZRotation(-0.5), [0.1, -0.07, 0.0])
    X_FB = RigidTransform(RotationMatrix.MakeZRotation(turn), [x_F, y_F, z_F])
    away = RigidTransform([-0.3, 0.3, 0.5])
    return Snapshot((away, away), (0.155, 0.155), {"shelf": X_WF, "cereal_box": X_WF @ X_FB}, {"cereal_box": 0.0})


def test_a_box_on_the_board_beside_the_shelf_or_half_under_it_is_not_stored():
    assert cereal_box.is_solved(box_at(0.0, 0.0, 0.0))
    assert cereal_box.is_solved(box_at(0.0, 0.1, 0.0, turn=0.3))
    assert not cereal_box.is_solved(box_at(0.0, 0.0, cereal_box.TOP_M))
    assert not cereal_box.is_solved(box_at(0.0, 0.3, 0.0))
    assert not cereal_box.is_solved(box_at(cereal_box.SET_X_M, 0.0, 0.0))
    assert not cereal_box.is_solved(box_at(0.03, 0.0, 0.0, turn=np.pi / 4))


def test_the_left_arm_cannot_reach_the_bin():
    """A hand that points down by 45 degrees or more stays short of the nearest bin; the right one gets there."""
    bins = [apple.draw_layout(np.random.default_rng(seed)).X_WO["bin"].translation() for seed in range(200)]
    nearest = int(np.argmin([np.linalg.norm(p[:2] - BASE_POSITIONS["left"][:2]) for p in bins]))
    station = make_station("PlaceAppleFromBowlIntoBin", seed=nearest)
    p_WA = bins[nearest] + [0.0, 0.0, 0.054]
    for pitch, yaw in ((45.0, -60.0), (45.0, -35.0), (60.0, -35.0)):
        R_WG = hand_rotation(*np.deg2rad([yaw, pitch]))
        assert missed_m(station, LEFT, RigidTransform(R_WG, p_WA)) > 0.015
    assert missed_m(station, RIGHT, apple.grasp(p_WA, apple.YAW_BIN)) < 0.005


def missed_m(station: Station, arm: int, X_WTarget: RigidTransform) -> float:
    """How far a gripper stays from a pose it is sent to, from above."""
    station = station.copy()
    X_WG = station.commanded_X_WG()
    for height_m in (0.15, 0.0):
        X_WG[arm] = raised(X_WTarget, height_m).GetAsMatrix4()
        station.set_command(X_WG, station.commanded_width_m())
        station.advance(3.0)
    return float(np.linalg.norm(station.X_WG()[arm, :3, 3] - X_WTarget.translation()))
