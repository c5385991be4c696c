"""One look for the whole book: colours, sizes, and the one way a figure reaches the page."""

from io import BytesIO

import matplotlib.pyplot as plt
import numpy as np
import PIL.Image
from IPython.display import Image, display
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from geo4d_lite.geometry import Label, project

VIEW_COLOURS = {"n": "#1B6F8A", "m": "#C8553D"}  # reference view n petrol, second view m terracotta
SPLIT_COLOURS = {"train": "#5A5A5A", "test": "#B8860B"}
AXIS_COLOURS = {"x": "#D62728", "y": "#2CA02C", "z": "#1F50D6"}  # x red, y green, z blue
DEPTH_CMAP = "viridis"
DEPTH_RANGE_M = (0.4, 1.8)  # the same metres get the same colour all through the book
INK = "#3B4252"  # what belongs to no view
NOTHING = "#D9D9D9"  # invalid pixels
LABEL_COLOURS = {
    Label.BACKGROUND: "#F2F2F2",
    Label.TABLE: "#D9C7A3",
    Label.ARM_LEFT: "#A9B4C2",
    Label.ARM_RIGHT: "#C2ACA9",
    Label.HAND_LEFT: "#2B4C7E",
    Label.HAND_RIGHT: "#7E2B37",
    Label.LEFT_ARM_FINGER_LEFT: "#F28C0D",
    Label.LEFT_ARM_FINGER_RIGHT: "#0DBFD9",
    Label.RIGHT_ARM_FINGER_LEFT: "#D91AA6",
    Label.RIGHT_ARM_FINGER_RIGHT: "#73D91A",
    Label.OBJECT: "#303030",
    Label.FIXTURE: "#5B8A80",
}
STYLE = {
    "figure.dpi": 110,
    "savefig.dpi": 110,
    "savefig.bbox": "tight",
    "savefig.pad_inches": 0.06,
    "font.size": 10,
    "axes.titlesize": 10,
    "axes.labelsize": 10,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "legend.fontsize": 9,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#E6E6E6",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "image.interpolation": "nearest",
}
WIDTH_IN = 8.0  # every figure is as wide as the page


def style() -> None:
    """Take the book's look for every figure that follows."""
    plt.rcParams.update(STYLE)


def show(figure: Figure, alt: str) -> None:
    """Display a figure once, as PNG with its alt text in the output's metadata, and close it."""
    if not alt.strip():
        raise ValueError("alt is empty; say in a sentence what the figure shows, for readers who cannot see it")
    png = BytesIO()
    figure.savefig(png, format="png", metadata={"Software": None})
    plt.close(figure)
    display(Image(data=in_fewer_colours(png.getvalue()), format="png", alt=alt))


def in_fewer_colours(png: bytes, above_bytes: int = 150_000) -> bytes:
    """A large PNG, a strip of many images, with 256 colours: a third of the bytes, and hardly to be told apart.

    A quarter of the colours are those of depth, whose slow change would else become terraces.
    """
    if len(png) <= above_bytes:
        return png
    of_depth = (255 * plt.get_cmap(DEPTH_CMAP)(np.linspace(0, 1, 64))[:, :3]).round().astype(np.uint8)
    small, palette = BytesIO(), PIL.Image.new("P", (1, 1))
    with PIL.Image.open(BytesIO(png)) as picture:
        colours = picture.convert("RGB")
        octree = colours.quantize(192, PIL.Image.Quantize.FASTOCTREE)  # it keeps rare colours, such as the fingers'
        palette.putpalette([*octree.getpalette()[: 3 * 192], *of_depth.ravel().tolist()])
        colours.quantize(palette=palette, dither=PIL.Image.Dither.NONE).save(small, format="png")
    return small.getvalue()


def label_image(label: np.ndarray) -> np.ndarray:
    """Label image (..., H, W) uint8 to colours (..., H, W, 3) uint8; the fingers keep the hues they have in RGB."""
    palette = np.zeros((256, 3), dtype=np.uint8)
    for value, colour in LABEL_COLOURS.items():
        palette[value] = [int(colour[start : start + 2], 16) for start in (1, 3, 5)]
    return palette[label]


def draw_frame(axes: Axes, X_CF: np.ndarray, K: np.ndarray, length_m: float = 0.06) -> None:
    """Draw the axes of frame F, X_CF (4, 4) in camera C, over the camera's image: x red, y green, z blue."""
    tips_C = X_CF[:3, 3] + np.vstack([np.zeros(3), length_m * X_CF[:3, :3].T])
    pixels, _ = project(tips_C, K)
    for tip, colour in zip(pixels[1:], AXIS_COLOURS.values(), strict=True):
        axes.plot(*np.stack([pixels[0], tip], axis=1), color=colour, linewidth=2)


def fingerprint(name: str, array: np.ndarray, valid: np.ndarray | None = None) -> None:
    """Print what a figure was drawn from: shape, type, share of valid entries and quantiles over them.

    `valid` (...) is a mask over the leading axes of `array`; without it every finite number counts. All but the shape
    is printed as floats, which a re-run compares within a tolerance: a renderer may decide a pixel differently.
    """
    array = np.asarray(array)
    mask = np.isfinite(array) if valid is None else valid
    line = f"{name}: {array.shape} {array.dtype} · {'finite' if valid is None else 'valid'} {mask.mean():.4f}"
    if mask.any():
        quantiles = np.quantile(array[mask].astype(np.float64), [0, 0.25, 0.5, 0.75, 1])
        line += " · min, quartiles, max " + " ".join(f"{value:#.4g}" for value in quantiles)
    print(line)
