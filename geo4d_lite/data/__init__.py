"""Episodes on disk and the windows cut out of them."""

from geo4d_lite.data.cameras import CAMERAS, IMAGE_SIZES
from geo4d_lite.data.check import Problem, check_dataset
from geo4d_lite.data.convert import SourceError, write_dataset
from geo4d_lite.data.dataset import Dataset, dataset_hash, open_dataset, write_manifest
from geo4d_lite.data.sampling import WindowSampling, window_weights
from geo4d_lite.data.sensor_model import D415, D435, StereoDepthCamera, add_depth_noise
from geo4d_lite.data.store import (
    DEPTH_SCALE_M,
    FORMAT_VERSION,
    DamagedEpisode,
    Episode,
    EpisodeArrays,
    EpisodeError,
    EpisodeInfo,
    content_hash,
    decode_depth,
    encode_depth,
    open_episode,
    split_cameras,
    write_episode,
)
from geo4d_lite.data.windows import FUTURE_FRAMES, WINDOW_HZ, Window, WindowDataset, Windows, windows

__all__ = [
    "CAMERAS",
    "D415",
    "D435",
    "DEPTH_SCALE_M",
    "FORMAT_VERSION",
    "FUTURE_FRAMES",
    "IMAGE_SIZES",
    "WINDOW_HZ",
    "DamagedEpisode",
    "Dataset",
    "Episode",
    "EpisodeArrays",
    "EpisodeError",
    "EpisodeInfo",
    "Problem",
    "SourceError",
    "StereoDepthCamera",
    "Window",
    "WindowDataset",
    "WindowSampling",
    "Windows",
    "add_depth_noise",
    "check_dataset",
    "content_hash",
    "dataset_hash",
    "decode_depth",
    "encode_depth",
    "open_dataset",
    "open_episode",
    "split_cameras",
    "window_weights",
    "windows",
    "write_dataset",
    "write_episode",
    "write_manifest",
]
