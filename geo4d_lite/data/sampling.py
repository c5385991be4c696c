"""Which windows training draws: every phase of a demonstration alike, and seldom one in which nothing moves."""

from dataclasses import dataclass

import numpy as np

from geo4d_lite.data.store import Episode
from geo4d_lite.data.windows import PAD_FRAMES, WINDOW_HZ, Windows, start_count, window_frames


@dataclass(frozen=True)
class WindowSampling:
    """How often a window is drawn, decided by its first frame. Raises ValueError for a probability that is none."""

    balance_phases: bool = True
    """Draw the phases of an episode equally often, however long they last; else, and without phases, all starts."""
    redraw_still: float = 0.9
    """How probably a still window, once drawn, is given back and another one drawn. The paper's release: always."""
    still_m_s: float = 0.02
    """A window is still if no gripper moves faster than this between any two of its frames. As in the release."""

    def __post_init__(self) -> None:
        if not 0.0 <= self.redraw_still < 1.0:
            raise ValueError(f"redraw_still is {self.redraw_still}; expected a probability below 1, such as 0.9")

    def start_weights(self, episode: Episode, pad_frames: int = PAD_FRAMES) -> np.ndarray:
        """Probability (starts,) of each start of a window in `episode`; they add up to 1 where there is one.

        Drawing a start, giving back a still one with probability r and drawing again comes to weights of 1 - r.
        """
        starts = start_count(episode, pad_frames)
        weights = np.ones(starts)
        if self.balance_phases and episode.info.phase:
            _, phase, count = np.unique(episode.info.phase[:starts], return_inverse=True, return_counts=True)
            weights /= count[phase]
        weights[window_speeds(episode, starts) <= self.still_m_s] *= 1.0 - self.redraw_still
        return weights / weights.sum()


def window_speeds(episode: Episode, starts: int) -> np.ndarray:
    """The highest speed of any gripper between two frames of the windows at the first `starts` starts, (starts,) m/s.

    An arm that was not recorded (NaN) counts as standing.
    """
    p_WG = episode.X_WG[window_frames(episode, np.arange(starts)), :, :3, 3]  # (starts, 11, 2, 3)
    speeds = np.linalg.norm(np.diff(p_WG, axis=1), axis=-1) * WINDOW_HZ
    return np.nan_to_num(speeds).max(axis=(1, 2))


def window_weights(windows: Windows, sampling: WindowSampling = WindowSampling()) -> np.ndarray:  # noqa: B008 (frozen)
    """Probability of every window, (len(windows),): episodes alike, starts by `sampling`, pairs of cameras alike.

    Made for `torch.utils.data.WeightedRandomSampler(window_weights(data.windows), …)` over a `WindowDataset`.
    """
    weights = [
        np.repeat(sampling.start_weights(episode, windows.pad_frames), len(pairs)) / len(pairs)
        for episode, pairs in zip(windows.episodes, windows.pairs, strict=True)
        if pairs and start_count(episode, windows.pad_frames)
    ]
    return np.concatenate(weights) / len(weights)
