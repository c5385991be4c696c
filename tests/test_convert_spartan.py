"""Published episodes into the store: values and geometry arrive, and what does not fit is refused with the mend."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
import tyro
import yaml
from scipy.spatial.transform import Rotation
from spartan_sample import edit_archive, millimetres, sample_arrays, write_sample

from data_scripts import convert_4dgen, convert_lbm, spartan
from data_scripts.command_line import run
from geo4d_lite.data import SourceError, check_dataset, decode_depth, open_dataset
from geo4d_lite.geometry import Label, transform, unproject

ARRAYS = sample_arrays(cameras=6)
LBM_CAMERAS = {"6CD146030E99": "scene_right_0", "6CD146031C25": "scene_left_0", "BFS_23595718": "wrist_left_minus"}


@pytest.fixture(scope="module")
def source_4dgen(tmp_path_factory):
    """Two episodes of six cameras, of which the last two are to be held out; one says how it ended."""
    source = tmp_path_factory.mktemp("4dgen")
    session = source / "BimanualPutSpatulaOnTableFromUtensilCrock" / "2025-03-29T06-34-17+00-00" / "diffusion_spartan"
    cameras = {f"scene_{number}": f"scene_{number}" for number in range(1, 7)}
    write_sample(session / "episode_2", ARRAYS, cameras, success=None)
    write_sample(session / "episode_10", ARRAYS, cameras)
    for number in (2, 10):  # labels as in the release: the left arm's hand and fingers are 33 to 35
        path = session / f"episode_{number}" / "processed" / "observations.npz"
        logged = np.select([ARRAYS.label == label for label in (4, 6, 7, 10)], [33, 34, 35, 44], 1).astype(np.int16)
        edit_archive(path, **{f"scene_{index + 1}_label": logged[:, index] for index in range(6)})
    return source


@pytest.fixture(scope="module")
def source_lbm(tmp_path_factory):
    """One episode of two cameras that stand still and one on a wrist."""
    source = tmp_path_factory.mktemp("lbm")
    folder = write_sample(source / "diffusion_spartan" / "episode_42", ARRAYS, LBM_CAMERAS, success=False)
    moving = np.tile(np.eye(4), (12, 1, 1))
    moving[:, 0, 3] = np.linspace(0, 0.4, 12)
    edit_archive(folder / "extrinsics.npz", BFS_23595718=moving)
    return source


def options_4dgen(source, root, **changes):
    cameras = tuple(f"scene_{number}" for number in range(1, 7))
    return replace(convert_4dgen.Convert4DGen(source, root, cameras), test_episodes=0, **changes)


@pytest.fixture(scope="module")
def dataset(source_4dgen, tmp_path_factory):
    root = tmp_path_factory.mktemp("converted")
    convert_4dgen.main(options_4dgen(source_4dgen, root, labels={44: Label.OBJECT}))
    return open_dataset(root)


def test_published_episodes_become_a_sound_data_set(dataset):
    assert check_dataset(dataset.root) == []
    first, second = dataset.episodes
    assert first.info.task == "PutSpatulaOnTable" and first.info.success and second.info.success
    assert first.info.camera_split == ("train",) * 4 + ("test",) * 2
    assert first.info.seed != second.info.seed and first.info.hz == 2


def test_two_frames_a_second_are_kept_with_the_state_of_those_moments(dataset):
    episode = dataset.episodes[0]
    kept = [0, 5, 10]
    np.testing.assert_allclose(episode.time_s, [0.0, 0.5, 1.0])
    np.testing.assert_allclose(episode.X_WG, ARRAYS.X_WG[kept], atol=1e-12)
    np.testing.assert_array_equal(episode.width_m, ARRAYS.width_m[kept])
    np.testing.assert_array_equal(episode.joint_positions, ARRAYS.joint_positions[kept])
    np.testing.assert_array_equal(episode.X_WC, ARRAYS.X_WC)


def test_depth_keeps_its_values_and_what_is_out_of_range_is_no_measurement(dataset):
    for camera in (0, 5):
        got = np.unique(dataset.episodes[0].read_camera(camera)[1])
        assert set(got) == set(10 * np.unique(millimetres(ARRAYS.depth[[0, 5, 10], camera]).astype(np.int64) % 65535))


def test_the_points_of_the_table_lie_on_the_table(dataset):
    """Depth unit, extrinsics and the resized calibration matrix together."""
    episode = dataset.episodes[0]
    for camera in range(6):
        _, depth, label = episode.read_camera(camera)
        points, valid = unproject(decode_depth(depth[0]), episode.K[camera])
        z = transform(episode.X_WC[camera], points)[valid & (label[0] == Label.BACKGROUND), 2]
        assert abs(np.mean(z)) < 1e-3 and np.percentile(np.abs(z), 95) < 0.015


def test_gripper_labels_of_the_release_are_known_and_others_can_be_named(dataset):
    label = dataset.episodes[0].read_camera(0)[2]
    assert set(np.unique(label)) == {0, Label.HAND_LEFT, 6, 7, Label.OBJECT}
    ours = np.mean(ARRAYS.label[[0, 5, 10], 0] == Label.OBJECT)
    assert np.mean(label == Label.OBJECT) == pytest.approx(ours)


def test_a_conversion_that_was_interrupted_goes_on_where_it_stopped(source_4dgen, dataset, tmp_path):
    root = shutil.copytree(dataset.root, tmp_path / "again")
    shutil.rmtree(root / "episode_0001.zarr")
    kept = (root / "episode_0000.zarr" / "zarr.json").stat().st_mtime_ns
    convert_4dgen.main(options_4dgen(source_4dgen, root, labels={44: Label.OBJECT}))
    assert (root / "episode_0000.zarr" / "zarr.json").stat().st_mtime_ns == kept
    assert (root / "manifest.json").read_text() == (dataset.root / "manifest.json").read_text()


def test_lbm_keeps_the_cameras_that_stand_still(source_lbm, tmp_path):
    convert_lbm.main(convert_lbm.ConvertLBM(source_lbm, tmp_path, test_episodes=0))
    (episode,) = open_dataset(tmp_path).episodes
    np.testing.assert_array_equal(episode.X_WC, ARRAYS.X_WC[:2])
    assert episode.info.camera_split == ("train", "train") and not episode.info.success
    assert check_dataset(tmp_path) == []


def test_the_tool_frame_and_the_fingers_thickness_are_applied(source_lbm, tmp_path):
    options = convert_lbm.ConvertLBM(
        source_lbm, tmp_path, test_episodes=0, tool_offset_m=0.1, tool_turn_deg=45, finger_thickness_m=0.02
    )
    convert_lbm.main(options)
    (episode,) = open_dataset(tmp_path).episodes
    X_LG = np.eye(4)
    X_LG[:3, :3], X_LG[2, 3] = Rotation.from_euler("z", 45, degrees=True).as_matrix(), 0.1
    np.testing.assert_allclose(episode.X_WG, ARRAYS.X_WG[[0, 5, 10]] @ X_LG, atol=1e-12)
    np.testing.assert_allclose(episode.width_m, ARRAYS.width_m[[0, 5, 10]] + 0.02)


def test_six_numbers_are_the_first_two_rows_of_a_rotation():
    R = Rotation.random(20, rng=0).as_matrix()
    np.testing.assert_allclose(spartan.matrix_from_rows(R[:, :2].reshape(20, 6) * 1.7), R, atol=1e-12)


def lose(file):
    return lambda folder: (folder / file).unlink()


def shorten_a_camera(folder):
    edit_archive(folder / "observations.npz", **{"6CD146031C25_depth": millimetres(ARRAYS.depth[:11, 1])})


def delay_a_camera(folder):
    path = folder / "images_6CD146031C25" / "pose_data.yaml"
    poses = yaml.safe_load(path.read_text())
    late = {frame: {"timestamp": pose["timestamp"] + 30_000} for frame, pose in poses.items()}
    path.write_text(yaml.safe_dump(late))


def log_metres(folder):
    depth_m = decode_depth(ARRAYS.depth[:, 1])
    edit_archive(folder / "observations.npz", **{"6CD146031C25_depth": depth_m})


@pytest.mark.parametrize(
    ("damage", "changes", "message"),
    [
        (None, {"cameras": ("scene_left_0", "scene_top")}, r"scene_top is missing; .*6CD146030E99 \(scene_right_0\)"),
        (None, {"cameras": ("scene_left_0",)}, "1 camera.* a window needs two"),
        (None, {"cameras": ("scene_left_0", "wrist_left_minus")}, "BFS_23595718 moves by 0.400 m .*--cameras"),
        (shorten_a_camera, {}, "6CD146031C25_depth has 11 frames, the arms have 12: .*not synchronised"),
        (delay_a_camera, {}, "not synchronised: at .* 0.030 s apart, allowed are 0.020 s"),
        (None, {"depth_unit_m": 1.0}, r"median depth .* is .* the depth unit is wrong; a unit of 0\.001 m would give"),
        (log_metres, {}, r"6CD146031C25 is 0\.00.* m with a unit of 0\.001 m.* a unit of 1 m would give"),
        (lose("intrinsics.npz"), {}, "calibration intrinsics.npz is missing"),
        (lose("extrinsics.npz"), {}, "calibration extrinsics.npz is missing"),
        (
            lambda f: edit_archive(f / "intrinsics.npz", **{"6CD146031C25": None}),
            {},
            "intrinsics.npz has no 6CD146031C25",
        ),
        (lose("metadata.yaml"), {}, "metadata.yaml is missing"),
        (lose("summary.npz"), {}, "summary.npz is missing; .*--success"),
        (None, {"test_episodes": 1}, "1 episodes found, 1 to hold out"),
    ],
)
def test_what_cannot_be_converted_is_refused_with_the_mend(source_lbm, tmp_path, damage, changes, message):
    source = shutil.copytree(source_lbm, tmp_path / "source")
    if damage:
        damage(source / "diffusion_spartan" / "episode_42" / "processed")
    with pytest.raises(SourceError, match=message):
        convert_lbm.main(convert_lbm.ConvertLBM(source, tmp_path / "root", **{"test_episodes": 0} | changes))
    assert not list((tmp_path / "root").glob("episode_*"))


def test_nothing_is_ever_unpickled(source_lbm, tmp_path):
    source = shutil.copytree(source_lbm, tmp_path / "source")
    folder = source / "diffusion_spartan" / "episode_42" / "processed"
    pickled = np.array([{"any": "thing"}] * 12, dtype=object)
    np.savez(folder / "actions.npz", actions=np.zeros((12, 20)), skill_type=pickled)
    convert_lbm.main(convert_lbm.ConvertLBM(source, tmp_path / "root", test_episodes=0))
    edit_archive(folder / "observations.npz", **{"6CD146031C25": pickled})
    with pytest.raises(ValueError, match="allow_pickle"):
        convert_lbm.main(convert_lbm.ConvertLBM(source, tmp_path / "other", test_episodes=0))


@pytest.mark.parametrize("script", [convert_lbm, convert_4dgen])
def test_a_script_explains_itself_and_refuses_in_one_line(script, tmp_path, capsys):
    with pytest.raises(SystemExit) as exit:
        run(script.main, ["--help"])
    assert exit.value.code == 0 and "--depth-unit-m" in capsys.readouterr().out
    with pytest.raises(SystemExit) as exit:
        run(script.main, ["--source", str(tmp_path), "--root", str(tmp_path / "root")])
    assert exit.value.code == 1
    assert capsys.readouterr().err.count("\n") == 1


def test_labels_are_named_on_the_command_line():
    options = tyro.cli(convert_lbm.ConvertLBM, args="--source a --root b --labels 44 OBJECT 29 HAND_RIGHT".split())
    assert options.labels == {44: Label.OBJECT, 29: Label.HAND_RIGHT}
