"""The closed loop: look, imagine, track, act a few frames, look again, until solved or out of time."""

import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import numpy as np

from geo4d_lite.data import CAMERAS
from geo4d_lite.evaluation.oracle_video import OracleVideo
from geo4d_lite.evaluation.statistics import wilson_interval
from geo4d_lite.geometry import RGBD, Intrinsics, sample_camera_poses
from geo4d_lite.geometry.labels import ARMS
from geo4d_lite.perception import ColourSegmenter, SdfTracker
from geo4d_lite.policies import (
    CONFIGS,
    Observation,
    Policy,
    PolicyFailure,
    Trajectory,
    VideoModel,
    VideoPolicy,
    VideoPolicyConfig,
)
from geo4d_lite.simulation import make_station
from geo4d_lite.simulation.station import Station

LITE_CAMERA = CAMERAS["lite"]
WIDTH_CHANGE_M = 0.01
STOPPING_S = 0.1
PolicyMaker = Callable[[Station, np.ndarray], Policy]


@dataclass(frozen=True)
class RolloutOptions:
    """`execute_frames` of each trajectory are acted before looking again; the paper acts all ten.

    `dwell_s`: how long the arms wait while a gripper opens or closes. When a gripper is `max_lag_m` from where it was
    sent, that pose was out of reach: the arms stop, and the robot looks again. The loop ends after `time_factor` times
    the task's limit of simulated time, or after `max_bad_pieces` trajectories in a row in which no gripper was found,
    or in a row of which none could be followed.
    """

    execute_frames: int = 10
    dwell_s: float = 1.0
    time_factor: float = 2.0
    max_bad_pieces: int = 2
    max_lag_m: float = 0.10


@dataclass(frozen=True)
class RolloutRecord:
    """How one rollout went. `phase`: of the scripted task, where it ended. `reason`: why it failed, "" on success.

    `simulated_s`: time in the simulation; `pieces`: how often the policy was asked; `seconds`: wall time by stage.
    """

    task: str
    seed: int
    success: bool
    phase: str
    reason: str
    simulated_s: float
    pieces: int
    seconds: dict[str, float] = field(default_factory=dict)

    def __str__(self) -> str:
        how = "solved" if self.success else f"failed: {self.reason}"
        return f"{self.task} seed {self.seed}: {how} after {self.simulated_s:.1f} s and {self.pieces} videos"


class UnsafeCommand(RuntimeError):
    """The robot was stopped; the message says why."""


class OutOfReach(UnsafeCommand):
    """A gripper could not follow; the arms stand where they are."""


def held_out_cameras(seed: int) -> np.ndarray:
    """Poses X_WC (2, 4, 4) of a reference and a second camera, drawn from the shell anew for every seed.

    They are independent of the draws for any data set, so no policy has seen them.
    """
    return sample_camera_poses(2, np.random.default_rng([seed, 0xC0FFEE]))


def look(station: Station, X_WC: np.ndarray, K: Intrinsics = LITE_CAMERA) -> Observation:
    """What the policy is shown of the station now, from cameras X_WC (2, 4, 4)."""
    shots = [station.render(X, K) for X in X_WC]
    views = [RGBD(shot.rgb, shot.depth_m, K.matrix) for shot in shots]
    return Observation(*views, X_WC[0], station.X_WG(), station.width_m(), X_WC[1])


def act(
    station: Station,
    trajectory: Trajectory,
    options: RolloutOptions = RolloutOptions(),
    after_step: Callable[[Station], None] = lambda station: None,
) -> None:
    """Carry out the first `execute_frames` of a trajectory; stops early once the task is solved.

    Raises UnsafeCommand for poses that are not finite or not rigid, and OutOfReach where a gripper could not follow.
    """
    count = options.execute_frames
    X_WG, width_m = station.commanded_X_WG(), station.commanded_width_m()
    for next_X_WG, next_width_m in zip(trajectory.X_WG[:count], trajectory.width_m[:count], strict=True):
        for leg in _legs(X_WG, width_m, next_X_WG, next_width_m, trajectory.step_s, options.dwell_s):
            _command(station, leg.X_WG, leg.width_m)
            station.advance(leg.duration_s)
            after_step(station)
        _check_reached(station, next_X_WG, options.max_lag_m)
        X_WG, width_m = next_X_WG, next_width_m
        if station.success():
            return


@dataclass(frozen=True, eq=False)
class _Leg:
    """One command: poses (2, 4, 4) and widths (2,) to reach within `duration_s`."""

    X_WG: np.ndarray
    width_m: np.ndarray
    duration_s: float


def _legs(X_WG, width_m, next_X_WG, next_width_m, step_s, dwell_s) -> list[_Leg]:
    """From one frame of a trajectory to the next; where a gripper closes or opens, the arms wait for it.

    A frame says that a gripper is closed *by then*, and fingers count as closed only when they are nearly on the
    object: the hand has stood still before, and may have moved on since. So they close where the hand was. Fingers
    count as open soon after they let go: they open where the hand is now.
    """
    closes, opens = next_width_m < width_m - WIDTH_CHANGE_M, next_width_m > width_m + WIDTH_CHANGE_M
    underway_m = np.where(opens, width_m, next_width_m)
    legs = [_Leg(X_WG, underway_m, dwell_s)] if closes.any() else []
    legs.append(_Leg(next_X_WG, underway_m, step_s))
    return legs + ([_Leg(next_X_WG, next_width_m, dwell_s)] if opens.any() else [])


def _command(station: Station, X_WG: np.ndarray, width_m: np.ndarray) -> None:
    try:
        station.set_command(X_WG, width_m)
    except ValueError as error:
        raise UnsafeCommand(str(error)) from error


def _check_reached(station: Station, X_WG: np.ndarray, max_lag_m: float) -> None:
    lag_m = np.linalg.norm(station.X_WG()[:, :3, 3] - X_WG[:, :3, 3], axis=1)
    arm = int(lag_m.argmax())
    if not lag_m[arm] <= max_lag_m:
        station.set_command(station.X_WG(), station.commanded_width_m())
        station.advance(STOPPING_S)
        raise OutOfReach(f"unreachable: the {ARMS[arm]} gripper is {100 * lag_m[arm]:.0f} cm from where it was sent")


def rollout(
    task: str,
    seed: int,
    make_policy: PolicyMaker,
    X_WC: np.ndarray | None = None,
    options: RolloutOptions = RolloutOptions(),
    after_step: Callable[[Station], None] = lambda station: None,
    camera: Intrinsics = LITE_CAMERA,
) -> RolloutRecord:
    """One closed loop from the initial pose of `seed`, seen by cameras X_WC (2, 4, 4), held-out ones by default.

    `make_policy(station, X_WC)` gives the policy; only an oracle has a use for the station. `after_step(station)` is
    called after every commanded step, to record. Whatever the policy answers, the rollout ends with a record.
    """
    X_WC = held_out_cameras(seed) if X_WC is None else X_WC
    station = make_station(task, seed)
    policy = make_policy(station, X_WC)
    seconds: dict[str, float] = defaultdict(float)
    pieces, blind, astray, reason = 0, 0, 0, ""
    seen = deque([look(station, X_WC, camera)], maxlen=2)  # after the last step and after the one before it

    def remember(station: Station) -> None:
        seen.append(look(station, X_WC, camera))
        after_step(station)

    while not station.success():
        if station.time_s >= options.time_factor * station.task.time_limit_s:
            reason = f"time is over in phase {station.phase()!r}"
            break
        try:
            with _timed(seconds, "look"):
                observation = replace(look(station, X_WC, camera), earlier=seen[0])
            trajectory = policy.predict_action(observation)
            for stage, spent_s in trajectory.seconds.items():
                seconds[stage] += spent_s
            pieces, blind = pieces + 1, blind + 1 if trajectory.is_blind else 0
            if blind >= options.max_bad_pieces:
                reason = f"no gripper found in {blind} videos in a row"
                break
            with _timed(seconds, "act"):
                act(station, trajectory, options, remember)
            astray = 0
        except OutOfReach as error:
            astray += 1
            if astray >= options.max_bad_pieces:
                reason = f"{error}, as in the video before"
                break
        except (UnsafeCommand, PolicyFailure) as error:
            reason = str(error)
            break
    return RolloutRecord(
        task, seed, not reason, station.phase(), reason, round(station.time_s, 2), pieces, dict(seconds)
    )


def summarise_rollouts(records: list[RolloutRecord]) -> dict:
    """Successes, trials n, rate with its 95% Wilson interval, phases in which failures ended, mean seconds by stage."""
    successes, n = sum(record.success for record in records), len(records)
    failed = [record.phase for record in records if not record.success]
    stages = {name for record in records for name in record.seconds}
    return {
        "value": successes / n,
        "interval": list(wilson_interval(successes, n)),
        "successes": successes,
        "n": n,
        "failed_in_phase": {phase: failed.count(phase) for phase in sorted(set(failed))},
        "seconds": {
            name: float(np.mean([record.seconds.get(name, 0.0) for record in records])) for name in sorted(stages)
        },
    }


def video_policy(
    video_model: VideoModel, threshold_m: float, config: VideoPolicyConfig = CONFIGS["confident"]
) -> VideoPolicy:
    """The video policy with the lite perception: segmenter by colour, tracker by the CAD's visible surface."""
    segmenter = ColourSegmenter()
    return VideoPolicy(video_model, segmenter, lambda arm: SdfTracker(arm, segmenter), threshold_m, config)


def oracle_policy(
    threshold_m: float,
    K: Intrinsics = LITE_CAMERA,
    make: Callable[[VideoModel, float], VideoPolicy] = video_policy,
) -> PolicyMaker:
    """What `make` makes of a video model, shown the true future of the station it acts in."""
    return lambda station, X_WC: make(OracleVideo(station, X_WC, K), threshold_m)


def along_true_path(
    imagine: VideoModel, threshold_m: float, K: Intrinsics, make: Callable[[VideoModel, float], VideoPolicy]
) -> PolicyMaker:
    """What `make` makes of the model `imagine`, whose hands are drawn where the demonstration will really have them."""

    def policy(station: Station, X_WC: np.ndarray) -> VideoPolicy:
        oracle = OracleVideo(station, X_WC, K)

        def drawn(view_n, view_m, path=None):
            return imagine(view_n, view_m, path=oracle.path() if path is None else path)

        return make(drawn, threshold_m)

    return policy


@contextmanager
def _timed(seconds: dict[str, float], stage: str) -> Iterator[None]:
    start = time.perf_counter()
    try:
        yield
    finally:
        seconds[stage] += time.perf_counter() - start
