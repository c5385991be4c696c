"""Episodes on disk and the windows cut out of them."""

from geo4d_lite.data.dataset import Dataset, open_dataset, write_manifest
from geo4d_lite.data.store import (
    DEPTH_SCALE_M,
    FORMAT_VERSION,
    Episode,
    EpisodeArrays,
    EpisodeError,
    EpisodeInfo,
    decode_depth,
    encode_depth,
    open_episode,
    split_cameras,
    write_episode,
)
from geo4d_lite.data.windows import FUTURE_FRAMES, WINDOW_HZ, Window, WindowDataset, Windows, windows

__all__ = [
    "DEPTH_SCALE_M",
    "FORMAT_VERSION",
    "FUTURE_FRAMES",
    "WINDOW_HZ",
    "Dataset",
    "Episode",
    "EpisodeArrays",
    "EpisodeError",
    "EpisodeInfo",
    "Window",
    "WindowDataset",
    "Windows",
    "decode_depth",
    "encode_depth",
    "open_dataset",
    "open_episode",
    "split_cameras",
    "windows",
    "write_episode",
    "write_manifest",
]
