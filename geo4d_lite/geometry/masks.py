"""Carry a mask from one view into another through 3D, the paper's measure of agreement between views."""

import operator
from functools import reduce

import numpy as np

from geo4d_lite.geometry.arrays import Array, namespace
from geo4d_lite.geometry.pointmaps import project, transform


def reproject_mask(mask_n: Array, p_n: Array, X_mn: Array, K_m: Array, shape: tuple[int, int], splat: int = 1) -> Array:
    """Lift the mask of view n by its pointmap, splat the points into view m: bool (H_m, W_m).

    mask_n (H, W) bool; p_n (H, W, 3) metres in the frame of camera n; X_mn (4, 4) takes n to m; K_m (3, 3);
    `shape` = (H_m, W_m). Pixels without a point (z <= 0 or not finite in n) are left out, whatever the mask says.

    Every point marks the nearest pixel. Where view m is closer than n the points spread apart; a `splat` of 3 closes
    gaps of up to two pixels between them without thickening the rim: every point marks 3 x 3 pixels, then the rim so
    gained is taken off again (a morphological closing). With splat 1 nothing is closed, and X_mn = I gives the mask
    back exactly.

    There is no depth test: what m sees hidden behind something else is marked all the same, as only the points of view
    n are known. Raises ValueError for unequal sizes and an even splat.
    """
    xp = namespace(p_n)
    if tuple(mask_n.shape) != tuple(p_n.shape[:2]) or tuple(p_n.shape[2:]) != (3,):
        raise ValueError(
            f"mask_n has shape {tuple(mask_n.shape)} and p_n {tuple(p_n.shape)}; expected (H, W) and (H, W, 3)"
        )
    if splat < 1 or splat % 2 == 0:
        raise ValueError(f"splat is {splat}; expected an odd number of pixels, 1 or more")
    margin = splat - 1  # points that just miss the image still close gaps at its border
    height, width = shape[0] + 2 * margin, shape[1] + 2 * margin
    points = p_n[mask_n & xp.isfinite(p_n).all(-1) & (p_n[..., 2] > 0)]
    pixels = xp.round(project(transform(X_mn, points), K_m)[0])  # NaN behind camera m, hence never inside
    u, v = pixels[:, 0] + margin, pixels[:, 1] + margin
    inside = (u >= 0) & (u < width) & (v >= 0) & (v < height)
    marked = xp.zeros_like(mask_n, shape=(height, width)) if xp is np else mask_n.new_zeros((height, width))
    marked[_integer(v[inside]), _integer(u[inside])] = True
    dilated = reduce(operator.or_, _shifted(marked, splat))
    return reduce(operator.and_, _shifted(dilated, splat))


def _shifted(image: Array, splat: int) -> list[Array]:
    """The splat x splat shifts of an image that lie inside it: each is splat - 1 pixels smaller."""
    height, width = image.shape[0] - splat + 1, image.shape[1] - splat + 1
    return [image[dv : dv + height, du : du + width] for dv in range(splat) for du in range(splat)]


def _integer(values: Array) -> Array:
    return values.astype(np.int64) if namespace(values) is np else values.long()
