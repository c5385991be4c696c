"""The labs' pages: each one template filled with styles, data, formulas and the script that draws them."""

from __future__ import annotations

import html
import json
from base64 import b64encode
from dataclasses import asdict
from pathlib import Path

import matplotlib
import numpy as np

from book.tools.labs.recorded import UNIT_M, X_WN, K, read_frame, read_scene
from geo4d_lite.figures.look import DEPTH_CMAP, DEPTH_RANGE_M
from geo4d_lite.geometry import PAPER_SHELL, transform, unproject
from geo4d_lite.models.diffusion import make_scheduler
from geo4d_lite.models.recipe import RECIPES

SOURCES = Path(__file__).parent
LABS = Path(__file__).resolve().parents[2] / "labs"
APPLE = (111, 55)  # the pixel of the recorded image that is ringed at first
TITLES = {"camera": "Lab: move a camera", "noise": "Lab: slide the noise"}
SUMMARIES = {
    "camera": "the pointmaps of two cameras n and m. Each in its own frame, they disagree, and m's turns with every "
    "move of m. Moved into the frame of n by the relative pose, they lie on each other and stay.",
    "noise": "an image, the image with noise, what the network is given and what it is asked for. At little noise it "
    "is asked for the noise, at much noise for the image; question and answer always have mean square one.",
}


def write_labs(folder: Path = LABS) -> list[Path]:
    """Write every lab's page into `folder` and return their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, data in (("camera", camera_data()), ("noise", noise_data())):
        paths.append(folder / f"{name}.html")
        paths[-1].write_text(page(name, data), encoding="utf-8")
    return paths


def page(name: str, data: dict) -> str:
    """The HTML of the lab `name`."""
    parts = {
        "title": html.escape(TITLES[name]),
        "summary": html.escape(SUMMARIES[name]),
        "style": source("page.css"),
        "body": source(f"{name}.html"),
        "data": json.dumps(data, separators=(",", ":")).replace("</", "<\\/"),
        "formulas": source(f"{name}_formulas.js"),
        "script": source("page.js") + source(f"{name}.js"),
    }
    text = source("page.html")
    for key, value in parts.items():
        text = text.replace("{" + key + "}", value)
    return text


def source(name: str) -> str:
    """A source file beside this one."""
    return (SOURCES / name).read_text(encoding="utf-8")


def encoded(array: np.ndarray, dtype: str) -> str:
    """The little-endian bytes of an array in base64."""
    return b64encode(np.ascontiguousarray(array).astype(np.dtype(dtype).newbyteorder("<")).tobytes()).decode()


def camera_data() -> dict:
    """The scene, the cameras' intrinsics, camera n and the shell."""
    scene, (_, depth_m) = read_scene(), read_frame()
    points, _ = unproject(depth_m, K.matrix)
    shell = asdict(PAPER_SHELL)
    return {
        "K": asdict(K),
        "X_Wn": X_WN.tolist(),
        "p_W": transform(X_WN, points[APPLE[1], APPLE[0]]).tolist(),
        "target": shell.pop("target"),
        "shell": shell,
        "light": scene.light.tolist(),
        "wall": scene.wall.tolist(),
        "unit_m": UNIT_M,
        "vertices": encoded(np.round(scene.vertices / UNIT_M), "i2"),
        "triangles": encoded(scene.triangles, "u2"),
        "rgb": encoded(scene.rgb, "u1"),
    }


def noise_data() -> dict:
    """The recorded image, the noise levels of training and of the sampler, and the book's colours of depth."""
    rgb, depth_m = read_frame()
    sampler = make_scheduler().config
    ramp = matplotlib.colormaps[DEPTH_CMAP](np.arange(256))[:, :3]
    return {
        "width": K.width,
        "height": K.height,
        "rgb": encoded(rgb, "u1"),
        "depth": encoded(np.round(depth_m / UNIT_M), "u2"),
        "unit_m": UNIT_M,
        "depth_range_m": DEPTH_RANGE_M,
        "depth_colours": encoded(np.round(255 * ramp), "u1"),
        "sigma_min": sampler.sigma_min,
        "sigma_max": sampler.sigma_max,
        "recipes": {n: {"mean": r.log_sigma_mean, "std": r.log_sigma_std} for n, r in RECIPES.items()},
    }
