"""Pictures of the model's chapters: error maps, attention maps, and the two-branch network as a drawing."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.patches import FancyBboxPatch

from geo4d_lite.figures.look import NOTHING, VIEW_COLOURS, WIDTH_IN, show

ERROR_CMAP = "magma"
HEAT_CMAP = "inferno"


def show_errors(errors_mm: dict[str, np.ndarray], alt: str, limit_mm: float = 20.0) -> None:
    """Error images (H, W) in millimetres side by side under their names, with one bar; NaN is grey.

    An image of (H, W, 3) uint8 among them is shown as it is, for comparison.
    """
    height, width = next(iter(errors_mm.values())).shape[:2]
    size = (WIDTH_IN, WIDTH_IN / len(errors_mm) * height / width + 0.15)
    figure, axes = plt.subplots(1, len(errors_mm), figsize=size, squeeze=False, layout="constrained")
    colours = plt.get_cmap(ERROR_CMAP).with_extremes(bad=NOTHING)
    for cell, (title, image) in zip(axes[0], errors_mm.items(), strict=True):
        cell.imshow(image, cmap=colours, norm=None if image.ndim == 3 else Normalize(0, limit_mm))
        _bare(cell, title)
    bar = ScalarMappable(Normalize(0, limit_mm), ERROR_CMAP)
    figure.colorbar(bar, ax=axes, label="error in mm", aspect=20, pad=0.01, shrink=0.85, extend="max")
    show(figure, alt)


def draw_attention(axes: Axes, image: np.ndarray, weights: np.ndarray, title: str) -> None:
    """Lay attention weights (h, w) over a faded image (H, W, 3) uint8; each map is scaled to its own largest weight."""
    height, width = image.shape[:2]
    grey = image.mean(axis=-1) / 255
    scale = np.kron(weights / weights.max(), np.ones((height // weights.shape[0], width // weights.shape[1])))
    heat = plt.get_cmap(HEAT_CMAP)(scale)[..., :3]
    share = 0.25 + 0.6 * scale[..., None]
    axes.imshow((1 - share) * (0.35 + 0.65 * grey[..., None]) + share * heat)
    _bare(axes, title)


def mark(axes: Axes, pixel: Sequence[float], colour: str) -> None:
    """A ring around the pixel (u, v)."""
    axes.plot(*pixel, "o", markersize=11, markerfacecolor="none", markeredgecolor="white", markeredgewidth=3.4)
    axes.plot(*pixel, "o", markersize=11, markerfacecolor="none", markeredgecolor=colour, markeredgewidth=1.8)


def show_dual_branch(layers: int, alt: str) -> None:
    """The network of the paper as a drawing: one encoder, two decoders of `layers` layers, attention from m to n."""
    figure, axes = plt.subplots(figsize=(WIDTH_IN, 3.1), layout="constrained")
    axes.set(xlim=(0, 10), ylim=(0, 4), aspect="equal")
    axes.axis("off")
    n, m, grey = VIEW_COLOURS["n"], VIEW_COLOURS["m"], "#5A5A5A"
    for y, colour, view in ((2.9, n, "n"), (1.1, m, "m")):
        _box(axes, 0.05, y - 0.42, 1.9, 0.84, colour, f"view {view}: noisy latents\n+ condition latents")
        _arrow(axes, (2.0, y), (2.62, 2.0 + 0.45 * np.sign(y - 2)), colour)
        _arrow(axes, (4.23, 2.0 + 0.45 * np.sign(y - 2)), (4.85, y), colour)
        for layer in range(layers):
            left = 4.9 + layer * 2.9 / layers
            _box(axes, left, y - 0.42, 2.9 / layers - 0.1, 0.84, colour, "")
            if view == "m":
                middle = left + 1.45 / layers - 0.05
                _arrow(axes, (middle, 2.46), (middle, 1.55), grey)
        axes.text(6.3, y + (0.62 if view == "n" else -0.62), f"decoder {view}", color=colour, ha="center", va="center")
        _arrow(axes, (7.75, y), (8.05, y), colour)
        _box(axes, 8.08, y - 0.42, 1.85, 0.84, colour, f"view {view}: ten frames,\nRGB and pointmap")
    _box(axes, 2.65, 1.3, 1.55, 1.4, grey, "shared\nencoder")
    axes.text(6.3, 2.0, "after every layer m looks at n", color=grey, ha="center", va="center", backgroundcolor="white")
    show(figure, alt)


def _box(axes: Axes, x: float, y: float, width: float, height: float, colour: str, text: str) -> None:
    style = "round,pad=0,rounding_size=0.08"
    axes.add_patch(
        FancyBboxPatch((x, y), width, height, boxstyle=style, facecolor="white", edgecolor=colour, linewidth=1.6)
    )
    axes.text(x + width / 2, y + height / 2, text, ha="center", va="center", fontsize=8.5, color="black")


def _arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float], colour: str) -> None:
    axes.annotate("", end, start, arrowprops={"arrowstyle": "-|>", "color": colour, "linewidth": 1.3, "shrinkA": 0})


def _bare(axes: Axes, title: str) -> None:
    axes.set(xticks=[], yticks=[], title=title)
    axes.spines[:].set_visible(False)
    axes.grid(False)
