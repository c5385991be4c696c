"""What the model learns from: one observation and ten future frames of an ordered pair of views (n, m).

A split holds out cameras *and* episodes: train windows take train cameras of train episodes, test windows take test
cameras of test episodes, and the other two combinations are never used.
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate, permutations

import numpy as np

from geo4d_lite.data.dataset import Dataset
from geo4d_lite.data.store import IMAGES, Episode, EpisodeError, decode_depth
from geo4d_lite.geometry import MAX_DEPTH_M, relative_pose, transform, unproject

WINDOW_HZ = 2
FUTURE_FRAMES = 10
PAD_FRAMES = 4  # a window may run this many frames past the end, where the last one repeats


@dataclass(frozen=True, eq=False)
class Window:
    """Recorded frame `start` as the condition and the 10 frames after it at 2 Hz, seen by cameras n and m."""

    episode: Episode
    start: int
    n: int
    m: int

    @property
    def frames(self) -> np.ndarray:
        """Recorded frame numbers (11,); past the end of the episode the last frame repeats."""
        return window_frames(self.episode, self.start)


def stride(episode: Episode) -> int:
    """Recorded frames between two frames of a window. Raises EpisodeError unless it is a whole number."""
    if episode.info.hz <= 0 or episode.info.hz % WINDOW_HZ:
        raise EpisodeError(
            f"{episode.name}: recorded at {episode.info.hz} Hz; windows at {WINDOW_HZ} Hz need a multiple of "
            f"{WINDOW_HZ}: record again with `geo4d demos --hz 10`"
        )
    return episode.info.hz // WINDOW_HZ


def window_frames(episode: Episode, start: int | np.ndarray) -> np.ndarray:
    """Recorded frame numbers (..., 11) of the windows at `start` (...); past the end the last frame repeats."""
    wanted = np.asarray(start)[..., None] + stride(episode) * np.arange(1 + FUTURE_FRAMES)
    return np.minimum(wanted, episode.frames - 1)


def start_count(episode: Episode, pad_frames: int = PAD_FRAMES) -> int:
    """How many recorded frames a window may start at."""
    return max(0, episode.frames - stride(episode) * (FUTURE_FRAMES - pad_frames))


class Windows(Sequence):
    """Every window of some episodes, made when asked for: episodes x starts x ordered pairs of cameras.

    A window starts at any recorded frame that leaves at most `pad_frames` of its ten future frames past the end, where
    the last frame repeats: demonstrations end standing still, so this shows the model how the task ends.
    """

    def __init__(self, episodes: Sequence[Episode], split: str, pad_frames: int = PAD_FRAMES) -> None:
        if not 0 <= pad_frames <= FUTURE_FRAMES:
            raise ValueError(f"pad_frames is {pad_frames}; expected 0 to {FUTURE_FRAMES} repeated frames")
        self.episodes, self.pad_frames = tuple(episodes), pad_frames
        self.pairs = [tuple(permutations(episode.info.cameras(split), 2)) for episode in self.episodes]
        starts = [start_count(episode, pad_frames) for episode in self.episodes]
        self.ends = list(accumulate(count * len(pairs) for count, pairs in zip(starts, self.pairs, strict=True)))

    def __len__(self) -> int:
        return self.ends[-1] if self.ends else 0

    def __getitem__(self, index: int) -> Window:
        if not -len(self) <= index < len(self):
            raise IndexError(f"window {index} of {len(self)}")
        index %= len(self)
        which = bisect_right(self.ends, index)
        start, pair = divmod(index - (self.ends[which - 1] if which else 0), len(self.pairs[which]))
        return Window(self.episodes[which], start, *self.pairs[which][pair])


def windows(dataset: Dataset, split: str, pad_frames: int = PAD_FRAMES) -> Windows:
    """All windows of a split, ordered by episode, start and camera pair.

    Raises EpisodeError for an unknown split, and where the split has no window at all.
    """
    found = Windows(dataset.split(split), split, pad_frames)
    if not found:
        raise EpisodeError(
            f"{dataset.root}: no {split} windows; they need a {split} episode of at least "
            f"{(FUTURE_FRAMES - pad_frames) / WINDOW_HZ:.0f} s seen by two {split} cameras"
        )
    return found


class WindowDataset:
    """Windows as arrays, indexable and sized as a torch data set wants it.

    An item is a dict; axis 0 is the view (n, m), frame 0 of axis 1 the condition, frames 1 to 10 the future:
    rgb (2, 11, H, W, 3) uint8 · depth_m (2, 11, H, W) · label (2, 11, H, W) uint8 · K (2, 3, 3) · X_WC (2, 4, 4) ·
    X_nm (4, 4) · X_WG (11, 2, 4, 4) · width_m (11, 2) · pointmap (2, 11, H, W, 3) metres, *both views in the frame of
    camera n*, 0 where invalid · valid (2, 11, H, W) bool. Depth and pointmaps are float32, poses float64. The videos of
    recently used cameras stay in memory, `cache_gib` at most.
    """

    def __init__(
        self,
        dataset: Dataset,
        split: str,
        pad_frames: int = PAD_FRAMES,
        max_depth_m: float = MAX_DEPTH_M,
        cache_gib: float = 4.0,
    ) -> None:
        self.windows = windows(dataset, split, pad_frames)
        self.max_depth_m = max_depth_m
        self._read_camera = lru_cache(self._cached_cameras(cache_gib))(Episode.read_camera)

    def _cached_cameras(self, cache_gib: float) -> int:
        """How many cameras' videos fit into `cache_gib`, the pair of one window at least."""
        images = self.windows[0].episode.images
        camera_bytes = sum(images[name].nbytes / images[name].shape[1] for name in IMAGES)
        return max(2, int(cache_gib * 2**30 / camera_bytes))

    def __len__(self) -> int:
        return len(self.windows)

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        return self.load(self.windows[index])

    def load(self, window: Window) -> dict[str, np.ndarray]:
        """The arrays of one window, as described above."""
        episode, views, frames = window.episode, [window.n, window.m], window.frames
        videos = zip(*(self._read_camera(episode, view) for view in views), strict=True)
        rgb, depth, label = (np.stack([video[frames] for video in pair]) for pair in videos)
        depth_m = decode_depth(depth)
        X_nm = relative_pose(episode.X_WC[window.n], episode.X_WC[window.m])
        pointmap, valid = unproject(depth_m, episode.K[views][:, None], self.max_depth_m)
        pointmap[1] = transform(X_nm, pointmap[1]) * valid[1, ..., None]  # else invalid pixels would become p_nm
        return {
            "rgb": rgb,
            "depth_m": depth_m,
            "label": label,
            "pointmap": pointmap,
            "valid": valid,
            "K": episode.K[views],
            "X_WC": episode.X_WC[views],
            "X_nm": X_nm,
            "X_WG": episode.X_WG[frames],
            "width_m": episode.width_m[frames],
        }
