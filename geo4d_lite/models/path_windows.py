"""What the path model learns from: windows of demonstrations as point clouds, and how the grippers moved on.

Clouds are made once, by the true poses of the cameras, and wait in half precision, which rounds them to half a
millimetre within a metre of the origin. Every time one is drawn it is turned and shifted along the table.
"""

from collections.abc import Sequence
from itertools import permutations
from pathlib import Path

import numpy as np
import torch
from joblib import Parallel, delayed
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from geo4d_lite.data import Episode, EpisodeError, WindowSampling, decode_depth
from geo4d_lite.data.windows import window_frames
from geo4d_lite.geometry import RGBD
from geo4d_lite.models.latents import path_in_n
from geo4d_lite.models.path_model import CANDIDATES, drawn, network_input, planar_motion, scene_cloud

SHIFT_M = 0.10  # standard deviation of how far a cloud is moved
POINT_NOISE_DM, COLOUR_NOISE = 0.02, 0.06  # standard deviations of what registration and autoencoders never get right


class PathWindows:
    """Windows of episodes seen by pairs of training cameras.

    Args:
        episodes: of a split "train". folder: where their clouds are kept, one file each.
        pairs: random ordered pairs of training cameras an episode. workers: processes that make clouds side by side.

    Raises EpisodeError where a file holds clouds of another episode, or of another number of pairs.
    """

    def __init__(self, episodes: Sequence[Episode], folder: Path, pairs: int = 3, workers: int = 1):
        folder.mkdir(parents=True, exist_ok=True)
        paths = [folder / f"{e.path.parent.name}_{e.path.stem}.safetensors" for e in episodes]
        missing = [(e, path) for e, path in zip(episodes, paths, strict=True) if not path.exists()]
        Parallel(workers)(delayed(_write_clouds)(e, path, pairs) for e, path in missing)
        self.clouds = [_read_clouds(e, path, pairs) for e, path in zip(episodes, paths, strict=True)]
        starts = [torch.from_numpy(WindowSampling().start_weights(e)) for e in episodes]
        starts = [weights if len(weights) else torch.ones(1) for weights in starts]  # one window, its end repeated
        self.start_weights = pad_sequence(starts, batch_first=True)
        self.frames = [
            torch.from_numpy(window_frames(e, np.arange(len(weights)))[:, 1:])
            for e, weights in zip(episodes, starts, strict=True)
        ]
        self.X_WG = [torch.from_numpy(e.X_WG).float() for e in episodes]
        self.width_m = [torch.from_numpy(e.width_m).float() for e in episodes]

    def batch(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """`count` random windows: points and colours (count, N, 3) and path (count, T, arms, 10), see `PathModel`."""
        e = torch.randint(len(self.clouds), (count,), generator=generator)
        starts = torch.multinomial(self.start_weights[e], 1, generator=generator).squeeze(1)
        chance = torch.rand(count, generator=generator)
        points, colours, X_WG, width_m = [], [], [], []
        for i, t, share in zip(e.tolist(), starts.tolist(), chance.tolist(), strict=True):
            pair = int(share * len(self.clouds[i]["points"]))
            points.append(self.clouds[i]["points"][pair, t])
            colours.append(self.clouds[i]["colours"][pair, t])
            X_WG.append(self.X_WG[i][self.frames[i][t]])
            width_m.append(self.width_m[i][self.frames[i][t]])
        p_W = torch.stack(points).float()
        shifts = SHIFT_M * torch.randn((count, 2), generator=generator) - p_W[..., :2].mean(dim=1)
        X_AW = planar_motion(2 * torch.pi * torch.rand(count, generator=generator), shifts)
        seen, colour = network_input(*drawn(p_W, torch.stack(colours), generator), X_AW)
        seen = seen + POINT_NOISE_DM * torch.randn(seen.shape, generator=generator)
        colour = colour + COLOUR_NOISE * torch.randn(colour.shape, generator=generator)
        return seen, colour, path_in_n(X_AW, torch.stack(X_WG), torch.stack(width_m))


def _read_clouds(episode: Episode, path: Path, pairs: int) -> dict[str, Tensor]:
    clouds, wanted = load_file(path), (len(_pairs(episode, pairs)), episode.frames)
    if clouds["points"].shape[:2] != wanted:
        raise EpisodeError(
            f"{path} holds clouds of {tuple(clouds['points'].shape[:2])} pairs and frames, {episode.name} asks for "
            f"{wanted}; delete {path.parent}, and they are made again"
        )
    return clouds


def _pairs(episode: Episode, count: int) -> list[tuple[int, int]]:
    every = list(permutations(episode.info.cameras("train"), 2))
    return [every[i] for i in np.random.default_rng(episode.info.seed).permutation(len(every))[:count]]


def _write_clouds(episode: Episode, path: Path, pairs: int) -> None:
    """Write clouds (pairs, T, 1024, 3) in the world and their colours; a cloud of fewer points repeats them."""
    chosen = _pairs(episode, pairs)
    seen = {c: episode.read_camera(c)[:2] for c in sorted({c for pair in chosen for c in pair})}
    clouds = []
    for pair in chosen:
        X_WC = [episode.X_WC[c] for c in pair]
        for t in range(episode.frames):
            views = [RGBD(seen[c][0][t], decode_depth(seen[c][1][t]), episode.K[c]) for c in pair]
            points, colours = scene_cloud(views, X_WC)
            full = np.resize(np.arange(len(points)), CANDIDATES)
            clouds.append((points[full].astype(np.float16), colours[full]))
    shape = (len(chosen), episode.frames, CANDIDATES, 3)
    parts = (torch.from_numpy(np.stack(part)).view(shape) for part in zip(*clouds, strict=True))
    unfinished = path.with_suffix(".unfinished")
    save_file(dict(zip(("points", "colours"), parts, strict=True)), unfinished)
    unfinished.rename(path)
