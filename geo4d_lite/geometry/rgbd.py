"""One observation of one camera."""

from dataclasses import dataclass

import numpy as np

FARTHEST_PLAUSIBLE_M = 20.0  # a table-top scene ends long before; millimetres start at some hundreds


@dataclass(frozen=True, eq=False)
class RGBD:
    """A colour image, the depth of the same pixels and the camera that took them, checked where they enter.

    rgb (H, W, 3) uint8; depth_m (H, W) floating metres along the optical axis, 0 (or NaN) where nothing was measured;
    K (3, 3) pixels. Raises ValueError naming what does not fit: sizes, types, and depth that is not in metres.
    """

    rgb: np.ndarray
    depth_m: np.ndarray
    K: np.ndarray

    def __post_init__(self) -> None:
        if self.rgb.ndim != 3 or self.rgb.shape[-1] != 3 or self.rgb.dtype != np.uint8:
            raise ValueError(f"rgb has shape {self.rgb.shape} and dtype {self.rgb.dtype}; expected (H, W, 3) uint8")
        if self.depth_m.shape != self.rgb.shape[:2]:
            raise ValueError(f"depth has shape {self.depth_m.shape}; expected {self.rgb.shape[:2]}, the size of rgb")
        if np.shape(self.K) != (3, 3) or not (self.K[0, 0] > 0 and self.K[1, 1] > 0 and self.K[2, 2] == 1):
            raise ValueError(f"K is {np.asarray(self.K).tolist()}; expected [[fx, 0, cx], [0, fy, cy], [0, 0, 1]]")
        _check_metres(self.depth_m)


def _check_metres(depth_m: np.ndarray) -> None:
    if not np.issubdtype(depth_m.dtype, np.floating):
        raise ValueError(
            f"depth has dtype {depth_m.dtype}; expected floating metres. Integer depth images count small units, "
            "mostly millimetres: pass depth * 0.001"
        )
    measured = depth_m[np.isfinite(depth_m) & (depth_m > 0)]
    if measured.size and np.median(measured) > FARTHEST_PLAUSIBLE_M:
        raise ValueError(
            f"depth has a median of {np.median(measured):.0f}; expected metres, at most {FARTHEST_PLAUSIBLE_M:.0f}. "
            "It looks like millimetres: pass depth * 0.001"
        )
