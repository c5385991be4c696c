"""The gripper's boxes as the tracker needs them: their visible surface, its distance to points, and their image."""

from dataclasses import dataclass

import numpy as np

from geo4d_lite.geometry.gripper_model import PARTS, GripperModel

NO_PART = -1


@dataclass(frozen=True, eq=False)
class SurfaceDistance:
    """Distance vectors from points to the visible surface, in frame G, for M poses and N points.

    vector (M, N, 3): from the nearest visible surface point to the point. active (M, N, 3): the components that change
    when the point moves; along a face the nearest point follows and the component stays zero.
    """

    vector: np.ndarray
    active: np.ndarray

    @property
    def length(self) -> np.ndarray:
        return np.sqrt(_sum3(self.vector**2))


class GripperSurface:
    """Boxes of the gripper in arrays: half sizes and centres (B, 3), the part and the finger side of each box."""

    def __init__(self, gripper: GripperModel):
        self.width_limits_m = (gripper.min_width_m, gripper.max_width_m)
        boxes = gripper.closed_boxes
        self.half = np.array([box.size_m for box in boxes]) / 2
        self.closed_center_G = np.array([box.center_G for box in boxes])
        self.part = np.array([PARTS.index(box.part) for box in boxes])
        self.side = np.array([{"hand": 0.0, "finger_left": 1.0, "finger_right": -1.0}[box.part] for box in boxes])
        self.part_center_G = np.array([self._volume_center(part) for part in range(len(PARTS))])
        self.outline = np.array([_edge_points(half) for half in self.half])  # (B, 20, 3) in each box's own frame

    def _volume_center(self, part: int) -> np.ndarray:
        volume = self.half.prod(axis=1) * (self.part == part)
        return (self.closed_center_G * volume[:, None]).sum(axis=0) / volume.sum()

    def centers(self, width_m: np.ndarray) -> np.ndarray:
        """Box centres (M, B, 3) in G for finger distances `width_m` (M,)."""
        center_G = np.repeat(self.closed_center_G[None], len(width_m), axis=0)
        center_G[:, :, 1] += 0.5 * self.side * width_m[:, None]
        return center_G

    def distance(self, p_G: np.ndarray, eye_G: np.ndarray, width_m: np.ndarray, part: int) -> SurfaceDistance:
        """From points p_G (M, N, 3) of one part to those of its faces that the camera at eye_G (M, 3) sees.

        With the nearest point clipped to a face, e = p - clip(p, -h, h) is the way back into the box and f = p - s h
        the signed height over the face on the camera's side. A face on axis a is f_a high and e_b away sideways.
        """
        best: SurfaceDistance | None = None
        for box in np.flatnonzero(self.part == part):
            center_G = self.centers(width_m)[:, box]
            p, eye = p_G - center_G[:, None], eye_G - center_G
            excess = p - np.clip(p, -self.half[box], self.half[box])
            height = p - np.sign(eye)[:, None] * self.half[box]
            visible = np.abs(eye) > self.half[box]
            sideways = excess**2
            squared = height**2 + _sum3(sideways)[..., None] - sideways  # (M, N, 3), one a face
            squared = np.where(visible[:, None], squared, np.inf)
            on_face = np.eye(3, dtype=bool)[squared.argmin(axis=-1)]
            candidate = SurfaceDistance(np.where(on_face, height, excess), on_face | (excess != 0))
            best = candidate if best is None else _nearer(best, candidate)
        return best

    def render(self, X_CG: np.ndarray, width_m: float, rays_C: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Cast rays_C (N, 3), each with z = 1, at the gripper: depth_m (N,), inf where missed, and part (N,).

        Slab test: a ray is inside a box while it is between both planes of all three axes.
        """
        R_CG, p_CG = X_CG[:3, :3], X_CG[:3, 3]
        direction = R_CG.T @ rays_C.T  # (3, N) in G
        direction[np.abs(direction) < 1e-9] = 1e-9
        eye = -p_CG @ R_CG
        center_G = self.centers(np.array([width_m]))[0]
        depth = np.full(len(rays_C), np.inf)
        part = np.full(len(rays_C), NO_PART)
        for box in range(len(self.half)):
            middle = (center_G[box] - eye)[:, None] / direction
            reach = np.abs(self.half[box][:, None] / direction)
            enter = np.maximum.reduce(middle - reach)
            hit = (enter < np.minimum.reduce(middle + reach)) & (enter > 0) & (enter < depth)
            depth[hit], part[hit] = enter[hit], self.part[box]
        return depth, part

    def outline_points(self, width_m: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Points on the edges of all boxes, (M, S, 3) in G, and the part (S,) each belongs to.

        The silhouette of a box is the hull of its projected edges: these are the points that can stick out of a mask.
        """
        points = self.centers(width_m)[:, :, None] + self.outline  # (M, B, 20, 3)
        return points.reshape(len(width_m), -1, 3), np.repeat(self.part, self.outline.shape[1])


def _nearer(a: SurfaceDistance, b: SurfaceDistance) -> SurfaceDistance:
    use_b = (b.length < a.length)[..., None]
    return SurfaceDistance(np.where(use_b, b.vector, a.vector), np.where(use_b, b.active, a.active))


def _sum3(a: np.ndarray) -> np.ndarray:
    """Sum over a last axis of three; several times faster than `sum(axis=-1)`."""
    return a[..., 0] + a[..., 1] + a[..., 2]


def _edge_points(half: np.ndarray) -> np.ndarray:
    """The 8 corners and 12 edge middles of a box (20, 3)."""
    grid = np.stack(np.meshgrid([-1, 0, 1], [-1, 0, 1], [-1, 0, 1], indexing="ij"), axis=-1).reshape(-1, 3)
    return grid[(grid == 0).sum(axis=1) <= 1] * half
