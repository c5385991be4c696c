"""`check_dataset`: every corruption is found and named with its episode and repair; a sound set is left in peace."""

import json
import re
import shutil
from dataclasses import replace

import numpy as np
import pytest
import zarr
from synthetic import make_arrays, make_dataset, make_info

from geo4d_lite import cli
from geo4d_lite.data import EpisodeError, check_dataset, open_dataset, write_episode, write_manifest

HURT = "episode_0001.zarr"


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    return make_dataset(tmp_path_factory.mktemp("recorded"), frames=3, cameras=4)


@pytest.fixture
def root(recorded, tmp_path):
    return shutil.copytree(recorded, tmp_path / "copy")


def chunk(root, name, index=-1):
    return sorted(file for file in (root / HURT / name / "c").rglob("*") if file.is_file())[index]


def lose_a_chunk(root):
    chunk(root, "rgb").unlink()


def cut_an_image_chunk(root):
    file = chunk(root, "depth")
    file.write_bytes(file.read_bytes()[:-20])


def flip_a_byte(root):
    file = chunk(root, "label", 0)
    damaged = bytearray(file.read_bytes())
    damaged[len(damaged) // 2] ^= 0xFF
    file.write_bytes(damaged)


def lose_an_array(root):
    shutil.rmtree(root / HURT / "K")


def change(name, index, value):
    """Overwrite some values of an array on disk."""

    def damage(root):
        array = zarr.open_group(root / HURT)[name]
        values = array[:]
        values[index] = value
        array[:] = values

    return damage


def mirror_a_camera(root):
    array = zarr.open_group(root / HURT)["X_WC"]
    poses = array[:]
    poses[2, :3, 0] *= -1  # columns stay orthonormal, but x, y, z are left-handed now
    array[:] = poses


def shorten(root):
    zarr.open_group(root / HURT)["time_s"].resize((2,))


def forget_a_camera(root):
    zarr.open_group(root / HURT).attrs["camera_split"] = ["train", "test"]


def delete_the_episode(root):
    shutil.rmtree(root / HURT)


def edit_manifest(root, edit):
    path = root / "manifest.json"
    manifest = json.loads(path.read_text())
    edit(manifest)
    path.write_text(json.dumps(manifest))


def unlist(root):
    (root / "manifest.json").unlink()
    shutil.move(root / HURT, root / "aside")
    write_manifest(root)
    shutil.move(root / "aside", root / HURT)


def record_smaller(root):
    shutil.rmtree(root / HURT)
    write_episode(root / HURT, make_arrays(1, 3, 4, width=10, height=8), make_info(1, cameras=4))
    write_manifest(root)


DELETE = r"delete .*episode_0001\.zarr and run the command"


@pytest.mark.parametrize(
    ("damage", "what", "mend"),
    [
        (lose_a_chunk, "array rgb is truncated: 3 of 4 chunks", DELETE),
        (cut_an_image_chunk, "array depth cannot be read", DELETE),
        (flip_a_byte, "array label cannot be read", DELETE),
        (lose_an_array, "array K is missing", DELETE),
        (shorten, r"time_s has shape \(2,\); expected \(3,\)", DELETE),
        (change("X_WC", (2, 0, 0), np.nan), "X_WC holds 1 values that are not finite", DELETE),
        (change("width_m", (1, 0), np.inf), "width_m holds 1 values that are not finite", DELETE),
        (change("joint_positions", (1, 0), np.nan), "joint_positions holds 7 values that are not finite", DELETE),
        (change("X_WC", (2, 0, 0), 3.0), r"X_WC\[2\] is no rigid transform", DELETE),
        (mirror_a_camera, r"X_WC\[2\] is no rigid transform: it is off by 2", DELETE),
        (change("X_WG", (1, 0, 3), 7.0), r"X_WG\[1, 0\] is no rigid transform", DELETE),
        (change("X_WG", (2, 1, slice(3), 0), -1.0), r"X_WG\[2, 1\] is no rigid transform", DELETE),
        (change("K", (0, 0, 0), -5.0), "K is no camera matrix", DELETE),
        (change("time_s", 2, 0.0), "time_s does not increase", DELETE),
        (change("label", (0, 0, 0, 0), 77), "label holds 77, the highest known label is 11", DELETE),
        (change("rgb", (0, 0, 0, 0), 9), "its content has the hash .* the manifest says", DELETE),
        (forget_a_camera, "camera_split names 2 cameras, the arrays hold 4", DELETE),
        (delete_the_episode, "the manifest lists it, but it is not there", "run the command"),
        (unlist, "the manifest does not list it", r"delete .*manifest\.json and run the command"),
        (record_smaller, "its images have 8 x 10 pixels, most of the set 16 x 20", "record it with the set's preset"),
        (
            lambda root: edit_manifest(root, lambda m: m["episodes"][1].update(preset="paper")),
            "preset is 'lite', the manifest says 'paper'",
            r"delete .*manifest\.json",
        ),
    ],
)
def test_a_corruption_is_found_and_named_with_its_repair(root, damage, what, mend):
    damage(root)
    problems = check_dataset(root)
    assert {problem.episode for problem in problems} == {HURT}
    assert any(re.search(what, problem.what) for problem in problems), problems
    assert any(re.search(mend, problem.mend) for problem in problems), problems


def test_a_sound_set_has_no_problems(root):
    assert check_dataset(root) == []


def test_a_folder_of_data_sets_is_opened_as_one_and_checked_one_by_one(recorded, root, tmp_path):
    shutil.copytree(recorded, tmp_path / "another")
    both = open_dataset(tmp_path)
    assert [episode.path.relative_to(tmp_path).parts[0] for episode in both.episodes] == ["another"] * 3 + ["copy"] * 3
    assert check_dataset(tmp_path) == []
    lose_an_array(root)
    assert {problem.episode for problem in check_dataset(tmp_path)} == {f"copy/{HURT}"}


def test_of_a_folder_of_data_sets_the_episodes_of_one_task_can_be_taken(tmp_path):
    make_dataset(tmp_path / "ours", train=1, test=1)
    write_episode(tmp_path / "other/episode_0000.zarr", make_arrays(9), replace(make_info(9), task="Another"))
    write_manifest(tmp_path / "other")
    both = open_dataset(tmp_path)
    assert len(both.episodes) == 3
    assert [episode.info.seed for episode in both.of_task("Another").episodes] == [9]
    with pytest.raises(EpisodeError, match="no episode of 'Third'; it holds Another, "):
        both.of_task("Third")


def test_a_story_told_in_training_by_another_data_set_of_the_folder_is_refused(recorded, tmp_path):
    shutil.copytree(recorded, tmp_path / "one")
    seed = open_dataset(recorded).split("test")[0].info.seed
    write_episode(tmp_path / "two/episode_0000.zarr", make_arrays(seed), make_info(seed, "train"))
    write_manifest(tmp_path / "two")
    with pytest.raises(EpisodeError, match=f"share seed {seed}, so the test episodes are not held out"):
        open_dataset(tmp_path)


@pytest.mark.parametrize(
    ("damage", "what"),
    [
        (lambda root: (root / "manifest.json").unlink(), "it is missing"),
        (lambda root: (root / "manifest.json").write_text("{"), "it is no JSON"),
        (lambda root: edit_manifest(root, lambda m: m.pop("content_hash")), "it lacks 'content_hash'"),
        (lambda root: edit_manifest(root, lambda m: m.update(version=7)), "format version 7, expected 1"),
        (lambda root: edit_manifest(root, lambda m: m.update(content_hash="0")), "its content hash is not the one"),
    ],
)
def test_a_broken_manifest_is_found(root, damage, what):
    damage(root)
    (problem,) = check_dataset(root)
    assert problem.episode == "manifest.json" and what in problem.what and "run the command" in problem.mend


def test_an_arm_that_was_never_recorded_is_no_damage(tmp_path):
    arrays = make_arrays(0, 3, 4)
    for name in ("X_WG", "width_m", "joint_positions"):
        getattr(arrays, name)[:, 1] = np.nan
    write_episode(tmp_path / "episode_0000.zarr", arrays, make_info(cameras=4))
    write_manifest(tmp_path)
    assert check_dataset(tmp_path) == []


def record_test_episode(root, arrays, seed):
    """Add a held-out episode behind the back of `write_manifest`, which refuses a shared seed by itself."""
    path = write_episode(root / "episode_0003.zarr", arrays, make_info(seed=9, split="test", cameras=4))
    write_manifest(root)
    zarr.open_group(path).attrs["seed"] = seed


def test_a_seed_in_both_splits_is_a_leak(root):
    record_test_episode(root, make_arrays(9, 3, 4), seed=1)
    leak = next(problem for problem in check_dataset(root) if "leak" in problem.what)
    assert leak.episode == "episode_0003.zarr" and "training episode episode_0001.zarr, 1" in leak.what
    assert "record it with another seed" in leak.mend


def test_one_content_in_both_splits_is_a_leak_whatever_its_seed(root):
    record_test_episode(root, make_arrays(1, 3, 4), seed=9)
    assert any("its content is that of the training episode episode_0001" in p.what for p in check_dataset(root))


def test_a_camera_place_in_both_splits_is_a_leak(root):
    arrays = make_arrays(9, 3, 4)
    arrays.X_WC[3] = open_dataset(root).episodes[0].X_WC[1]
    record_test_episode(root, arrays, seed=9)
    (leak,) = check_dataset(root)
    assert leak.what == "leak: test camera 3 stands where training camera 1 of episode_0000.zarr stands"
    assert "other cameras" in leak.mend


def test_cameras_that_only_training_sees_twice_are_no_leak(root):
    arrays = make_arrays(9, 3, 4)
    arrays.X_WC[1] = open_dataset(root).episodes[0].X_WC[1]  # a training camera of a test episode is never used
    record_test_episode(root, arrays, seed=9)
    assert check_dataset(root) == []


def test_an_interrupted_set_has_the_hash_of_one_recorded_in_one_go(recorded, root):
    lost = root / "episode_0000.zarr"
    shutil.rmtree(lost)
    write_episode(lost, make_arrays(0, 3, 4), make_info(0, cameras=4))
    assert write_manifest(root)["content_hash"] == json.loads((recorded / "manifest.json").read_text())["content_hash"]


def test_episodes_recorded_before_there_were_hashes_get_them_with_the_next_manifest(root):
    before = json.loads((root / "manifest.json").read_text())
    for path in root.glob("*.zarr"):
        attributes = zarr.open_group(path).attrs
        del attributes["content_hash"], attributes["made_with"]
    assert write_manifest(root)["content_hash"] == before["content_hash"]
    assert check_dataset(root) == []


def test_the_command_prints_each_problem_and_fails(root, capsys):
    cli.main(["demos", "--check", str(root)])
    assert capsys.readouterr().out.endswith("copy: 0 problem(s)\n")
    lose_a_chunk(root)
    with pytest.raises(SystemExit) as exit:
        cli.main(["demos", "--check", str(root)])
    lines = capsys.readouterr().out.splitlines()
    assert exit.value.code == 1 and len(lines) == 2
    assert lines[0].startswith("episode_0001.zarr: array rgb is truncated: 3 of 4 chunks; to repair it, delete")


def test_neither_a_folder_to_record_nor_one_to_check_is_refused(capsys):
    with pytest.raises(SystemExit) as exit:
        cli.main(["demos"])
    assert exit.value.code == 1 and "--check" in capsys.readouterr().err


def test_a_folder_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="no data set at .*nowhere"):
        check_dataset(tmp_path / "nowhere")
