"""True films spoilt on purpose: what a metric makes of each says what the metric measures."""

from types import SimpleNamespace

import numpy as np
from scipy.ndimage import gaussian_filter

ORDERS = ("frozen", "shuffled", "reversed")


def noisy(rgb: np.ndarray, strength: float, rng: np.random.Generator) -> np.ndarray:
    """Videos (..., H, W, 3) uint8 with Gaussian noise on every colour; `strength`: its deviation as a share of 255."""
    spoilt = rgb + 255 * strength * rng.standard_normal(rgb.shape, dtype=np.float32)
    return spoilt.round().clip(0, 255).astype(np.uint8)


def blurred(rgb: np.ndarray, sigma_px: float) -> np.ndarray:
    """Videos (..., H, W, 3) uint8, each colour of each frame blurred by a Gaussian of `sigma_px` pixels."""
    sigma = (0,) * (rgb.ndim - 3) + (sigma_px, sigma_px, 0)
    return gaussian_filter(rgb.astype(np.float32), sigma, mode="nearest").round().astype(np.uint8)


def frame_numbers(order: str, frames: int, rng: np.random.Generator) -> np.ndarray:
    """Which frame is shown at each time, (frames,): the first one ("frozen"), all "shuffled", or all "reversed".

    Raises ValueError for another order.
    """
    if order not in ORDERS:
        raise ValueError(f"order is {order!r}; expected one of {', '.join(ORDERS)}")
    if order == "frozen":
        return np.zeros(frames, dtype=int)
    return rng.permutation(frames) if order == "shuffled" else np.arange(frames)[::-1]


def without(film, mask: np.ndarray, item: dict[str, np.ndarray]) -> SimpleNamespace:
    """A film in which what `mask` (2, T, H, W) marks is painted over with what was there in the observed frame.

    film: a `Video4D`; item: its window, see `WindowDataset`. Masks of a gripper, the film of a robot without a hand.
    """
    spoilt = {}
    for name in ("rgb", "pointmap", "valid"):
        shown = getattr(film, name)
        here = mask[..., None] if shown.ndim == 5 else mask
        spoilt[name] = np.where(here, item[name][:, :1], shown)
    return SimpleNamespace(**spoilt)
