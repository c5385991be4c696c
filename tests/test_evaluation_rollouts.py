"""The closed loop in the simulator: it solves the task on true futures, and stops safely on everything else."""

import shutil
from dataclasses import asdict, replace

import numpy as np
import pytest
from joblib import parallel_config

from geo4d_lite.commands import rollout as command
from geo4d_lite.commands.rollout import Rollout, main, policy_maker
from geo4d_lite.evaluation.oracle_video import OracleVideo
from geo4d_lite.evaluation.results import fingerprint, provenance, read_json, same_settings, write_json
from geo4d_lite.evaluation.rollouts import (
    LITE_CAMERA,
    RolloutOptions,
    RolloutRecord,
    UnsafeCommand,
    act,
    along_true_path,
    held_out_cameras,
    look,
    oracle_policy,
    rollout,
    summarise_rollouts,
    video_policy,
)
from geo4d_lite.evaluation.video_models import load_video_model
from geo4d_lite.geometry import CameraShell, register_views, transform
from geo4d_lite.models import Video4D
from geo4d_lite.models.path_model import PathModel
from geo4d_lite.models.weights import shipped
from geo4d_lite.policies import PolicyFailure, StandStill, Trajectory, poses_of_path
from geo4d_lite.simulation import ScriptedDemonstration, make_station

TASK, SEED, THRESHOLD_M = "PutSpatulaOnTable", 9_000_000, 0.06


class Changed:
    """Stands still, but for one change to what it commands."""

    def __init__(self, change):
        self.change = change

    def predict_action(self, observation):
        answer = StandStill().predict_action(observation)
        X_WG = answer.X_WG.copy()
        self.change(X_WG)
        return Trajectory(X_WG, answer.width_m, answer.score, answer.view)


class Blanked:
    """An oracle's video with every image black."""

    def __init__(self, oracle):
        self.oracle = oracle

    def __call__(self, view_n, view_m):
        video = self.oracle(view_n, view_m)
        return Video4D(np.zeros_like(video.rgb), video.pointmap, video.valid)


def test_the_shipped_path_model_knows_where_the_hands_will_be_in_half_a_second():
    station, X_WC = make_station(TASK, SEED), held_out_cameras(SEED)
    views = [getattr(look(station, X_WC), name) for name in ("view_n", "view_m")]
    model = PathModel.from_pretrained(shipped("path_model"), low_cpu_mem_usage=False).float().eval()
    path = model.predict(*views, register_views(*views).X_nm)
    demonstration = ScriptedDemonstration(station)
    for _ in range(5):
        demonstration.step(0.1)
    said = transform(X_WC[0], path[0, 0, :, :3].double().numpy())
    assert np.linalg.norm(said - station.X_WG()[:, :3, 3], axis=1).max() < 0.04


def test_evaluated_films_are_drawn_along_what_the_path_model_reads_if_there_is_one():
    station, X_WC = make_station(TASK, SEED), held_out_cameras(SEED)
    views = [getattr(look(station, X_WC), name) for name in ("view_n", "view_m")]
    without, along = (load_video_model(None, 1, folder)[0](views, {}, 0) for folder in (None, shipped("path_model")))
    model = PathModel.from_pretrained(shipped("path_model"), low_cpu_mem_usage=False).float().eval()
    read = model.predict(*views, register_views(*views).X_nm)[0]
    assert without.path is None
    np.testing.assert_allclose(along.path, read, atol=1e-6)
    assert (along.rgb != without.rgb).any()


@pytest.mark.slow
def test_the_shipped_path_acted_without_a_film_solves_the_task():
    assert rollout(TASK, SEED, policy_maker(Rollout(TASK, "path"))).success


@pytest.mark.parametrize(
    "options",
    [
        Rollout(TASK, "stand-still", redraws=1),
        Rollout(TASK, "path", redraws=1, path_model=shipped("path_model")),
        Rollout(TASK, "video", redraws=1),
    ],
)
def test_only_films_drawn_along_a_path_model_s_path_can_be_redrawn(options):
    with pytest.raises(ValueError, match="needs --policy video and --path-model"):
        policy_maker(options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (Rollout(TASK, "oracle", weights=shipped()), "oracle takes no --weights"),
        (Rollout(TASK, "stand-still", path_model=shipped("path_model")), "stand-still takes no --path-model"),
        (Rollout(TASK, "stand-still", sam2="somewhere"), "takes neither --foundationpose nor --sam2"),
        (Rollout(TASK, "dp3"), "dp3 needs --weights"),
        (Rollout(TASK, "oracle", true_path=True), "--true-path says where videos draw the hands"),
        (Rollout(TASK, "video", true_path=True, path_model=shipped("path_model")), "and no --path-model"),
    ],
)
def test_an_option_that_would_not_be_used_is_refused_and_leaves_no_folder(options, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        main(replace(options, out=tmp_path / "records"))
    assert not (tmp_path / "records").exists()


def test_records_of_another_seed_or_of_other_weights_are_not_used(tmp_path):
    options = Rollout(TASK, "path", episodes=1, path_model=shutil.copytree(shipped("path_model"), tmp_path / "weights"))
    varying = ("episodes", "workers", "out", "result")
    kept = {name: value for name, value in asdict(options).items() if name not in varying}
    same_settings(tmp_path / "records", kept | {"of_path_model": fingerprint(options.path_model)})
    with pytest.raises(ValueError, match=r"other settings \(seed\)"):
        main(replace(options, seed=9_000_001, out=tmp_path / "records"))
    (options.path_model / "config.json").write_text("{}")
    with pytest.raises(ValueError, match=r"other settings \(of_path_model\)"):
        main(replace(options, out=tmp_path / "records"))


@pytest.mark.parametrize(("preset", "size"), [("lite", (128, 160)), ("paper", (256, 320))])
def test_a_policy_is_shown_images_of_the_preset_s_size(preset, size, tmp_path, monkeypatch):
    shown = []

    class Refuses:
        def predict_action(self, observation):
            shown.extend((observation, observation.earlier))
            raise PolicyFailure("seen enough")

    monkeypatch.setattr(command, "policy_maker", lambda options: lambda station, X_WC: Refuses())
    main(Rollout(TASK, "stand-still", 1, preset=preset, out=tmp_path / "records", result=tmp_path / "result.json"))
    assert read_json(tmp_path / "result.json")["preset"] == preset
    for observation in shown:
        for view in (observation.view_n, observation.view_m):
            assert view.rgb.shape[:2] == view.depth_m.shape == size
            np.testing.assert_allclose(view.K[:2, 2], [(size[1] - 1) / 2, (size[0] - 1) / 2])
    assert len(shown) == 2


def test_fewer_redraws_than_none_are_refused(tmp_path):
    with pytest.raises(ValueError, match="redraws is -1; expected 0 or more"):
        main(Rollout(TASK, "video", redraws=-1, out=tmp_path))


@pytest.mark.slow
def test_oracle_video_solves_the_task_from_an_unseen_pose():
    record = rollout(TASK, SEED, oracle_policy(THRESHOLD_M))
    assert record.success and record.reason == "", record
    assert record.phase == "retreat" and record.pieces <= 6
    assert record.seconds.keys() == {"look", "video", "tracking", "act"}


def test_oracle_with_blanked_images_fails_safely():
    def make_policy(station, X_WC):
        return video_policy(Blanked(OracleVideo(station, X_WC, LITE_CAMERA, frames=2)), THRESHOLD_M)

    moved = []
    record = rollout(TASK, SEED, make_policy, after_step=lambda station: moved.append(station.X_WG()))
    assert not record.success
    assert "no gripper found" in record.reason
    assert np.abs(moved[-1] - moved[0])[:, :3, 3].max() < 0.01, "the arms held still"


def test_oracle_leaves_the_station_as_it_is_and_shows_its_future():
    station, X_WC = make_station(TASK, SEED), held_out_cameras(SEED)
    before = station.positions()
    observation = look(station, X_WC)
    video = OracleVideo(station, X_WC, LITE_CAMERA, frames=2)(observation.view_n, observation.view_m)
    np.testing.assert_array_equal(station.positions(), before)
    assert station.time_s == 0.0
    assert video.rgb.shape == (2, 2, 128, 160, 3) and video.rgb.dtype == np.uint8
    assert video.pointmap.shape == (2, 2, 128, 160, 3)
    assert (video.rgb[0, 1] != observation.view_n.rgb).any(), "something moved"


def test_the_oracle_s_path_is_where_the_hands_will_be():
    station, X_WC = make_station(TASK, SEED), held_out_cameras(SEED)
    X_nG, width_m = poses_of_path(OracleVideo(station, X_WC, LITE_CAMERA, frames=3).path())
    assert station.time_s == 0.0
    demonstration = ScriptedDemonstration(station)
    for t in range(3):
        for _ in range(5):
            demonstration.step(0.1)
        np.testing.assert_allclose(X_WC[0] @ X_nG[t], station.X_WG(), atol=1e-6)
        np.testing.assert_allclose(width_m[t], station.width_m(), atol=1e-6)


def test_hands_are_drawn_along_the_true_path_until_the_policy_asks_for_another():
    station, X_WC = make_station(TASK, SEED), held_out_cameras(SEED)
    along = along_true_path(lambda view_n, view_m, path: path, THRESHOLD_M, LITE_CAMERA, lambda model, _: model)
    model, now = along(station, X_WC), OracleVideo(station, X_WC, LITE_CAMERA).path()
    np.testing.assert_array_equal(model(None, None), now)
    np.testing.assert_array_equal(model(None, None, path=now + 1), now + 1)
    demonstration = ScriptedDemonstration(station)
    for _ in range(10):
        demonstration.step(0.1)
    later = model(None, None)
    assert np.abs(later - now).max() > 0.01, "the path from where the station stands by then"
    np.testing.assert_allclose(later[:8], now[2:], atol=0.01)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda X: X.__setitem__((3, 1, 0, 3), np.nan), "NaN"),
        (lambda X: X.__setitem__((slice(None), 0, 2, 3), 3.0), "unreachable: the left gripper"),
        (lambda X: X.__imul__(2.0), "rotation"),
    ],
)
def test_impossible_commands_stop_the_robot_and_are_recorded(change, reason):
    record = rollout(TASK, SEED, lambda station, X_WC: Changed(change))
    assert not record.success and reason in record.reason
    assert record.simulated_s <= 5.0


def test_after_one_command_out_of_reach_the_robot_stops_and_looks_again():
    class OnceAstray(Changed):
        def predict_action(self, observation):
            trajectory = super().predict_action(observation)
            self.change = lambda X: None
            return trajectory

    def far_up(X):
        X[:, 0, 2, 3] = 3.0

    lag_m = []

    def watch(station):
        lag_m.append(np.abs(station.commanded_X_WG() - station.X_WG())[0, :3, 3].max())

    options = RolloutOptions(time_factor=0.4)
    record = rollout(TASK, SEED, lambda station, X_WC: OnceAstray(far_up), options=options, after_step=watch)
    assert "time is over" in record.reason and record.pieces > 1
    assert lag_m[-1] < 0.01, "the arm no longer strains towards what it cannot reach"


def test_a_policy_without_an_answer_is_recorded():
    class Silent:
        def predict_action(self, observation):
            raise PolicyFailure("lost my weights")

    assert rollout(TASK, SEED, lambda station, X_WC: Silent()).reason == "lost my weights"


def test_standing_still_runs_out_of_time():
    record = rollout(TASK, SEED, lambda station, X_WC: StandStill(2), options=RolloutOptions(time_factor=0.05))
    assert not record.success and "time is over in phase 'reach'" == record.reason


def test_rollouts_side_by_side_are_all_recorded_and_only_missing_ones_are_rolled_out(tmp_path, monkeypatch, capsys):
    def fails(task: str, seed: int, *_, **__) -> RolloutRecord:
        return RolloutRecord(task, seed, False, "reach", "not moved", 4.5, 1, {})

    def run(workers: int) -> list[int]:
        main(Rollout(TASK, "stand-still", episodes=5, workers=workers, out=tmp_path, result=tmp_path / "result.json"))
        return [rollout["seed"] for rollout in read_json(tmp_path / "result.json")["rollouts"]]

    monkeypatch.setattr("geo4d_lite.evaluation.rollouts.rollout", fails)
    with parallel_config("threading"):  # which share the stand-in
        assert run(2) == [SEED + i for i in range(5)]
        (tmp_path / f"seed_{SEED + 3}.json").unlink()
        capsys.readouterr()
        assert run(2) == [SEED + i for i in range(5)]
    assert capsys.readouterr().out.count("not moved") == 1
    with pytest.raises(ValueError, match="workers is 0"):
        run(0)


def test_a_policy_is_shown_what_was_seen_one_executed_frame_before():
    asked, passed = [], []

    class Rising(Changed):
        def predict_action(self, observation):
            asked.append(observation)
            return super().predict_action(observation)

    def rise(X):
        X[:, 0, 2, 3] += 0.02 * np.arange(1, len(X) + 1)

    options = RolloutOptions(execute_frames=3, time_factor=0.08)
    rollout(
        TASK, SEED, lambda station, X_WC: Rising(rise), options=options, after_step=lambda s: passed.append(s.X_WG())
    )
    first, second = asked[:2]
    np.testing.assert_array_equal(first.earlier.X_WG, first.X_WG)
    np.testing.assert_array_equal(first.earlier.view_n.rgb, first.view_n.rgb)
    np.testing.assert_allclose(second.earlier.X_WG, passed[1], atol=1e-12)
    np.testing.assert_allclose(second.X_WG, passed[2], atol=1e-12)
    assert (second.earlier.view_m.rgb != second.view_m.rgb).any()
    np.testing.assert_array_equal(second.X_WC_m, held_out_cameras(SEED)[1])


def test_only_the_first_frames_are_acted_and_a_gripper_change_gets_time():
    station = make_station(TASK, SEED)
    hold = StandStill(6).predict_action(look(station, held_out_cameras(SEED)))
    start = station.time_s
    act(station, hold, RolloutOptions(execute_frames=3))
    assert station.time_s - start == pytest.approx(1.5)
    width_m = hold.width_m.copy()
    width_m[1:, 1] = 0.03
    closing = Trajectory(hold.X_WG, width_m, hold.score, hold.view)
    start = station.time_s
    act(station, closing, RolloutOptions(execute_frames=2, dwell_s=1.4))
    assert station.time_s - start == pytest.approx(2 * 0.5 + 1.4)
    assert station.width_m()[1] < 0.05
    with pytest.raises(UnsafeCommand, match="NaN"):
        act(station, Trajectory(hold.X_WG * np.nan, width_m, hold.score, hold.view))


def test_cameras_are_in_the_shell_and_new_for_every_seed():
    cameras = np.stack([held_out_cameras(seed) for seed in range(20)])
    assert CameraShell().contains(cameras[..., :3, 3]).all()
    assert len(np.unique(cameras[..., 0, 3])) == 40
    np.testing.assert_array_equal(held_out_cameras(3), held_out_cameras(3))


def test_summary_counts_and_names_where_failures_ended():
    records = [
        RolloutRecord(TASK, seed, seed % 4 != 0, "lift" if seed % 4 == 0 else "retreat", "", 10.0, 2, {"act": 1.0})
        for seed in range(8)
    ]
    summary = summarise_rollouts(records)
    assert (summary["successes"], summary["n"], summary["value"]) == (6, 8, 0.75)
    assert summary["interval"][0] < 0.75 < summary["interval"][1]
    assert summary["failed_in_phase"] == {"lift": 2}


def test_results_survive_json_and_a_run_is_not_mixed_with_another(tmp_path):
    record = RolloutRecord(TASK, 3, False, "lift", "NaN", 4.5, 1, {"act": 1.25})
    write_json(tmp_path / "deep" / "r.json", asdict(record))
    assert RolloutRecord(**read_json(tmp_path / "deep" / "r.json")) == record
    assert not list(tmp_path.rglob("*.tmp"))
    write_json(tmp_path / "nan.json", {"value": float("nan")})
    assert read_json(tmp_path / "nan.json") == {"value": None}
    write_json(tmp_path / "lines.json", {"n": 2, "rows": [{"a": 1 / 3}, {"a": [1e-9 / 3]}]})
    text = (tmp_path / "lines.json").read_text()
    assert text == '{\n  "n": 2,\n  "rows": [\n    {"a": 0.3333333},\n    {"a": [3.333333e-10]}\n  ]\n}\n'
    begun = same_settings(tmp_path, {"policy": "oracle", "weights": tmp_path, "share": 1 / 3})
    assert same_settings(tmp_path, {"policy": "oracle", "weights": tmp_path, "share": 1 / 3}) == begun
    assert provenance("a command", begun)["commit"] == provenance("a command")["commit"]
    write_json(tmp_path / "settings.json", begun | {"commits": ["of before"]})
    begun = same_settings(tmp_path, {"policy": "oracle"})
    assert provenance("a command", begun)["commit"].startswith("of before, "), "records of two commits say so"
    with pytest.raises(ValueError, match="policy"):
        same_settings(tmp_path, {"policy": "video", "weights": tmp_path})
    (tmp_path / "cut.json").write_text('{"value": 1')
    with pytest.raises(ValueError, match="cut.json is not JSON"):
        read_json(tmp_path / "cut.json")
