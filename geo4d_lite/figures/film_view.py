"""A 4D video to turn, play and stop in the browser: one page that needs nothing beside it."""

import gzip
import html
import json
from base64 import b64encode
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.colors import to_rgb

from geo4d_lite.figures.film import STEP_S
from geo4d_lite.figures.look import VIEW_COLOURS
from geo4d_lite.figures.viewers import Frame, write_page

TEMPLATE = Path(__file__).with_suffix(".html")
EVERY = 2  # pixels between points that are kept, in both directions
OVERLAP = 1.3  # of neighbouring points at the middle of the scene
SOURCES = ("generated", "happened")
MOST_M = 32.0  # what 16 bits of millimetres hold


def write_film_view(
    name: str,
    title: str,
    films: Mapping[str, tuple[np.ndarray, np.ndarray, np.ndarray]],
    K: np.ndarray,
    paths: Mapping[str, tuple[np.ndarray, str]] | None = None,
) -> Frame:
    """Write viewers/<name>.html, about 1 MB, and return the frame that shows it; `title` is its alt text.

    films: "generated" and "happened" -> rgb (2, T, H, W, 3) uint8, pointmaps (2, T, H, W, 3) in metres in the frame of
    n, valid (2, T, H, W). K (3, 3): of view n. paths: name -> (points (T, 3) in the frame of n, NaN where unknown, and
    a colour), drawn as far as the film has come.
    """
    if set(films) != set(SOURCES):
        raise ValueError(f"films are {sorted(films)}; expected {' and '.join(SOURCES)}")
    rgb, points, valid = films["happened"]
    middle = np.median(points[:, 0][valid[:, 0]], axis=0)
    width = rgb.shape[3]
    clouds = [_thinned(*films[source]) for source in SOURCES]
    data = {
        "frames": rgb.shape[1],
        "step_s": STEP_S,
        "focal": round(float(K[0, 0]) / width, 4),
        "spacing": round(OVERLAP * EVERY * float(middle[2] / K[0, 0]), 5),  # side in metres of what a point covers
        "middle": np.round(middle, 4).tolist(),
        "view_colours": [[round(255 * part) for part in to_rgb(VIEW_COLOURS[view])] for view in "nm"],
        "aspect": width / rgb.shape[2],
        "counts": [[[len(points) for points, _ in views] for views in cloud] for cloud in clouds],
        "packed": _packed(clouds),
        "paths": [
            {"name": label, "colour": colour, "points": [_or_none(point) for point in np.round(track, 4)]}
            for label, (track, colour) in (paths or {}).items()
        ],
    }
    page = TEMPLATE.read_text(encoding="utf-8").replace("{{title}}", html.escape(title))
    return write_page(page.replace("{{data}}", json.dumps(data, separators=(",", ":"))), name, title)


def _thinned(rgb: np.ndarray, points: np.ndarray, valid: np.ndarray) -> list[list[tuple[np.ndarray, np.ndarray]]]:
    """[frame][view] -> the kept points in millimetres (N, 3) int16 and their colours (N, 3) uint8."""
    valid = valid & (np.abs(points) < MOST_M).all(axis=-1)
    rgb, points, valid = (array[:, :, EVERY // 2 :: EVERY, EVERY // 2 :: EVERY] for array in (rgb, points, valid))
    return [
        [
            (np.round(1000 * points[view, t][valid[view, t]]).astype("<i2"), rgb[view, t][valid[view, t]])
            for view in (0, 1)
        ]
        for t in range(rgb.shape[1])
    ]


def _packed(clouds) -> str:
    """All clouds, one after the other, coordinate by coordinate, which compresses better; gzip in base64."""
    parts = []
    for points, colours in (cloud for source in clouds for views in source for cloud in views):
        parts += [np.ascontiguousarray(points.T).tobytes(), np.ascontiguousarray(colours.T).tobytes()]
        parts.append(bytes(len(points) % 2))  # the next one starts at an even byte
    return b64encode(gzip.compress(b"".join(parts), mtime=0)).decode()


def _or_none(point: np.ndarray) -> list[float] | None:
    return point.tolist() if np.isfinite(point).all() else None
