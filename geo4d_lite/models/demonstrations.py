"""Moments of demonstrations for the policies that predict actions directly: two observations and 16 actions.

All that is drawn from waits in memory: colour images as they are stored, or point clouds in half precision.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import torch
from torch import Tensor

from geo4d_lite.data import Dataset, Episode, EpisodeError, decode_depth
from geo4d_lite.data.states import StateRange, encode_states
from geo4d_lite.models.frames import integer, rgb_input
from geo4d_lite.models.point_cloud import observed_clouds

OBSERVED_FRAMES, PREDICTED_FRAMES = 2, 16


@dataclass(frozen=True, eq=False)
class ActionBatch:
    """B moments. `states` (B, 2, 20): the frame before and the present one. `actions` (B, 16, 20); None when sampling.

    `seen`: images (B, 2, 2, 3, H, W) in [-1, 1], of two moments and two views; or clouds (B, 2, N, 3) in the world.
    """

    seen: Tensor
    states: Tensor
    actions: Tensor | None = None

    def to(self, device: torch.device | str) -> "ActionBatch":
        """The same on `device`."""
        actions = None if self.actions is None else self.actions.to(device)
        return ActionBatch(self.seen.to(device), self.states.to(device), actions)


class Moments:
    """Every frame of the training episodes as the present moment; before the first and after the last, those repeat."""

    def __init__(self, dataset: Dataset):
        """Raises EpisodeError where there is no training episode, or where they were recorded at different rates."""
        self.episodes = dataset.split("train")
        rates = {episode.info.hz for episode in self.episodes}
        if len(rates) != 1:
            raise EpisodeError(f"{dataset.root}: training episodes at {sorted(rates)} Hz; expected one rate for all")
        self.step_s = 1 / rates.pop()
        self.states = [encode_states(e.X_WG, e.width_m).astype(np.float32) for e in self.episodes]
        self.starts = [(number, t) for number, states in enumerate(self.states) for t in range(len(states))]
        self.state_range = StateRange.of(np.concatenate(self.states))

    def pick(self, generator: torch.Generator) -> tuple[int, np.ndarray]:
        """A random episode's number and the two frames (2,) observed of it."""
        number, t = self.starts[integer(len(self.starts), generator)]
        return number, np.array([max(t - 1, 0), t])

    def batch(self, picks: Sequence[tuple[int, np.ndarray]], seen: Tensor) -> ActionBatch:
        """What was `seen` at the moments picked, with states and actions."""
        states = np.stack([self.states[number][frames] for number, frames in picks])
        actions = np.stack([self._actions(number, frames[-1]) for number, frames in picks])
        return ActionBatch(seen, torch.from_numpy(states), torch.from_numpy(actions))

    def _actions(self, number: int, present: int) -> np.ndarray:
        """The states (16, 20) at the present frame and the 15 after it."""
        states = self.states[number]
        return states[np.minimum(present + np.arange(PREDICTED_FRAMES), len(states) - 1)]


class ImageMoments(Moments):
    """Moments seen in colour by random ordered pairs of training cameras."""

    def __init__(self, dataset: Dataset):
        super().__init__(dataset)
        self.images = [[e.read_camera(c)[0] for c in training_cameras(e)] for e in self.episodes]

    def __call__(self, count: int, generator: torch.Generator) -> ActionBatch:
        """`count` random moments."""
        picks = [self.pick(generator) for _ in range(count)]
        images = []
        for number, frames in picks:
            cameras = self.images[number]
            n, m = torch.randperm(len(cameras), generator=generator)[:2].tolist()
            images.append(np.stack([cameras[n][frames], cameras[m][frames]], axis=1))  # (2 moments, 2 views, H, W, 3)
        return self.batch(picks, images_input(np.stack(images)))


class CloudMoments(Moments):
    """Moments as point clouds of random pairs of training cameras.

    The clouds are computed once, as choosing their points takes longer than a step of training: of `pairs` random pairs
    an episode, or of all if there are fewer. They wait in half precision, which rounds them to a quarter of a
    millimetre within half a metre of the origin.
    """

    def __init__(self, dataset: Dataset, pairs: int = 12, seed: int = 0):
        super().__init__(dataset)
        generator = torch.Generator().manual_seed(seed)
        self.clouds = [_clouds(episode, pairs, generator) for episode in self.episodes]

    def __call__(self, count: int, generator: torch.Generator) -> ActionBatch:
        """`count` random moments."""
        picks = [self.pick(generator) for _ in range(count)]
        seen = [self.clouds[number][integer(len(self.clouds[number]), generator), frames] for number, frames in picks]
        return self.batch(picks, torch.stack(seen).float())


def _clouds(episode: Episode, pairs: int, generator: torch.Generator) -> Tensor:
    """Clouds (P, T, 512, 3) of P random pairs of training cameras, in half precision."""
    every_pair = list(combinations(training_cameras(episode), 2))
    order = torch.randperm(len(every_pair), generator=generator)[:pairs].tolist()
    chosen = [list(every_pair[i]) for i in order]
    depth = {camera: episode.read_camera(camera)[1] for camera in sorted({c for pair in chosen for c in pair})}
    clouds = []
    for pair in chosen:
        depth_m = decode_depth(np.stack([depth[camera] for camera in pair], axis=1))
        clouds.append(observed_clouds(depth_m, episode.K[pair], episode.X_WC[pair]).half())
    return torch.stack(clouds)


def images_input(images: np.ndarray) -> Tensor:
    """(..., H, W, 3) uint8 -> (..., 3, H, W) in [-1, 1]."""
    flat = images.reshape(-1, *images.shape[-3:])
    return rgb_input(flat).view(*images.shape[:-3], 3, *images.shape[-3:-1])


def training_cameras(episode: Episode) -> list[int]:
    """Raises EpisodeError for fewer than two."""
    cameras = episode.info.cameras("train")
    if len(cameras) < 2:
        raise EpisodeError(f"{episode.name} has {len(cameras)} training cameras; a policy sees two")
    return cameras
