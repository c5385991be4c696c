"""Single frames for training the autoencoders, and the shape in which both models see images and pointmaps."""

import numpy as np
import torch
from torch import Tensor

from geo4d_lite.data import Dataset, Episode, decode_depth
from geo4d_lite.geometry import PointmapRange, relative_pose, transform, unproject
from geo4d_lite.geometry.labels import GRIPPER

RANGE = PointmapRange()


def rgb_input(rgb: np.ndarray) -> Tensor:
    """(N, H, W, 3) uint8 -> (N, 3, H, W) in [-1, 1]."""
    return torch.from_numpy(np.ascontiguousarray(rgb)).permute(0, 3, 1, 2).contiguous().float() / 127.5 - 1


def rgb_output(x: Tensor) -> np.ndarray:
    """(N, 3, H, W) in [-1, 1] -> (N, H, W, 3) uint8."""
    return ((x.clamp(-1, 1) + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy()


def pointmap_input(p: np.ndarray, valid: np.ndarray) -> Tensor:
    """Points (N, H, W, 3) in metres, valid (N, H, W) -> (N, 4, H, W): encoded x, y, z (0 where invalid), validity."""
    valid = valid[..., None].astype(np.float32)
    x = np.concatenate([RANGE.encode(p) * valid, valid], -1).astype(np.float32)
    return torch.from_numpy(x).permute(0, 3, 1, 2).contiguous()


def pointmap_output(x: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """(N, 4, H, W) with a validity logit -> points (N, H, W, 3) in metres, 0 where invalid, and valid (N, H, W)."""
    valid = (x[:, 3] > 0).numpy()
    return (RANGE.decode(x[:, :3]).permute(0, 2, 3, 1).numpy() * valid[..., None]).astype(np.float32), valid


class FrameSampler:
    """Random frames of the training episodes and cameras, pointmaps half of the time in another camera's frame.

    The pointmap autoencoder must also encode view m in the frame of view n, where the same table lies askew. All
    frames wait in memory; where there are more than `max_videos` (one camera, one episode), that many, spread evenly.
    """

    def __init__(self, dataset: Dataset, split: str = "train", max_videos: int = 720):
        self.split = split
        available = [(episode, camera) for episode in dataset.split(split) for camera in episode.info.cameras(split)]
        count = min(max_videos, len(available))
        self.videos: list[tuple[Episode, int, tuple[np.ndarray, ...]]] = [
            (episode, camera, episode.read_camera(camera))
            for episode, camera in (available[i * len(available) // count] for i in range(count))
        ]

    def rgb(self, count: int, generator: torch.Generator, clip: int = 1) -> tuple[Tensor, Tensor]:
        """Images (count, 3, H, W) and gripper masks (count, 1, H, W); `clip` frames at a time follow each other."""
        picks = [self._pick(clip, generator) for _ in range(count // clip)]
        return rgb_input(np.concatenate([rgb[t] for _, _, (rgb, _, _), t in picks])), gripper_masks(picks)

    def pointmap(self, count: int, generator: torch.Generator, clip: int = 1) -> tuple[Tensor, Tensor]:
        """Pointmaps (count, 4, H, W) and gripper masks (count, 1, H, W); `clip` frames at a time follow each other."""
        picks = [self._pick(clip, generator) for _ in range(count // clip)]
        points, valids = [], []
        for episode, camera, (_, depth, _), t in picks:
            p, valid = unproject(decode_depth(depth[t]), episode.K[camera])
            if integer(2, generator):
                cameras = episode.info.cameras(self.split)
                other = cameras[integer(len(cameras), generator)]
                p = transform(relative_pose(episode.X_WC[other], episode.X_WC[camera]), p)
            points.append(p)
            valids.append(valid)
        return pointmap_input(np.concatenate(points), np.concatenate(valids)), gripper_masks(picks)

    def _pick(self, clip: int, generator: torch.Generator) -> tuple:
        """A video and `clip` frame numbers in it; past the end the last frame repeats."""
        episode, camera, video = self.videos[integer(len(self.videos), generator)]
        last = len(video[0]) - 1
        return episode, camera, video, np.minimum(integer(last + 1, generator) + np.arange(clip), last)


def gripper_masks(picks: list[tuple]) -> Tensor:
    """1 on the pixels of any hand or finger: (N, 1, H, W)."""
    labels = np.concatenate([label[t] for _, _, (_, _, label), t in picks])
    return torch.from_numpy(np.isin(labels, GRIPPER)).float()[:, None]


def integer(below: int, generator: torch.Generator) -> int:
    return int(torch.randint(below, (), generator=generator))
