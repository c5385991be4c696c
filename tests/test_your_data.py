"""The page on one's own data: its commands and its Python are run as they stand, on small made-up recordings."""

import importlib
import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import tyro
from rgbd_sample import CLOCK_S, write_recording
from spartan_sample import write_sample
from synthetic import gripper_pose, make_arrays

from data_scripts.command_line import run
from data_scripts.convert_rgbd import read_calibration
from geo4d_lite import cli
from geo4d_lite.commands.evaluate import Evaluate
from geo4d_lite.commands.generate import Generate
from geo4d_lite.commands.train import Train
from geo4d_lite.data import check_dataset, decode_depth, open_dataset
from geo4d_lite.data.windows import windows
from geo4d_lite.geometry import invert, look_at, relative_pose

PAGE = Path(__file__).resolve().parents[1] / "book" / "your_data.md"
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
SEEN_BY_LBM = {"6CD146030E99": "scene_right_0", "6CD146031C25": "scene_left_0"}


def blocks(language, word=""):
    """The page's fenced blocks of one language that hold a word."""
    return [text for name, text in BLOCKS if name == language and word in text]


def make_what_the_page_starts_from(folder):
    """Three takes of 4.5 s, the cameras moved before each of them, and two published episodes of either kind."""
    for seed, take in enumerate(("monday_1", "monday_2", "tuesday_1")):
        write_recording(folder / "recordings" / take, make_arrays(seed, frames=45, cameras=2, width=80, height=64))
    for episode in (0, 1):
        arrays = make_arrays(seed=6 + episode, frames=12, cameras=16, width=40, height=32)
        cameras = {f"scene_{number}": f"scene_{number}" for number in range(1, 17)}
        write_sample(folder / f"downloads/4dgen/TASK/session/diffusion_spartan/episode_{episode}", arrays, cameras)
        two = make_arrays(seed=8 + episode, frames=12, cameras=2, width=40, height=32)
        write_sample(folder / f"downloads/lbm/TASK/diffusion_spartan/episode_{episode}", two, SEEN_BY_LBM)


def follow(command):
    """Run one line of a shell as a reader would, in this process; returns its exit code."""
    program, *arguments = shlex.split(command)
    try:
        if program == "geo4d":
            cli.main(arguments)
        else:
            assert program == "python" and arguments[0] == "-m", f"the page has a command that nobody tests: {command}"
            run(importlib.import_module(arguments[1]).main, arguments[2:])
    except SystemExit as exit:
        return exit.code or 0
    return 0


def one_arm():
    """What a robot with one arm logged, at 100 Hz."""
    time_s = CLOCK_S + np.arange(0, 4.6, 0.01)
    X_WG = np.stack([gripper_pose(0.0, t, 0.1) for t in time_s - CLOCK_S])
    return {"time_s": time_s, "X_WG": X_WG, "width_m": time_s * 0 + 0.06, "joint_positions": np.zeros((len(X_WG), 7))}


def my_take(number):
    arrays = make_arrays(seed=number, frames=14, cameras=5)
    return arrays.rgb, decode_depth(arrays.depth), arrays.K, arrays.X_WC, arrays.time_s


@pytest.fixture(scope="module")
def followed(tmp_path_factory):
    """The folder in which the page was followed from top to bottom, the exit codes, and the names its Python left."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("reader")
        patch.chdir(folder)
        make_what_the_page_starts_from(folder)
        codes, names = {}, {"load_my_take": my_take}
        for language, text in BLOCKS:
            if language == "bash":
                codes |= {line: follow(line) for line in text.replace("\\\n", " ").splitlines()}
            elif language == "python" and "stereoCalibrate" not in text:
                exec(text, names | one_arm() if "robot.npz" in text else names)
        yield folder, codes, names


def test_every_block_of_the_page_is_known_to_these_tests():
    assert {language for language, _ in BLOCKS} == {"text", "json", "python", "bash", "sh"}
    assert [len(blocks(language)) for language in ("json", "python", "bash", "sh")] == [1, 4, 2, 1]


def test_every_command_of_the_page_succeeds(followed):
    _, codes, _ = followed
    assert len(codes) == 5 and set(codes.values()) == {0}


@pytest.mark.parametrize(("name", "train", "test"), [("real", 2, 1), ("4dgen", 1, 1), ("lbm", 1, 1), ("mine", 2, 1)])
def test_each_data_set_of_the_page_is_sound_and_holds_episodes_out(followed, name, train, test):
    folder, _, _ = followed
    dataset = open_dataset(folder / "data" / name)
    assert check_dataset(dataset.root) == []
    assert [len(dataset.split(split)) for split in ("train", "test")] == [train, test]


@pytest.mark.parametrize("split", ["train", "test"])
def test_windows_of_the_converted_recordings_can_be_sampled(followed, split):
    folder, _, names = followed
    found = windows(open_dataset(folder / "data" / "real"), split)
    assert {(window.n, window.m) for window in found} == {(0, 1), (1, 0)}
    item = names["windows"].load(found[0])
    assert item["pointmap"].shape == (2, 11, 128, 160, 3) and item["rgb"].shape == (2, 11, 128, 160, 3)
    assert 0.5 < item["valid"].mean() <= 1
    table = np.median(item["pointmap"][0, 0][item["valid"][0, 0]][:, 2])
    assert 0.5 < table < 1.5  # metres, and not millimetres


def test_the_one_arm_of_the_page_is_the_left_one_and_the_other_is_not_recorded(followed):
    folder, _, _ = followed
    X_WG = open_dataset(folder / "data" / "real").episodes[0].X_WG
    np.testing.assert_allclose(np.diff(X_WG[:, 0, 1, 3]), 0.5, atol=0.011)  # at 1 m/s, two frames a second
    assert np.isnan(X_WG[:, 1]).all()


def test_the_calibration_of_the_page_is_accepted(tmp_path):
    (tmp_path / "calibration.json").write_text(blocks("json")[0])
    cameras = read_calibration(tmp_path, max_disagreement_m=0.02)
    assert list(cameras) == ["left", "right"]
    X_nm = json.loads(blocks("json")[0])["X_nm"]
    np.testing.assert_allclose(relative_pose(*(camera["X_WC"] for camera in cameras.values())), X_nm, atol=1e-12)


def test_each_conversion_of_poses_arrives_at_the_books_convention():
    X_WC, X_Wm = look_at((0.5, 0.2, 0.9), (0, 0, 0)), look_at((0.3, -0.4, 0.8), (0, 0, 0.1))
    X_WB, X_nm = look_at((0.1, 0, 0.3), (0, 0.1, 0)), relative_pose(X_WC, X_Wm)
    X_mn = invert(X_nm)
    names = {
        "X_CW": invert(X_WC),
        "X_WC_opengl": X_WC @ np.diag([1.0, -1.0, -1.0, 1.0]),  # its y and z point the other way
        "X_nB": invert(X_WC) @ X_WB,
        "X_mB": invert(X_Wm) @ X_WB,
        "R": X_mn[:3, :3],  # OpenCV: from the first camera's frame to the second one's
        "t": X_mn[:3, 3],
    }
    converted = []
    for line in blocks("python", "stereoCalibrate")[0].splitlines():
        exec(line, names)
        if found := re.match(r"(X_\w+) = ", line):
            converted.append(found[1])
            np.testing.assert_allclose(names[found[1]], {"X_WC": X_WC, "X_nm": X_nm}[found[1]], atol=1e-12)
    assert converted == ["X_WC", "X_WC", "X_nm", "X_nm"]


def test_the_lines_that_take_hours_have_options_that_exist():
    options = {"train": Train, "generate": Generate, "evaluate": Evaluate}
    for line in blocks("sh")[0].splitlines():
        program, command, *arguments = shlex.split(line)
        assert program == "geo4d" and tyro.cli(options.pop(command), args=arguments).data == Path("data/real")
    assert not options
