"""Where cameras stand and how they see: intrinsics, look-at poses and the paper's camera shell.

Camera frames are OpenCV optical frames: x to the right, y down, z forward. Pixel (u, v) = (column, row), and the
*centre* of the top-left pixel is (0, 0), as in OpenCV and Drake.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike


@dataclass(frozen=True)
class Intrinsics:
    """Pinhole camera: image size, focal lengths and principal point, all in pixels."""

    width: int
    height: int
    fx: float
    fy: float
    cx: float
    cy: float

    def __post_init__(self) -> None:
        for name in ("width", "height", "fx", "fy"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} is {getattr(self, name)}; a camera needs a positive {name} in pixels")

    @classmethod
    def from_fov(cls, width: int, height: int, fov_y: float) -> "Intrinsics":
        """Square pixels, principal point at the image centre, vertical field of view `fov_y` in radians."""
        if not 0.0 < fov_y < np.pi:
            raise ValueError(
                f"fov_y is {fov_y}; expected radians between 0 and pi (np.deg2rad turns degrees into them)"
            )
        focal = float(height / (2.0 * np.tan(fov_y / 2.0)))
        return cls(width, height, focal, focal, (width - 1) / 2.0, (height - 1) / 2.0)

    @property
    def matrix(self) -> np.ndarray:
        """The calibration matrix K (3, 3), float64."""
        return np.array([[self.fx, 0.0, self.cx], [0.0, self.fy, self.cy], [0.0, 0.0, 1.0]])

    def resized(self, width: int, height: int) -> "Intrinsics":
        """The camera after its image is resized: it sees the same rays through `width` x `height` pixels.

        Pixel centres sit at integers, so the image's left edge is u = -0.5 and that edge is what stays in place.
        """
        scale_u, scale_v = width / self.width, height / self.height
        return Intrinsics(
            width,
            height,
            self.fx * scale_u,
            self.fy * scale_v,
            (self.cx + 0.5) * scale_u - 0.5,
            (self.cy + 0.5) * scale_v - 0.5,
        )


def look_at(eye: ArrayLike, target: ArrayLike, up: ArrayLike = (0.0, 0.0, 1.0)) -> np.ndarray:
    """Pose X_WC (4, 4) of a camera at `eye` (3,) whose optical axis meets `target` (3,), metres in the world.

    `up` (3,) appears upwards in the image. Raises ValueError if the eye is on the target, or if `up` is along the
    line of sight, where the camera's roll would be undefined.
    """
    eye, target, up = (np.asarray(vector, dtype=np.float64) for vector in (eye, target, up))
    distance = np.linalg.norm(target - eye)
    if distance < 1e-9:
        raise ValueError(f"eye and target are both {eye.tolist()}; move one of them: there is no direction to look in")
    forward = (target - eye) / distance
    right = np.cross(forward, up)
    if np.linalg.norm(right) < 1e-6 * max(np.linalg.norm(up), 1e-300) or not np.any(up):
        raise ValueError(f"up {up.tolist()} is zero or along the line of sight; give another up, e.g. (1, 0, 0)")
    right /= np.linalg.norm(right)
    X_WC = np.eye(4)
    X_WC[:3, :3] = np.stack([right, np.cross(forward, right), forward], axis=1)  # columns: x right, y down, z forward
    X_WC[:3, 3] = eye
    return X_WC


@dataclass(frozen=True)
class CameraShell:
    """Where the paper puts cameras: a hemispherical shell about the tabletop origin, cut to a box (metres, world).

    Defaults are the paper's (section on simulated data); `target` is the point every camera looks at.
    """

    min_radius: float = 0.7
    max_radius: float = 1.2
    low: tuple[float, float, float] = (0.2, -0.5, 0.7)
    high: tuple[float, float, float] = (0.6, 0.5, 1.2)
    target: tuple[float, float, float] = (0.0, 0.0, 0.1)

    def contains(self, p_W: ArrayLike) -> np.ndarray:
        """Whether points (..., 3) lie inside both the shell and the box: bool (...)."""
        p_W = np.asarray(p_W, dtype=np.float64)
        radius = np.linalg.norm(p_W, axis=-1)
        in_shell = (self.min_radius <= radius) & (radius <= self.max_radius)
        return in_shell & np.all((np.array(self.low) <= p_W) & (p_W <= np.array(self.high)), axis=-1)


PAPER_SHELL = CameraShell()


def draw_hemisphere_point(rng: np.random.Generator, shell: CameraShell) -> np.ndarray:
    """A point (3,) of the upper half shell: uniform direction, uniform radius. It may lie outside the box."""
    direction = rng.normal(size=3)
    direction[2] = abs(direction[2])
    return rng.uniform(shell.min_radius, shell.max_radius) * direction / np.linalg.norm(direction)


def sample_camera_poses(
    count: int, rng: np.random.Generator, shell: CameraShell = PAPER_SHELL, max_draws: int = 10_000
) -> np.ndarray:
    """`count` poses X_WC (count, 4, 4) inside the shell and its box, each looking at the shell's target.

    Rejection: draw from the hemispherical shell until the point lies in the box, about 20 draws a camera for the
    paper's numbers. Raises ValueError if `max_draws` draws find no place, as for a box outside the shell.
    """
    poses = np.empty((count, 4, 4))
    for index in range(count):
        for _ in range(max_draws):
            eye = draw_hemisphere_point(rng, shell)
            if shell.contains(eye):
                poses[index] = look_at(eye, shell.target)
                break
        else:
            raise ValueError(f"no camera place in {max_draws} draws; let the box and the radii of {shell} overlap")
    return poses
