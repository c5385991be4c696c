"""Every method of the comparison as one thing: two observations of a window -> a video."""

import json
from collections.abc import Callable
from pathlib import Path

import torch

from geo4d_lite.evaluation.study import VideoModel
from geo4d_lite.models.gaussian_video import GaussianVideo
from geo4d_lite.models.gaussians4d import DeformationField
from geo4d_lite.models.weights import load_pipeline, shipped


def load_video_model(
    folder: Path | None, steps: int, path_model: Path | None = None
) -> tuple[VideoModel, Callable | None]:
    """The method whose weights lie in `folder` (None: the shipped ones), and how it encodes and decodes a video.

    A pipeline draws its videos in `steps` sampler steps, the hands along what the path model of the folder `path_model`
    reads, if there is one. A 4D Gaussian field is given the true poses of both cameras, and has no autoencoders: None.
    Raises ValueError where `folder` holds neither, and for a path model beside a Gaussian field.
    """
    folder = folder or shipped()
    if _class_of(folder) == DeformationField.__name__:
        if path_model is not None:
            raise ValueError(f"{folder} is a 4D Gaussian field, which draws no hands along a path: no path model")
        gaussians = GaussianVideo(DeformationField.from_pretrained(folder, low_cpu_mem_usage=False).float())
        return lambda views, item, seed: gaussians(*views, item["X_WC"]), None
    pipeline = load_pipeline(folder, path_model)

    def imagine(views, item, seed):
        return pipeline(*views, steps, torch.Generator().manual_seed(seed))

    return imagine, pipeline.reconstruct


def _class_of(folder: Path) -> str | None:
    config = folder / "config.json"
    return json.loads(config.read_text()).get("_class_name") if config.exists() else None
