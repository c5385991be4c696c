"""What a stereo depth camera makes of true depth: steps and noise that grow with distance, holes, speckle.

A stereo camera measures disparity d = f b / z (f focal length in pixels, b baseline), so all is done in disparities:

1. Noise of standard deviation `subpixel_rms` pixels, alike over about the matching window, is added to d, and d is
   rounded to steps of `disparity_step`. In depth both grow as z^2 / (f b): sigma_z = z^2 subpixel_rms / (f b).
2. Holes where nothing can be matched: what the right imager cannot see past a nearer object (a shadow on its left side,
   f b (1/z_near - 1/z_far) pixels wide), windows that straddle a depth edge, surfaces seen at grazing angles, points
   nearer than f b / `search_px`, and a few blobs of speckle.

**Resolution.** f and all lengths of the sensor are in *its* pixels; the image may be any crop or reduction of what it
sees. A pixel of the image is taken to hold one of the sensor's pixels (decimated, not averaged), so noise and steps do
not depend on the image's size, and lengths are scaled by f_image / f. At the lite preset one pixel spans six of the
D415's: noise is then almost independent from pixel to pixel, and a shadow is 2 to 3 pixels wide behind a gripper.

**Sources.** The error law, RMS = z^2 subpixel / (f b): A. Grunnet-Jepsen, J. Sweetser, J. Woodfill, "Tuning depth
cameras for best performance", Intel. f from 65 degrees over 1280 pixels (D415) and 90 degrees over 848 (D435), steps of
1/32 pixel: "Subpixel linearity improvement", Intel; baselines of 55 and 50 mm: Intel's D400 data sheet.
`subpixel_rms`: 0.08 is Grunnet-Jepsen's advice, 0.03 his best case (librealsense issue 3904). `search_px`: gives the
17 cm that he states as the D435's least distance (issue 999). Rounded disparities with noise beneath: A. Handa et al.,
"A benchmark for RGB-D visual odometry, 3D reconstruction and SLAM", ICRA 2014. That depth gets worse as surfaces turn
away: C. V. Nguyen, S. Izadi, D. Lovell, "Modeling Kinect sensor noise for improved 3D reconstruction and tracking",
3DIMPVT 2012.
**Ours, fitted to nothing:** `window_px`, `edge_px`, `grazing_deg`, `speckle_share`. Left out: jitter along the image (a
fraction of a lite pixel), the bias of a miscalibrated pair, shiny and clear surfaces, noise that stays between frames.
"""

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter
from scipy.special import ndtri


@dataclass(frozen=True)
class StereoDepthCamera:
    """A stereo depth camera; the defaults are an Intel RealSense D415, the paper's cameras (FRAMOS D415e) inside."""

    focal_px: float = 1004.6
    """Focal length in the sensor's own pixels."""
    baseline_m: float = 0.055
    subpixel_rms: float = 0.08
    """Standard deviation of the disparity on a well textured surface, in the sensor's pixels."""
    disparity_step: float = 1 / 32
    window_px: float = 7.0
    """Width of the matching window: how far noise is alike and how near an edge matching fails."""
    edge_px: float = 1.0
    """A bend in the disparity, of more pixels than this between neighbours, breaks a window. Planes have no bend."""
    grazing_deg: tuple[float, float] = (70.0, 85.0)
    """Angles between line of sight and normal: holes begin at the first, at the second nothing is left."""
    speckle_share: float = 0.005
    """Share of the pixels lost in blobs as large as a window."""
    search_px: float = 126.0
    """The largest disparity that is looked for; what is nearer than f b / search_px is lost (D415: 0.44 m)."""

    def depth_noise_m(self, z_m: np.ndarray | float) -> np.ndarray | float:
        """Standard deviation in metres of the depth of a surface at `z_m` metres (to first order)."""
        return np.square(z_m) * self.subpixel_rms / (self.focal_px * self.baseline_m)


D415 = StereoDepthCamera()
D435 = StereoDepthCamera(focal_px=424.0, baseline_m=0.050)


def add_depth_noise(
    depth_m: np.ndarray, K: np.ndarray, rng: np.random.Generator, sensor: StereoDepthCamera = D415
) -> np.ndarray:
    """True depth as `sensor` would measure it: (..., H, W) metres, 0 for no measurement, in the type of `depth_m`.

    depth_m (..., H, W), floating metres along the optical axis, 0 or not finite where there is nothing; K (3, 3), or
    (..., 3, 3) to go with it, e.g. depth_m (T, C, H, W) with K (C, 3, 3). Every image draws its own noise.
    Large stacks need some twenty times their own memory: give them in pieces.
    Raises ValueError for integer depth, which is never metres, and for a K of another shape.
    """
    if not np.issubdtype(depth_m.dtype, np.floating) or depth_m.ndim < 2:
        raise ValueError(f"depth is {depth_m.dtype} {depth_m.shape}; expected floating metres (..., H, W)")
    if np.shape(K)[-2:] != (3, 3):
        raise ValueError(f"K has shape {np.shape(K)}; expected (..., 3, 3)")
    K = np.broadcast_to(np.asarray(K, np.float64), (*depth_m.shape[:-2], 3, 3))[..., None, None, :, :]
    valid = np.isfinite(depth_m) & (depth_m > 0)
    inverse = np.where(valid, 1.0 / np.where(valid, depth_m, 1.0), 0.0)  # 1 / z, linear in the pixels on a plane
    scale = K[..., 0, 0] / sensor.focal_px  # pixels of the image for one of the sensor, (..., 1, 1)
    disparity = sensor.focal_px * sensor.baseline_m * inverse
    noise = _correlated(disparity.shape, sensor.window_px * float(np.median(scale)), rng)
    measured = disparity + sensor.subpixel_rms * noise
    measured = np.round(measured / sensor.disparity_step) * sensor.disparity_step
    holes = (
        ~valid
        | (measured <= 0)
        | (disparity > sensor.search_px)
        | shadowed(disparity * scale)
        | _broken_windows(disparity, scale, rng, sensor)
        | _grazing(inverse, K, rng, sensor)
        | (_correlated(disparity.shape, sensor.window_px * float(np.median(scale)), rng) < ndtri(sensor.speckle_share))
    )
    depth = sensor.focal_px * sensor.baseline_m / np.where(holes, 1.0, measured)
    return np.where(holes, 0.0, depth).astype(depth_m.dtype)


def _correlated(shape: tuple[int, ...], width_px: float, rng: np.random.Generator) -> np.ndarray:
    """Standard normal values (..., H, W), alike over about `width_px` pixels of an image."""
    white = rng.standard_normal(shape)
    sigma = width_px / np.sqrt(12)  # a window of this width has the same spread
    if sigma < 0.3:
        return white
    size = 2 * int(4 * sigma + 0.5) + 1
    impulse = np.zeros(size)
    impulse[size // 2] = 1.0
    kept = np.sum(np.square(gaussian_filter(impulse, sigma)))  # variance left along one axis
    return gaussian_filter(white, sigma, axes=(-2, -1), mode="wrap") / kept


def shadowed(disparity_px: np.ndarray) -> np.ndarray:
    """What the left imager sees and the right one does not: bool (..., H, W); disparities in pixels of this image.

    Column u appears in the right image at u - d. A point is hidden if a pixel further right, being nearer, lands there
    or beyond it.
    """
    right_image = np.arange(disparity_px.shape[-1]) - disparity_px
    leftmost = np.minimum.accumulate(right_image[..., ::-1], axis=-1)[..., ::-1]  # of this column and all to its right
    hidden = np.zeros(disparity_px.shape, bool)
    hidden[..., :-1] = leftmost[..., 1:] <= right_image[..., :-1]
    return hidden


def _broken_windows(
    disparity: np.ndarray, scale: np.ndarray, rng: np.random.Generator, sensor: StereoDepthCamera
) -> np.ndarray:
    """Where a window reaches over a depth edge. A pixel k pixels from an edge lies somewhere between k and k + 1, so it
    is lost with the probability that half a window reaches that far."""
    edge = np.zeros(disparity.shape, bool)
    for axis in (-2, -1):
        centre = np.moveaxis(disparity, axis, -1)
        bend = np.abs(centre[..., 2:] - 2 * centre[..., 1:-1] + centre[..., :-2])
        np.moveaxis(edge, axis, -1)[..., 1:-1] |= bend > sensor.edge_px
    half_window = sensor.window_px / 2 * scale
    lost, draw = np.zeros(edge.shape, bool), rng.random(edge.shape)
    for distance in range(int(np.ceil(half_window.max()))):
        lost |= edge & (draw < half_window - distance)
        edge = _grown(edge)
    return lost


def _grown(mask: np.ndarray) -> np.ndarray:
    """The mask (..., H, W) and its four neighbours."""
    grown = mask.copy()
    grown[..., 1:, :] |= mask[..., :-1, :]
    grown[..., :-1, :] |= mask[..., 1:, :]
    grown[..., :, 1:] |= mask[..., :, :-1]
    grown[..., :, :-1] |= mask[..., :, 1:]
    return grown


def _grazing(inverse: np.ndarray, K: np.ndarray, rng: np.random.Generator, sensor: StereoDepthCamera) -> np.ndarray:
    """Holes on surfaces that turn away, more of them the more they do."""
    begin, certain = sensor.grazing_deg
    angle = incidence_deg(inverse, K)
    return rng.random(angle.shape) < (angle - begin) / (certain - begin)


def incidence_deg(inverse: np.ndarray, K: np.ndarray) -> np.ndarray:
    """Angle in degrees between line of sight and surface normal, from inverse depth (..., H, W); K (..., 1, 1, 3, 3).

    On a plane n . p = h the inverse depth of the ray r = K^-1 (u, v, 1) is n . r / h, so its slopes give the normal.
    Of the two slopes on either side of a pixel the flatter one counts: an edge is no grazing surface.
    """
    v, u = np.indices(inverse.shape[-2:])
    x, y = (u - K[..., 0, 2]) / K[..., 0, 0], (v - K[..., 1, 2]) / K[..., 1, 1]
    n_x, n_y = K[..., 0, 0] * _flatter_slope(inverse, -1), K[..., 1, 1] * _flatter_slope(inverse, -2)
    n_z = inverse - x * n_x - y * n_y
    length = np.sqrt(n_x**2 + n_y**2 + n_z**2) * np.sqrt(x**2 + y**2 + 1)
    return np.rad2deg(np.arccos(np.clip(inverse / np.where(length > 0, length, 1.0), -1.0, 1.0)))


def _flatter_slope(values: np.ndarray, axis: int) -> np.ndarray:
    """Of the differences to both neighbours along an axis the smaller one; at the border the only one."""
    step = np.moveaxis(np.diff(values, axis=axis), axis, -1)
    before, after = np.concatenate([step[..., :1], step], -1), np.concatenate([step, step[..., -1:]], -1)
    return np.moveaxis(np.where(np.abs(before) < np.abs(after), before, after), -1, axis)
