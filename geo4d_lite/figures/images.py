"""Still pictures: video strips and depth images."""

from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize

from geo4d_lite.figures.look import DEPTH_CMAP, DEPTH_RANGE_M, NOTHING, VIEW_COLOURS, WIDTH_IN, show
from geo4d_lite.geometry import valid_depth


@dataclass(frozen=True, eq=False)
class Row:
    """One row of a strip: images (T, H, W, 3) uint8, or depths (T, H, W) in metres, or masks (T, H, W) bool.

    `view` "n" or "m" writes the label in that view's colour.
    """

    label: str
    images: np.ndarray
    view: str | None = None

    @property
    def is_depth(self) -> bool:
        return self.images.ndim == 3 and self.images.dtype != bool


def show_strip(
    rows: Sequence[Row],
    titles: Sequence[str],
    alt: str,
    depth_range_m: tuple[float, float] = DEPTH_RANGE_M,
    bar: str = "depth in m",
) -> None:
    """Show videos side by side: rows of frames, `titles` above the columns, metres beside them if any row is depth.

    bar: what the colour bar says; not "depth" where a row shows z in the frame of another camera.
    """
    height, width = rows[0].images.shape[1:3]
    has_depth = any(row.is_depth for row in rows)
    beside_in = 0.9 if has_depth else 0.3  # for labels and the bar
    cell_in = min(2.8, (WIDTH_IN - beside_in) / len(titles))
    figure, axes = plt.subplots(
        len(rows),
        len(titles),
        figsize=(cell_in * len(titles) + beside_in, cell_in * height / width * len(rows) + 0.3),
        squeeze=False,
        layout="constrained",
    )
    figure.get_layout_engine().set(w_pad=0.01, h_pad=0.01, wspace=0.01, hspace=0.01)
    for row, line in zip(rows, axes, strict=True):
        for image, cell in zip(row.images, line, strict=True):
            draw_image(cell, image, depth_range_m)
        colour = VIEW_COLOURS[row.view] if row.view else "black"
        line[0].set_ylabel(row.label, color=colour, fontweight="bold" if row.view else None)
    for title, cell in zip(titles, axes[0], strict=True):
        cell.set_title(title)
    if has_depth:
        mappable = ScalarMappable(Normalize(*depth_range_m), DEPTH_CMAP)
        figure.colorbar(mappable, ax=axes, label=bar, aspect=30, pad=0.01)
    show(figure, alt)


def show_depth(
    depths_m: dict[str, np.ndarray],
    alt: str,
    depth_range_m: tuple[float, float] = DEPTH_RANGE_M,
    bar: str = "depth in m",
) -> None:
    """Show depth images (H, W) in metres side by side under their names, with one bar; invalid pixels are grey."""
    rows = [Row("", np.stack(list(depths_m.values())))]
    show_strip(rows, list(depths_m), alt, depth_range_m, bar)


def draw_image(axes: Axes, image: np.ndarray, depth_range_m: tuple[float, float] = DEPTH_RANGE_M) -> None:
    """Draw one image (H, W, 3), depth (H, W) in metres or mask (H, W) without ticks; invalid depth is grey."""
    if image.ndim == 3:
        axes.imshow(image)
    elif image.dtype == bool:
        axes.imshow(image, cmap="gray_r", vmin=0, vmax=1.3)
    else:
        colours = plt.get_cmap(DEPTH_CMAP).with_extremes(bad=NOTHING)
        axes.imshow(np.where(valid_depth(image), image, np.nan), cmap=colours, norm=Normalize(*depth_range_m))
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set(visible=True, color=NOTHING, linewidth=0.6)
