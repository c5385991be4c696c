"""Which windows are drawn: phases alike, still windows seldom, the same ones from the same seed. Draws are counted."""

import dataclasses
from collections import Counter

import numpy as np
import pytest
import synthetic
import torch
from safetensors.torch import load_file, save_file
from torch.utils.data import WeightedRandomSampler

from geo4d_lite.data import (
    EpisodeError,
    WindowDataset,
    WindowSampling,
    open_dataset,
    window_weights,
    write_episode,
    write_manifest,
)
from geo4d_lite.data.sampling import window_speeds
from geo4d_lite.models import LiteAutoencoder
from geo4d_lite.models.latents import LatentSet

FRAMES, STARTS = 80, 50  # at 10 Hz a window of six frames within the episode needs 31 of them
PHASES = ("reach",) * 30 + ("close",) * 4 + ("carry",) * 46
STILL_FROM = 40  # in the episode that comes to rest, windows from here on are still


def write(root, number: int, phase=(), still_from: int = FRAMES, frames: int = FRAMES) -> None:
    """Episode `number` of `frames` frames and four cameras, two of them for training."""
    arrays = synthetic.make_arrays(number, frames, cameras=4, width=24, height=16)
    arrays.X_WG[still_from:] = arrays.X_WG[min(still_from, frames - 1)]
    info = dataclasses.replace(synthetic.make_info(number, cameras=4), phase=phase)
    write_episode(root / f"episode_{number:04d}.zarr", arrays, info)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """Three episodes: one that never rests and knows its phases, one that comes to rest, one longer than the others."""
    root = tmp_path_factory.mktemp("data")
    write(root, 0, PHASES)
    write(root, 1, still_from=STILL_FROM)
    write(root, 2, frames=FRAMES + 20)
    write_manifest(root)
    return open_dataset(root)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("latents")


@pytest.fixture(scope="module")
def autoencoders():
    return tuple(LiteAutoencoder(kind, width=16).eval() for kind in ("rgb", "pointmap"))


@pytest.fixture(scope="module")
def latents(dataset, autoencoders, folder):
    return LatentSet.build(dataset, "train", *autoencoders, folder, pairs=2)


@pytest.fixture(scope="module")
def draws(latents):
    """9000 draws (episode, start, pair)."""
    generator = torch.Generator().manual_seed(0)
    return latents.draw(9000, generator).numpy()


def test_every_phase_of_an_episode_is_drawn_equally_often(draws):
    starts = draws[draws[:, 0] == 0, 1]
    counts = Counter(PHASES[start] for start in starts)
    assert set(counts) == {"reach", "close", "carry"}  # uniform starts would give 60, 8 and 32 per cent
    np.testing.assert_allclose([count / len(starts) for count in counts.values()], 1 / 3, atol=0.03)


def test_still_windows_are_as_rare_as_giving_them_back_makes_them(draws):
    rng = np.random.default_rng(1)

    def draw_and_give_back() -> int:
        while True:
            start = rng.integers(STARTS)
            if start < STILL_FROM or rng.random() >= WindowSampling().redraw_still:
                return start

    expected = np.mean([draw_and_give_back() >= STILL_FROM for _ in range(9000)])
    share = np.mean(draws[draws[:, 0] == 1, 1] >= STILL_FROM)
    assert 0.01 < share < 0.04 and share == pytest.approx(expected, abs=0.01)  # a fifth of the starts


def test_episodes_starts_and_pairs_without_phases_are_drawn_alike(draws):
    np.testing.assert_allclose(np.bincount(draws[:, 0]) / len(draws), 1 / 3, atol=0.02)
    counts = np.bincount(draws[draws[:, 0] == 2, 1])
    assert len(counts) == STARTS + 20 and counts.min() > 15 and counts.max() < 80  # 43 each on average
    np.testing.assert_allclose(np.bincount(draws[:, 2]) / len(draws), 1 / 2, atol=0.02)


def test_draws_come_from_the_generator_alone(latents):
    generators = [torch.Generator().manual_seed(seed) for seed in (3, 3, 4)]
    first, again, other = (latents.draw(20, generator).tolist() for generator in generators)
    assert first == again != other


def test_weights_of_all_windows_serve_torchs_sampler(dataset):
    data = WindowDataset(dataset, "train")
    weights = window_weights(data.windows)
    assert len(weights) == len(data) and weights.sum() == pytest.approx(1.0)
    sampler = WeightedRandomSampler(weights, 9000, generator=torch.Generator().manual_seed(0))
    drawn = [data.windows[index] for index in sampler]
    phases = Counter(PHASES[window.start] for window in drawn if window.episode.info.phase)
    np.testing.assert_allclose([count / 9000 for count in phases.values()], 1 / 9, atol=0.01)
    still = [window.start >= STILL_FROM for window in drawn if window.episode.name == "episode_0001.zarr"]
    assert 0.01 < np.mean(still) < 0.04
    assert len({(window.n, window.m) for window in drawn}) == 2


def test_the_switches_bring_back_even_starts(dataset):
    even = WindowSampling(balance_phases=False, redraw_still=0.0)
    for episode in dataset.episodes[:2]:
        np.testing.assert_allclose(even.start_weights(episode), 1 / STARTS)


def test_speeds_are_those_between_the_frames_of_a_window(dataset):
    episode = dataset.episodes[1]
    frames = [[min(start + 5 * i, FRAMES - 1) for i in range(11)] for start in range(STARTS)]
    expected = [
        max(
            np.linalg.norm(episode.X_WG[b, arm, :3, 3] - episode.X_WG[a, arm, :3, 3]) / 0.5
            for a, b in zip(row[:-1], row[1:], strict=True)
            for arm in (0, 1)
        )
        for row in frames
    ]
    np.testing.assert_allclose(window_speeds(episode, STARTS), expected)
    assert min(expected) == 0.0 and max(expected) > 0.02


def test_an_arm_that_was_not_recorded_counts_as_standing(dataset):
    X_WG = dataset.episodes[0].X_WG.copy()
    X_WG[:, 1] = np.nan
    one_armed = dataclasses.replace(dataset.episodes[0], X_WG=X_WG)
    np.testing.assert_array_equal(
        WindowSampling().start_weights(one_armed), WindowSampling().start_weights(dataset.episodes[0])
    )


def test_a_folder_of_latents_filled_before_serves_any_sampling(dataset, autoencoders, latents, folder):
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    even = WindowSampling(balance_phases=False, redraw_still=0.0)
    again = LatentSet.build(dataset, "train", *autoencoders, folder, pairs=2, sampling=even)
    assert before == {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert not torch.equal(again.start_weights[0], latents.start_weights[0])


@pytest.mark.parametrize(
    ("says_of_what", "message"),
    [
        (True, "holds latents of other episode; delete"),
        (False, "holds latents of 100 frames, episode_0000.zarr has 80"),
    ],
)
def test_latents_of_another_episode_are_refused(
    dataset, autoencoders, latents, folder, tmp_path, says_of_what, message
):
    names = sorted(folder.iterdir())
    for path, other in zip(names, reversed(names), strict=True):
        if says_of_what:
            (tmp_path / path.name).write_bytes(other.read_bytes())
        else:  # as folders filled earlier
            save_file(load_file(other), tmp_path / path.name)
    with pytest.raises(EpisodeError, match=message):
        LatentSet.build(dataset, "train", *autoencoders, tmp_path, pairs=2)


@pytest.mark.parametrize("probability", [1.0, -0.1])
def test_a_redraw_that_might_never_end_is_refused(probability):
    with pytest.raises(ValueError, match="expected a probability below 1"):
        WindowSampling(redraw_still=probability)
