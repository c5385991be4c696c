"""Fréchet video distance: how far the distribution of generated videos is from that of true ones."""

from pathlib import Path
from typing import Protocol

import numpy as np

from geo4d_lite.evaluation.statistics import frechet_distance
from geo4d_lite.models.device import best_device

I3D_PIXELS = 224
FEWEST_CLIPS = 16


class FeatureExtractor(Protocol):
    """Turns videos into vectors. `name` goes into every result: distances of different features do not compare."""

    name: str

    def encode(self, videos: np.ndarray) -> np.ndarray:
        """Videos (N, T, H, W, 3) uint8 -> features (N, D)."""
        ...


class LiteFeatures:
    """A small video encoder, trained on the book's own simulation by `data_scripts.train_video_features`.

    Args:
        folder: where that command exported one; without it, the one that comes with the package.
    """

    def __init__(self, folder: str | Path | None = None):
        from geo4d_lite.models.video_encoder import VideoEncoder
        from geo4d_lite.models.weights import shipped

        self.name = "lite features" if folder is None else f"features of {folder}"
        folder = folder or shipped("video_encoder")
        self.encoder = VideoEncoder.from_pretrained(folder, low_cpu_mem_usage=False).float().eval()

    def encode(self, videos: np.ndarray) -> np.ndarray:
        """See `FeatureExtractor`."""
        return self.encoder.encode(videos)


class I3DFeatures:
    """The I3D of the literature (Carreira and Zisserman 2017; Kinetics-400), from a TorchScript file of yours.

    Args:
        path: `i3d_torchscript.pt` as published with StyleGAN-V, which takes (N, 3, T, 224, 224) in [-1, 1] and the
            keywords `rescale`, `resize`, `return_features`, and returns (N, 400).

    Raises FileNotFoundError if it is not there, ValueError if it is no such network. Not exercised here with the
    published file: the tests run a small network of the same interface.
    """

    name = "I3D"

    def __init__(self, path: str | Path, device: str = "cpu", batch: int = 4):
        import torch

        if not Path(path).is_file():
            raise FileNotFoundError(f"{path} is no file; give the TorchScript file of I3D, or use the lite features")
        try:
            self.network = torch.jit.load(str(path), map_location=device).eval()
        except RuntimeError as error:
            raise ValueError(f"{path} is no TorchScript network ({str(error).splitlines()[0]})") from error
        self.device, self.batch = device, batch

    def encode(self, videos: np.ndarray) -> np.ndarray:
        """See `FeatureExtractor`. Videos are resized to 224 x 224, bilinearly."""
        import torch
        import torch.nn.functional as F

        features = []
        for part in np.array_split(videos, range(self.batch, len(videos), self.batch)):
            x = torch.from_numpy(part).to(self.device).float() / 127.5 - 1  # (N, T, H, W, 3)
            frames = F.interpolate(
                x.permute(0, 1, 4, 2, 3).flatten(0, 1), (I3D_PIXELS, I3D_PIXELS), mode="bilinear", align_corners=False
            )
            clips = frames.unflatten(0, (len(part), -1)).transpose(1, 2)  # (N, 3, T, 224, 224)
            with torch.no_grad():
                features.append(self.network(clips, rescale=False, resize=False, return_features=True).cpu())
        return torch.cat(features).double().numpy()


def feature_extractor(path: Path | None = None) -> FeatureExtractor:
    """I3D from a `.pt` file, the lite features from a folder or, without a path, as they come with the package."""
    return I3DFeatures(path, best_device()) if path is not None and path.suffix == ".pt" else LiteFeatures(path)


def fvd(true: np.ndarray, generated: np.ndarray, extractor: FeatureExtractor) -> float:
    """Fréchet distance between the features of two sets of videos, (N, T, H, W, 3) and (M, T, H, W, 3) uint8.

    Raises ValueError for fewer than 16 videos in a set: a covariance of so few says nothing.
    """
    for name, videos in (("true", true), ("generated", generated)):
        if len(videos) < FEWEST_CLIPS:
            raise ValueError(f"{len(videos)} {name} videos; a Fréchet distance needs a set, at least {FEWEST_CLIPS}")
    return frechet_distance(extractor.encode(true), extractor.encode(generated))


def fvd_interval(
    true: np.ndarray,
    generated: np.ndarray,
    episodes: np.ndarray,
    confidence: float = 0.95,
    draws: int = 500,
    seed: int = 0,
) -> tuple[float, float]:
    """Interval of the Fréchet distance of *features* (N, D) and (N, D) of the same windows, over `episodes` (N,).

    Whole episodes are drawn again with replacement, their true and generated windows together. Few clips make a
    distance too large, and a set with repeated members is like one of still fewer: the draws lie too high by about as
    much as the distance itself does, and are mirrored about it (a basic bootstrap). So the interval is one for the
    distance of very many clips, and mostly lies *below* the distance of the sets themselves; chapter 9 tests it.
    """
    names, rng = np.unique(episodes), np.random.default_rng(seed)
    members = [np.flatnonzero(episodes == name) for name in names]
    if len(names) < 2:
        return float("nan"), float("nan")
    distances = []
    for _ in range(draws):
        chosen = np.concatenate([members[i] for i in rng.integers(len(names), size=len(names))])
        distances.append(frechet_distance(true[chosen], generated[chosen]))
    point, tail = frechet_distance(true, generated), (1 - confidence) / 2
    low, high = np.quantile(distances, [tail, 1 - tail])
    return float(max(0.0, 2 * point - high)), float(2 * point - low)
