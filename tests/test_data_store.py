"""Episodes on disk: what goes in comes out, and what is damaged is refused by name with the mend."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st
from synthetic import make_arrays, make_dataset, make_info

from geo4d_lite.data import (
    DEPTH_SCALE_M,
    EpisodeError,
    content_hash,
    decode_depth,
    encode_depth,
    open_dataset,
    open_episode,
    split_cameras,
    write_episode,
    write_manifest,
)

ARRAYS = make_arrays(frames=3, cameras=4)
INFO = make_info(cameras=4)


@pytest.fixture
def path(tmp_path):
    return write_episode(tmp_path / "episode_0003.zarr", ARRAYS, INFO)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    return make_dataset(tmp_path_factory.mktemp("recorded"), frames=3, cameras=4)


@pytest.fixture
def root(recorded, tmp_path):
    return shutil.copytree(recorded, tmp_path / "copy")


def test_an_episode_comes_back_as_it_was_written(path):
    episode = open_episode(path)
    assert episode.info == INFO
    assert (episode.name, episode.frames) == ("episode_0003.zarr", 3)
    for name in ("K", "X_WC", "X_WG", "width_m", "joint_positions", "time_s"):
        np.testing.assert_array_equal(getattr(episode, name), getattr(ARRAYS, name))
    for camera in range(4):
        for got, name in zip(episode.read_camera(camera), ("rgb", "depth", "label"), strict=True):
            np.testing.assert_array_equal(got, getattr(ARRAYS, name)[:, camera])


def test_the_folder_is_plain_zarr_version_3_anyone_can_read(path):
    group = zarr.open_group(path, mode="r")
    assert group.metadata.zarr_format == 3
    assert group.attrs["depth_scale_m"] == DEPTH_SCALE_M
    assert group["depth"].dtype == np.uint16
    np.testing.assert_array_equal(group["rgb"][:], ARRAYS.rgb)


def test_an_episode_of_black_images_is_a_complete_episode(tmp_path):
    """Zarr likes to leave out chunks of zeros; here a chunk that is not there means damage."""
    black = replace(ARRAYS, rgb=np.zeros_like(ARRAYS.rgb), label=np.zeros_like(ARRAYS.label))
    rgb, _, label = open_episode(write_episode(tmp_path / "episode_0000.zarr", black, INFO)).read_camera(2)
    assert not rgb.any() and not label.any()


def test_the_content_hash_is_of_the_values_and_not_of_how_they_lie_on_disk(path, tmp_path):
    again = write_episode(tmp_path / "another" / "episode_0009.zarr", replace(ARRAYS), replace(INFO, seed=8))
    zarr.open_group(again).create_array(  # the same values in other chunks, hardly compressed
        "rgb", data=ARRAYS.rgb, chunks=(1, 2, 16, 20, 3), compressors=zarr.codecs.ZstdCodec(level=1), overwrite=True
    )
    assert content_hash(open_episode(again)) == content_hash(open_episode(path)) == content_hash(ARRAYS)


@pytest.mark.parametrize("name", ["rgb", "depth", "label", "K", "X_WG", "time_s"])
def test_the_content_hash_sees_every_array(name):
    changed = getattr(ARRAYS, name).copy()
    changed.flat[-1] += 1
    assert content_hash(replace(ARRAYS, **{name: changed})) != content_hash(ARRAYS)


@given(depth_m=st.floats(0.001, 6.5))
def test_stored_depth_is_exact_to_half_a_tenth_of_a_millimetre(depth_m):
    assert abs(decode_depth(encode_depth(np.array(depth_m))) - depth_m) < 0.51e-4


@pytest.mark.parametrize("depth_m", [0.0, -1.0, np.nan, np.inf, -np.inf, 6.6])
def test_what_is_no_measurement_is_stored_as_zero(depth_m):
    assert encode_depth(np.array([depth_m, 1.0])).tolist() == [0, 10000]


@pytest.mark.parametrize(("count", "held_out"), [(16, 4), (12, 3), (5, 2), (4, 2)])
def test_the_last_quarter_of_the_cameras_is_held_out_and_never_less_than_a_pair(count, held_out):
    assert split_cameras(count) == ("train",) * (count - held_out) + ("test",) * held_out


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"depth": ARRAYS.depth[:2]}, r"depth has shape \(2, 4, 16, 20\); expected \(3, 4, 16, 20\)"),
        ({"depth": ARRAYS.depth.astype(np.float32)}, "depth has dtype float32; expected uint16"),
        ({"rgb": ARRAYS.rgb[0]}, r"rgb has shape .* expected \(T, C, H, W, 3\)"),
        ({"K": ARRAYS.K[:3]}, r"K has shape \(3, 3, 3\); expected \(4, 3, 3\)"),
        ({"X_WG": ARRAYS.X_WG[:, 0]}, "X_WG has shape"),
    ],
)
def test_arrays_that_do_not_fit_together_are_refused(change, message):
    with pytest.raises(EpisodeError, match=message):
        replace(ARRAYS, **change)


@pytest.mark.parametrize("change", [{"split": "validation"}, {"camera_split": ("train", "validation")}])
def test_an_unknown_split_is_refused(change):
    with pytest.raises(EpisodeError, match="unknown split 'validation'; expected one of train, test"):
        replace(INFO, **change)


def test_a_camera_without_a_split_is_refused(tmp_path):
    with pytest.raises(EpisodeError, match="episode_0.zarr: camera_split names 5 cameras, the arrays hold 4"):
        write_episode(tmp_path / "episode_0.zarr", ARRAYS, make_info(cameras=5))


def test_phases_and_failed_seeds_come_back(tmp_path):
    info = replace(INFO, phase=("reach", "close", "close"), failed_seeds=(7, 8))
    assert open_episode(write_episode(tmp_path / "episode_0.zarr", ARRAYS, info)).info == info


def test_an_older_episode_without_phases_and_failed_seeds_is_read(path):
    attributes = zarr.open_group(path, mode="r+").attrs
    for name in ("phase", "failed_seeds"):
        del attributes[name]
    assert open_episode(path).info == INFO


def test_phases_of_another_number_of_frames_are_refused(tmp_path, path):
    with pytest.raises(EpisodeError, match="episode_0.zarr: phase names 2 frames, the arrays hold 3"):
        write_episode(tmp_path / "episode_0.zarr", ARRAYS, replace(INFO, phase=("reach", "close")))
    zarr.open_group(path, mode="r+").attrs["phase"] = ["reach"]
    with pytest.raises(EpisodeError, match="phase names 1 frames, the arrays hold 3; delete this folder"):
        open_episode(path)


def test_an_episode_is_never_overwritten(path):
    with pytest.raises(FileExistsError, match="delete it first"):
        write_episode(path, ARRAYS, INFO)


def test_an_interrupted_recording_leaves_nothing_behind(tmp_path, monkeypatch):
    def full_disk(group, name, **options):
        if name == "depth":
            raise OSError("no space left")
        return create(group, name, **options)

    create = zarr.Group.create_array
    monkeypatch.setattr(zarr.Group, "create_array", full_disk)
    with pytest.raises(OSError, match="no space"):
        write_episode(tmp_path / "episode_0000.zarr", ARRAYS, INFO)
    assert list(tmp_path.iterdir()) == []


def chunks(path, name):
    return sorted(file for file in (path / name / "c").rglob("*") if file.is_file())


def lose_a_chunk(path):
    chunks(path, "rgb")[-1].unlink()


def shorten_an_array(path):
    zarr.open_group(path)["depth"].resize((2, 4, 16, 20))


def cut_a_small_array(path):
    file = chunks(path, "X_WC")[0]
    file.write_bytes(file.read_bytes()[:-20])


def change_version(path):
    zarr.open_group(path).attrs["version"] = 7


def drop_an_attribute(path):
    attributes = zarr.open_group(path).attrs
    del attributes["hz"]


def spoil_the_metadata(path):
    (path / "zarr.json").write_text("{")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lose_a_chunk, "array rgb is truncated: 3 of 4 chunks"),
        (shorten_an_array, "depth has shape"),
        (cut_a_small_array, "array X_WC cannot be read"),
        (change_version, "format version 7, this code reads version 1"),
        (drop_an_attribute, "attribute hz is missing"),
        (lambda path: shutil.rmtree(path / "label"), "array label is missing"),
        (lambda path: (path / "zarr.json").unlink(), ""),
        (spoil_the_metadata, ""),
    ],
)
def test_a_damaged_episode_is_refused_by_name_with_the_mend(path, damage, message):
    damage(path)
    with pytest.raises(EpisodeError, match=rf"episode_0003\.zarr: .*{message}.*geo4d demos"):
        open_episode(path)


def test_damaged_images_are_refused_when_they_are_read(path):
    file = chunks(path, "rgb")[1]
    damaged = bytearray(file.read_bytes())
    damaged[len(damaged) // 2] ^= 0xFF
    file.write_bytes(damaged)
    episode = open_episode(path)
    episode.read_camera(0)
    with pytest.raises(EpisodeError, match=r"episode_0003\.zarr: array rgb cannot be read.*geo4d demos"):
        episode.read_camera(1)


def test_a_missing_episode_says_what_records_one(tmp_path):
    with pytest.raises(FileNotFoundError, match="geo4d demos"):
        open_episode(tmp_path / "episode_0000.zarr")


def test_a_data_set_knows_its_splits(root):
    dataset = open_dataset(root)
    assert [episode.name for episode in dataset.split("train")] == ["episode_0000.zarr", "episode_0001.zarr"]
    assert [episode.name for episode in dataset.split("test")] == ["episode_0002.zarr"]
    with pytest.raises(EpisodeError, match="unknown split 'val'; expected one of train, test"):
        dataset.split("val")


def test_the_manifest_lists_what_is_in_the_folder(root):
    entry = json.loads((root / "manifest.json").read_text())["episodes"][2]
    assert entry.pop("content_hash") == content_hash(open_episode(root / "episode_0002.zarr"))
    assert entry.pop("made_with").keys() >= {"numpy", "zarr"}
    assert entry | {"task": None} == {
        "name": "episode_0002.zarr", "split": "test", "seed": 2, "frames": 3, "task": None, "preset": "lite",
        "success": True, "failed_seeds": [],
    }  # fmt: skip


def edit_manifest(root, change):
    manifest = json.loads((root / "manifest.json").read_text())
    change(manifest)
    (root / "manifest.json").write_text(json.dumps(manifest))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m.update(version=9), "manifest.json: format version 9"),
        (
            lambda m: m["episodes"][1].update(split="test"),
            "episode_0001.zarr: split is 'train', the manifest says 'test'",
        ),
        (lambda m: m["episodes"][1].update(frames=99), "episode_0001.zarr: frames is 3, the manifest says 99"),
    ],
)
def test_a_manifest_that_disagrees_with_its_episodes_is_refused(root, change, message):
    edit_manifest(root, change)
    with pytest.raises(EpisodeError, match=message):
        open_dataset(root)


def test_an_episode_the_manifest_lists_must_be_there(root):
    shutil.rmtree(root / "episode_0001.zarr")
    with pytest.raises(FileNotFoundError, match="episode_0001.zarr"):
        open_dataset(root)


def test_a_folder_without_manifest_or_episodes_says_what_to_run(tmp_path):
    for action in (open_dataset, write_manifest):
        with pytest.raises(EpisodeError, match="geo4d demos"):
            action(tmp_path)


def test_one_seed_in_both_splits_is_refused_as_a_leak(root):
    write_episode(root / "episode_0003.zarr", ARRAYS, make_info(seed=1, split="test", cameras=4))
    with pytest.raises(EpisodeError, match="episode_0001.zarr .train. and episode_0003.zarr .test. share seed 1"):
        write_manifest(root)
