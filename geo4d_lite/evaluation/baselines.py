"""The policies ours is compared with, as they are loaded for a rollout."""

import json
from pathlib import Path

import numpy as np
import torch

from geo4d_lite.geometry import register_views
from geo4d_lite.models.diffusion_policy import DiffusionPolicy
from geo4d_lite.models.dp3 import DP3
from geo4d_lite.models.path_model import PathModel
from geo4d_lite.models.pipeline import load_part
from geo4d_lite.perception import ColourSegmenter
from geo4d_lite.policies import ActionPolicy, Dreamitate, PathPolicy, VideoModel

ACTION_MODELS = {"diffusion_policy": DiffusionPolicy, "dp3": DP3}


def action_policy(name: str, folder: Path, threshold_m: float, seed: int) -> ActionPolicy:
    """Diffusion Policy or DP3 with the weights in `folder`; the same noise, by `seed`, every time it is asked.

    So a rollout does not depend on those before it. Raises ValueError where `folder` holds no such weights.
    """
    kind, config = ACTION_MODELS[name], folder / "config.json"
    if not config.exists() or json.loads(config.read_text()).get("_class_name") != kind.__name__:
        raise ValueError(
            f"{folder} holds no weights of {name}; make them by `python -m data_scripts.train_policy --policy {name}`"
        )
    model = kind.from_pretrained(folder, low_cpu_mem_usage=False).float().eval()

    def act(views, X_WC, states) -> np.ndarray:
        return model.predict(views, X_WC, states, torch.Generator().manual_seed(seed))

    return ActionPolicy(act, threshold_m, model.step_s)


def dreamitate_policy(video_model: VideoModel, threshold_m: float) -> Dreamitate:
    """Dreamitate with the lite segmenter."""
    return Dreamitate(video_model, ColourSegmenter(), threshold_m)


def path_policy(folder: Path, threshold_m: float) -> PathPolicy:
    """The path model in `folder`, acted without a film. Raises ValueError where `folder` holds no such weights."""
    model = load_part((PathModel,), folder).eval()

    def read(view_n, view_m) -> np.ndarray | None:
        path = model.predict(view_n, view_m, register_views(view_n, view_m).X_nm)
        return None if path is None else path[0].numpy()

    return PathPolicy(read, threshold_m)
