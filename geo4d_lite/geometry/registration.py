"""Where one camera stands relative to another, from their RGB-D images alone: no extrinsics, no known scene.

With 60 degrees between them, two cameras see different sides of the same things, and little to match. But both see the
table, and that leaves three of six unknowns:

1. *Level.* The dominant plane of each depth image, found by RANSAC, is the table. It gives each view a table frame T
   (origin on the table, z up), and with it the roll, pitch and height of its camera.
2. *Search.* From above, two views of one scene differ by a turn about z and a shift (x, y). Each view is drawn as a
   top-down map of colours in layers of height; for every turn one FFT scores all shifts at once.
3. *Refine.* The best few are refined by point-to-plane ICP (Chen and Medioni 1992) that pairs points near each other in
   space and colour (Johnson and Kang 1999).
4. *Check.* Each view's points are projected into the other's image. Those that match depth and colour vote for the
   pose, those that float before what the other camera sees vote against it. The share of votes is the score.

Frames: n, m are the cameras (OpenCV optical), Tn, Tm their table frames. Metres, radians, colours in [0, 1].
"""

from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np
from scipy import fft, ndimage
from scipy.spatial import cKDTree

from geo4d_lite.geometry.pointmaps import invert, project, transform, unproject
from geo4d_lite.geometry.rgbd import RGBD
from geo4d_lite.geometry.table_plane import MIN_POINTS, table_frame

TRUSTWORTHY_SCORE = 0.65  # rendered views of one scene score above 0.7, 99% of pairs of different scenes below this

PIXELS = 128 * 160  # larger images are thinned to about this many
ABOVE_M = (0.01, 0.8)  # heights that count as standing on the table
REACH_M = 1.0  # horizontal distance from the middle of the view up to which points are used
MIN_PAIRS = 10  # fewer in ICP cannot tell a pose

CELL_M, CELLS = 0.02, 64  # the top-down maps: 1.28 m square; shifts wrap around at that size
HEIGHT_BANDS_M = (0.1, 0.2)  # borders between the layers of a map
TURN_STEP = np.deg2rad(5.0)
CANDIDATES = 4

COLOUR_M = 0.08  # ICP: how many metres the distance between black and red is worth
SEARCH_GATES_M = (0.08, 0.07, 0.06, 0.05, 0.04, 0.035)  # ICP: farthest pair, one iteration each
FINAL_GATES_M = (0.03, 0.03, 0.025, 0.025, 0.02, 0.02, 0.02, 0.02)
SEARCH_POINTS, FINAL_POINTS = 300, 1200
CLOSE_SCORES = 0.1  # coarse poses whose scores are that near to the best are all refined
POINT_SHARE = 0.03  # ICP: weight of point-to-point beside point-to-plane

MATCH_M, MATCH_COLOUR = 0.02, 0.2  # check: depth tolerance, and the standard deviation of a colour match
THINNING = 2  # check: every second pixel of every second row votes

PlanarPose = tuple[float, float, float]  # turn about z, x, y of Tm in Tn


@dataclass(frozen=True, eq=False)
class Registration:
    """X_nm (4, 4) takes points of camera m into the frame of camera n; score in [0, 1], see `TRUSTWORTHY_SCORE`."""

    X_nm: np.ndarray
    score: float


def register_views(view_n: RGBD, view_m: RGBD) -> Registration:
    """The relative pose of two cameras that look at the same table at the same time.

    Needs a table (or another dominant plane) and things standing on it in both views. Views that share nothing give a
    low score and a pose of no meaning; a view without table or things gives score 0 and the identity. Below
    `TRUSTWORTHY_SCORE`, do not use the pose. Deterministic.
    """
    n, m = _survey(view_n), _survey(view_m)
    if n is None or m is None:
        return Registration(np.eye(4), 0.0)
    coarse = [_align(n, m, pose, SEARCH_GATES_M, SEARCH_POINTS) for pose in _search(n, m)]
    scores = [_agreement(n, m, pose) for pose in coarse]
    # With noise a wrong pose can lead by a little as long as both are coarse.
    close = [pose for pose, score in zip(coarse, scores, strict=True) if score >= max(scores) - CLOSE_SCORES]
    pose = max((_align(n, m, pose, FINAL_GATES_M, FINAL_POINTS) for pose in close), key=partial(_agreement, n, m))
    X_nm = invert(n.X_TC) @ _planar(pose) @ m.X_TC
    return Registration(X_nm, _agreement(n, m, pose))


# -- 1. level ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Survey:
    """One view in its table frame. Images (H, W, ...); `surface` are the pixels above the table that have a normal."""

    X_TC: np.ndarray  # (4, 4)
    K: np.ndarray
    depth_m: np.ndarray  # 0 where nothing was measured
    colour: np.ndarray  # (H, W, 3)
    p_T: np.ndarray  # (H, W, 3)
    normal_T: np.ndarray  # (H, W, 3), unit
    above: np.ndarray  # (H, W) bool
    surface: np.ndarray  # (H, W) bool

    @cached_property
    def points(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Positions, colours and normals (count, 3) of the surface."""
        return self.p_T[self.surface], self.colour[self.surface], self.normal_T[self.surface]

    @cached_property
    def tree(self) -> cKDTree:
        """Finds neighbours in space and colour."""
        p_T, colour, _ = self.points
        return cKDTree(np.concatenate([p_T, COLOUR_M * colour], axis=1))


def _survey(view: RGBD) -> _Survey | None:
    """Level a view; None if it shows no table, or too little standing on it."""
    step = max(1, round(np.sqrt(view.depth_m.size / PIXELS)))
    depth_m, colour = view.depth_m[::step, ::step], view.rgb[::step, ::step] / np.float32(255)
    K = np.diag([1 / step, 1 / step, 1.0]) @ view.K  # pixel centres are at integers: every step-th one stays
    p_C, valid = unproject(depth_m.astype(np.float32), K)
    X_TC = table_frame(p_C[valid])
    if X_TC is None:
        return None
    p_T = transform(X_TC, p_C)
    height, radius = p_T[..., 2], np.hypot(p_T[..., 0], p_T[..., 1])
    above = valid & (height > ABOVE_M[0]) & (height < ABOVE_M[1]) & (radius < REACH_M)
    normal_T, smooth = _normals(p_T, p_C[..., 2])
    surface = above & smooth
    if surface.sum() < MIN_POINTS:
        return None
    return _Survey(X_TC, K, p_C[..., 2], colour, p_T, normal_T, above, surface)


def _normals(p_T: np.ndarray, depth_m: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Unit normals (H, W, 3) from neighbouring pixels, and where the surface is smooth enough to have one (H, W)."""
    du, dv = np.zeros_like(p_T), np.zeros_like(p_T)
    du[1:-1, 1:-1] = p_T[1:-1, 2:] - p_T[1:-1, :-2]
    dv[1:-1, 1:-1] = p_T[2:, 1:-1] - p_T[:-2, 1:-1]
    normal = np.cross(dv, du)
    length = np.linalg.norm(normal, axis=-1)
    jump = np.maximum(np.linalg.norm(du, axis=-1), np.linalg.norm(dv, axis=-1))  # an unmeasured neighbour is a jump
    return normal / np.maximum(length, 1e-12)[..., None], (length > 1e-12) & (jump < 0.05 * depth_m)


# -- 2. search ---------------------------------------------------------------------------------------------------------


def _search(n: _Survey, m: _Survey) -> list[PlanarPose]:
    """The best few poses on the grid of the maps."""
    maps_n, maps_m = _top_down_maps(n), _top_down_maps(m)
    spectrum_n = fft.rfft2(maps_n)
    turns = np.arange(-np.pi, np.pi - 1e-6, TURN_STEP)
    scores = np.empty((len(turns), CELLS, CELLS), np.float32)
    for index, turn in enumerate(turns):
        spectrum_m = fft.rfft2(_turned(maps_m, turn))
        scores[index] = fft.irfft2(np.sum(spectrum_n * spectrum_m.conj(), axis=0), s=(CELLS, CELLS))
    scores = ndimage.gaussian_filter(scores, (0, 0.7, 0.7), mode="wrap")
    peaks = np.argwhere(scores == ndimage.maximum_filter(scores, (3, 5, 5), mode="wrap"))
    best = peaks[np.argsort(-scores[tuple(peaks.T)])[:CANDIDATES]]
    shifts = np.where(best[:, 1:] < CELLS // 2, best[:, 1:], best[:, 1:] - CELLS) * CELL_M
    return [(turns[turn], x, y) for turn, (x, y) in zip(best[:, 0], shifts, strict=True)]


def _top_down_maps(survey: _Survey) -> np.ndarray:
    """A view from above, (channels, CELLS, CELLS): mean features of the points in each cell, 0 where nothing was seen.

    Four channels for each band of height: presence and colour. The product of two such features is large where both
    views see a thing of one colour at one height, and negative for opposite colours.
    """
    p_T, colour, _ = survey.points
    features = np.concatenate([np.full((len(p_T), 1), 0.5), 2.0 * (colour - 0.5)], axis=1)
    band = np.digitize(p_T[:, 2], HEIGHT_BANDS_M)
    layers = [_draw(p_T[band == index], features[band == index]) for index in range(len(HEIGHT_BANDS_M) + 1)]
    return np.concatenate(layers).astype(np.float32)


def _draw(p_T: np.ndarray, features: np.ndarray) -> np.ndarray:
    """Mean of the features (count, channels) in each cell, (channels, CELLS, CELLS)."""
    cell = np.floor(p_T[:, :2] / CELL_M).astype(int) + CELLS // 2
    inside = np.all((cell >= 0) & (cell < CELLS), axis=1)
    flat = cell[inside, 0] * CELLS + cell[inside, 1]
    count = np.bincount(flat, minlength=CELLS**2)
    sums = [np.bincount(flat, channel, minlength=CELLS**2) for channel in features[inside].T]
    return (np.array(sums) / np.maximum(count, 1)).reshape(-1, CELLS, CELLS)


def _turned(maps: np.ndarray, turn: float) -> np.ndarray:
    """Maps (channels, CELLS, CELLS) turned about their middle, nearest cell."""
    middle = (CELLS - 1) / 2
    x, y = np.indices((CELLS, CELLS)) - middle
    i = np.rint(np.cos(turn) * x + np.sin(turn) * y + middle).astype(int)
    j = np.rint(np.cos(turn) * y - np.sin(turn) * x + middle).astype(int)
    inside = (i >= 0) & (i < CELLS) & (j >= 0) & (j < CELLS)
    return np.where(inside, maps.reshape(len(maps), -1)[:, np.where(inside, i * CELLS + j, 0)], np.float32(0))


# -- 3. refine ---------------------------------------------------------------------------------------------------------


def _align(n: _Survey, m: _Survey, pose: PlanarPose, gates_m: tuple[float, ...], count: int) -> PlanarPose:
    """ICP over (turn, x, y): one Gauss-Newton step for each gate, the farthest distance at which points still pair."""
    p_n, _, normal_n = n.points
    chosen = np.linspace(0, len(m.points[0]) - 1, min(count, len(m.points[0]))).astype(int)
    p_m, colour_m, normal_m = (values[chosen] for values in m.points)
    for gate in gates_m:
        X = _planar(pose)
        q, normal_q = transform(X, p_m), normal_m @ X[:3, :3].T
        distance, nearest = n.tree.query(np.concatenate([q, COLOUR_M * colour_m], axis=1), distance_upper_bound=gate)
        nearest = np.minimum(nearest, len(p_n) - 1)  # without a neighbour it is out of range, and the distance infinite
        paired = (distance < gate) & (np.sum(normal_n[nearest] * normal_q, axis=1) > 0.5)  # same side of the thing
        if paired.sum() < MIN_PAIRS:
            return pose
        weight = np.exp(-2.0 * (distance[paired] / gate) ** 2)
        step = _step(q[paired], p_n[nearest[paired]], normal_n[nearest[paired]], weight, np.array(pose[1:]))
        pose = tuple(pose + step)
    return pose


def _step(q: np.ndarray, p: np.ndarray, normal: np.ndarray, weight: np.ndarray, pivot: np.ndarray) -> np.ndarray:
    """The change of (turn, x, y) that brings points q (count, 3), turned about `pivot`, onto the planes at p.

    The error p - q counts fully along the normal, and by `POINT_SHARE` in all directions, for those no plane holds.
    """
    J = np.zeros((len(q), 3, 3))  # d q / d (turn, x, y)
    J[:, 0, 0], J[:, 1, 0] = pivot[1] - q[:, 1], q[:, 0] - pivot[0]
    J[:, 0, 1] = J[:, 1, 2] = 1.0
    metric = normal[:, :, None] * normal[:, None, :] + POINT_SHARE * np.eye(3)
    J_metric = weight[:, None, None] * J.swapaxes(1, 2) @ metric
    A, b = np.sum(J_metric @ J, axis=0), np.sum(J_metric @ (p - q)[..., None], axis=0)[:, 0]
    return np.linalg.solve(A + 1e-9 * np.eye(3), b)


def _planar(pose: PlanarPose) -> np.ndarray:
    """X_TnTm (4, 4) of a turn about z and a shift (x, y)."""
    turn, x, y = pose
    X = np.eye(4)
    X[:2, :2] = [[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]
    X[:2, 3] = x, y
    return X


# -- 4. check ----------------------------------------------------------------------------------------------------------


def _agreement(n: _Survey, m: _Survey, pose: PlanarPose) -> float:
    """Share of votes for a pose, in [0, 1], from both views."""
    X_TnTm = _planar(pose)
    votes = [_votes(n, m, X_TnTm), _votes(m, n, invert(X_TnTm))]
    agree, voted = np.sum(votes, axis=0)
    return float(agree / max(voted, 1))


def _votes(eye: _Survey, other: _Survey, X_TeTo: np.ndarray) -> tuple[float, int]:
    """Project points of the `other` view into the image of `eye`: (votes for the pose, votes cast).

    Only pixels where one of the two sees something above the table vote: that table meets table says little. Points
    behind what `eye` sees are hidden and abstain.
    """
    thin = np.s_[::THINNING, ::THINNING]
    seen = other.depth_m[thin] > 0
    p_C = transform(invert(eye.X_TC) @ X_TeTo, other.p_T[thin][seen])
    pixels, z = project(p_C, eye.K)
    u, v = np.rint(np.nan_to_num(pixels, nan=-1.0)).astype(int).T
    height, width = eye.depth_m.shape
    inside = (u >= 0) & (u < width) & (v >= 0) & (v < height)
    u, v, z = u[inside], v[inside], z[inside]
    gap = z - eye.depth_m[v, u]
    above = other.above[thin][seen][inside] | eye.above[v, u]
    votes = above & (eye.depth_m[v, u] > 0) & (gap < MATCH_M)
    match = votes & (gap > -MATCH_M)
    contrast = other.colour[thin][seen][inside][match] - eye.colour[v, u][match]
    likeness = np.exp(-np.sum(contrast**2, axis=1) / (2 * MATCH_COLOUR**2))
    return float(likeness.sum()), int(votes.sum())
