"""Real two-camera recordings into the store: resampled, placed, their extrinsics tested, and refused with the mend."""

import json
import shutil

import imageio.v3 as imageio
import numpy as np
import pytest
from rgbd_sample import CLOCK_S, write_recording
from spartan_sample import millimetres, sample_arrays

from data_scripts import convert_rgbd
from data_scripts.command_line import run
from data_scripts.convert_rgbd import ConvertRGBD
from geo4d_lite.data import SourceError, check_dataset, decode_depth, open_dataset
from geo4d_lite.geometry import look_at, transform, unproject

ARRAYS = sample_arrays(cameras=2)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    return write_recording(tmp_path_factory.mktemp("recordings") / "take_1", ARRAYS)


@pytest.fixture
def take(recorded, tmp_path):
    return shutil.copytree(recorded, tmp_path / "take_1")


def convert(take, tmp_path, **changes):
    convert_rgbd.main(ConvertRGBD((take,), tmp_path / "root", "PutSpatulaOnTable", **changes))
    return open_dataset(tmp_path / "root").episodes[0]


def test_a_recording_becomes_a_sound_episode_at_two_frames_a_second(take, tmp_path, capsys):
    episode = convert(take, tmp_path)
    assert check_dataset(tmp_path / "root") == []
    np.testing.assert_allclose(episode.time_s, [0.0, 0.5, 1.0], atol=1e-6)
    np.testing.assert_allclose(episode.X_WC, ARRAYS.X_WC, atol=1e-12)
    np.testing.assert_allclose(episode.X_WG[:, 0, 1, 3], [0.01, 0.51, 1.01], atol=0.011)  # the arm moves at 1 m/s
    for camera in range(2):
        _, depth, _ = episode.read_camera(camera)
        seen = millimetres(ARRAYS.depth[[0, 5, 10], camera]).astype(np.int64) % 65535
        assert set(np.unique(depth)) == set(10 * np.unique(seen))
        points, valid = unproject(decode_depth(depth[0]), episode.K[camera])
        assert abs(np.median(transform(episode.X_WC[camera], points)[valid][:, 2])) < 2e-3  # most of it is table
    agree = float(capsys.readouterr().out.split("agree to ")[1].split(" mm")[0])
    assert agree < 10  # half a pixel of 2 cm, seen at a slant


def test_without_a_robot_the_arms_are_not_recorded(take, tmp_path):
    (take / "robot.npz").unlink()
    episode = convert(take, tmp_path)
    assert np.isnan(episode.X_WG).all() and check_dataset(tmp_path / "root") == []


def test_labels_that_were_recorded_are_taken_over_and_a_camera_without_them_shows_background(tmp_path):
    take = write_recording(tmp_path / "take_1", ARRAYS, labels=True)
    shutil.rmtree(take / "right" / "label")
    episode = convert(take, tmp_path)
    labels = [episode.read_camera(camera)[2] for camera in range(2)]
    for frame, recorded in enumerate((0, 5, 10)):  # the lite images are larger: each pixel is one of the old ones
        np.testing.assert_array_equal(labels[0][frame, 2::4, 2::4], ARRAYS.label[recorded, 0])
    assert not labels[1].any() and check_dataset(tmp_path / "root") == []


def test_an_arm_that_is_not_there_is_nan_and_no_damage(take, tmp_path):
    with np.load(take / "robot.npz") as archive:
        arrays = dict(archive)
    for name in ("X_WG", "width_m", "joint_positions"):
        arrays[name][:, 1] = np.nan
    np.savez(take / "robot.npz", **arrays)
    episode = convert(take, tmp_path)
    assert np.isfinite(episode.X_WG[:, 0]).all() and np.isnan(episode.X_WG[:, 1]).all()
    assert check_dataset(tmp_path / "root") == []


def label_in_sixteen_bits(folder):
    write_recording(folder, ARRAYS, labels=True)
    for path in (folder / "left" / "label").glob("*.png"):
        imageio.imwrite(path, imageio.imread(path).astype(np.uint16))


def label_by_foreign_numbers(folder):
    write_recording(folder, ARRAYS, labels=True)
    for path in (folder / "left" / "label").glob("*.png"):
        imageio.imwrite(path, imageio.imread(path) + 100)


@pytest.mark.parametrize("left_out", ["left", "right", "X_nm"])
def test_one_of_three_extrinsics_may_be_left_out(take, tmp_path, left_out):
    def leave_out(calibration):
        calibration["cameras"].get(left_out, {}).pop("X_WC", None)
        calibration.pop(left_out, None)

    edit(take, leave_out)
    np.testing.assert_allclose(convert(take, tmp_path).X_WC, ARRAYS.X_WC, atol=1e-9)


def edit(folder, change):
    path = folder / "calibration.json"
    calibration = json.loads(path.read_text())
    change(calibration)
    path.write_text(json.dumps(calibration))


def edited(change):
    return lambda folder: edit(folder, change)


def set_camera(name, **values):
    return edited(lambda calibration: calibration["cameras"][name].update(values))


def move_right_camera(calibration):
    """The right camera is said to stand 8 cm beside where it stands."""
    X_WC = ARRAYS.X_WC[1].copy()
    X_WC[:3, 3] += 0.08 * np.array([0.0, 0.6, 0.8])
    calibration["cameras"]["right"]["X_WC"] = X_WC.tolist()


def move_right_camera_and_forget_the_board(calibration):
    move_right_camera(calibration)
    del calibration["X_nm"]


def look_away(calibration):
    calibration["cameras"]["right"]["X_WC"] = look_at((0.4, 0, 0.9), (5.0, 0, 3.0)).tolist()
    del calibration["X_nm"]


def drop_images(folder):
    for path in sorted((folder / "right" / "rgb").glob("*.png"))[3:8]:
        path.unlink()


def shift_clock(folder):
    for kind in ("rgb", "depth"):
        for path in (folder / "right" / kind).glob("*.png"):
            path.rename(path.with_name(f"{float(path.stem) - CLOCK_S:.6f}.png"))


def log_centimetres_as_bytes(folder):
    for path in (folder / "left" / "depth").glob("*.png"):
        imageio.imwrite(path, (imageio.imread(path) // 10).astype(np.uint8))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: shutil.rmtree(folder / "right"), "camera right is missing: right/rgb holds no png images"),
        (lambda folder: (folder / "calibration.json").unlink(), "calibration.json is missing; write it as"),
        (edited(lambda c: c["cameras"]["left"].pop("K")), "calibration.json lacks K of camera left"),
        (edited(lambda c: c["cameras"].pop("left")), r"has 1 cameras \(right\); name two"),
        (edited(lambda c: [c.pop("X_nm"), c["cameras"]["left"].pop("X_WC")]), "must give two of three: X_WC of left"),
        (set_camera("left", X_WC=np.ones((4, 4)).tolist()), "X_WC of camera left .* no rigid transform"),
        (set_camera("right", width=640), r"right: depth image .* \(32, 40\); expected uint16 \(32, 640\)"),
        (
            set_camera("right", depth_unit_m=1.0),
            r"camera right is .* the depth unit is wrong; a unit of 0\.001 m would",
        ),
        (set_camera("left", depth_unit_m=1e-6), r"camera left is 0\.00.* a unit of 0\.001 m would give"),
        (log_centimetres_as_bytes, "depth image .* is uint8 .* expected uint16"),
        (label_in_sixteen_bits, "label image .* is uint16 .* expected uint8"),
        (label_by_foreign_numbers, "label image .* holds 110, the highest known label is 11"),
        (drop_images, r"streams .* and right/rgb are not synchronised: at 17\d+\.\d+ s .* apart, allowed are 0.050 s"),
        (shift_clock, "streams right/rgb .* and left/depth .* share no time; their clocks differ"),
        (edited(move_right_camera), "X_nm and the two X_WC disagree by 0.080 m"),
        (edited(move_right_camera_and_forget_the_board), r"is off by 0\.0[4-9]\d m \(median\), allowed are 0\.020 m"),
        (edited(look_away), "only 0.0% of the depth of left falls on depth of right"),
        (lambda folder: (folder / "left" / "rgb" / "first.png").touch(), "a file name is no time in seconds"),
    ],
)
def test_what_cannot_be_converted_is_refused_with_the_mend(take, tmp_path, damage, message):
    damage(take)
    with pytest.raises(SourceError, match=f"take_1: .*{message}"):
        convert(take, tmp_path)


def test_the_limit_of_the_residual_can_be_chosen(take, tmp_path):
    edit(take, move_right_camera_and_forget_the_board)
    assert convert(take, tmp_path, max_residual_m=0.2).frames == 3


def test_two_cameras_that_never_move_are_named_where_both_splits_use_them(take, tmp_path):
    """What a fixed rig cannot hold out is said, not hidden."""
    second = shutil.copytree(take, tmp_path / "take_2")
    imageio.imwrite(next((second / "left" / "rgb").glob("*.png")), 255 - ARRAYS.rgb[0, 0])
    convert_rgbd.main(ConvertRGBD((take, second), tmp_path / "root", "PutSpatulaOnTable", test_episodes=1))
    problems = check_dataset(tmp_path / "root")
    assert len(problems) == 2 and all(
        "test camera" in p.what and "cameras were not held out" in p.mend for p in problems
    )


def test_the_script_explains_itself(capsys):
    with pytest.raises(SystemExit) as exit:
        run(convert_rgbd.main, ["--help"])
    assert exit.value.code == 0 and "--max-residual-m" in capsys.readouterr().out
