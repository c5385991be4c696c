"""Moving pictures: a 4D video beside what really happened, its points seen from a camera that sways."""

from pathlib import Path

import imageio.v3 as imageio
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from geo4d_lite.figures.images import draw_image
from geo4d_lite.figures.look import VIEW_COLOURS
from geo4d_lite.geometry import project, transform

PAPER = 245  # grey level where no point is seen
SWAY = np.deg2rad(22.0)
ENLARGED = 2  # the points' picture, so that pixels of points do not show as pixels
STEP_S, HELD_FRAMES = 0.5, 3  # the last frame is shown longer
SIZE_IN, DPI = (8.0, 3.36), 100  # in pixels a multiple of 16, as codecs want it


def seen_from(
    p_C: np.ndarray, colours: np.ndarray, K: np.ndarray, shape: tuple[int, int], splat: int = 4
) -> np.ndarray:
    """Points p_C (N, 3) in a camera's frame, each drawn as a square of `splat` pixels: image (H, W, 3) uint8.

    The nearest point wins. colours (N, 3) uint8; K (3, 3) is that of an image of `shape` (H, W).
    """
    in_front = np.isfinite(p_C).all(axis=1) & (p_C[:, 2] > 0)
    p_C, colours = p_C[in_front], colours[in_front]
    far_to_near = np.argsort(-p_C[:, 2], kind="stable")
    pixels, _ = project(p_C[far_to_near], K)
    image = np.full((*shape, 3), PAPER, np.uint8)
    corner = np.round(pixels - (splat - 1) / 2).astype(int)
    offsets = np.stack(np.meshgrid(np.arange(splat), np.arange(splat)), axis=-1).reshape(-1, 2)
    u, v = np.moveaxis(corner[:, None] + offsets, -1, 0)  # (N, splat²): a later point, which is nearer, overwrites
    inside = (u >= 0) & (u < shape[1]) & (v >= 0) & (v < shape[0])
    image[v[inside], u[inside]] = np.repeat(colours[far_to_near], inside.sum(axis=1), axis=0)
    return image


def swayed(points: np.ndarray, middle: np.ndarray, angle: float) -> np.ndarray:
    """Points (N, 3) in the frame of n -> in that of a camera turned by `angle` about `middle` (3,), upright as n is."""
    c, s = np.cos(angle), np.sin(angle)
    X = np.eye(4)
    X[:3, :3] = [[c, 0.0, s], [0.0, 1.0, 0.0], [-s, 0.0, c]]
    X[:3, 3] = middle - X[:3, :3] @ middle
    return transform(X, points)


def write_film(path: Path, true: np.ndarray, video, points: np.ndarray, valid: np.ndarray, K: np.ndarray) -> None:
    """Write a video: what happened, what was generated, and the generated points of both views together.

    true (2, 11, H, W, 3) uint8, frame 0 the observation, which opens every column; `video` a `Video4D`; points
    (2, H, W, 3) and valid (2, H, W): the observed pointmaps in the frame of n; K (3, 3) of view n.
    """
    frames = video.rgb.shape[1] + 1
    rgb = np.concatenate([true[:, :1], video.rgb], axis=1)
    clouds = np.concatenate([np.where(valid[..., None], points, np.nan)[:, None], _points(video)], axis=1)
    K = np.diag([ENLARGED, ENLARGED, 1.0]) @ K
    shape = tuple(ENLARGED * side for side in true.shape[2:4])
    middle, pages = np.median(points[valid], axis=0), []
    for t in range(frames):
        cloud, colours = clouds[:, t].reshape(-1, 3), rgb[:, t].reshape(-1, 3)
        around = seen_from(swayed(cloud, middle, SWAY * np.sin(2 * np.pi * t / frames)), colours, K, shape)
        pages.append(_page(true[:, t], rgb[:, t], around, t))
    imageio.imwrite(path, np.stack(pages + [pages[-1]] * HELD_FRAMES), fps=1 / STEP_S)


def _points(video) -> np.ndarray:
    return np.where(video.valid[..., None], video.pointmap, np.nan)


def _page(true: np.ndarray, generated: np.ndarray, around: np.ndarray, t: int) -> np.ndarray:
    figure = Figure(figsize=SIZE_IN, dpi=DPI, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    grid = figure.add_gridspec(2, 4)
    columns = {"happened": true, "observed" if t == 0 else "generated": generated}
    for column, (title, images) in enumerate(columns.items()):
        for row, view in enumerate("nm"):
            axes = figure.add_subplot(grid[row, column])
            draw_image(axes, images[row])
            if row == 0:
                axes.set_title(title)
            if column == 0:
                axes.set_ylabel(f"view {view}", color=VIEW_COLOURS[view], fontweight="bold")
    axes = figure.add_subplot(grid[:, 2:])
    draw_image(axes, around)
    axes.set_title("points of both views, in the frame of n")
    axes.set_xlabel(f"{STEP_S * t:.1f} s after the look")
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()
