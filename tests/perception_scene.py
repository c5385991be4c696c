"""A ray caster for perception tests: an oracle that shares no code with the tracker (rectangles, not slabs)."""

from dataclasses import dataclass, field

import numpy as np

from geo4d_lite.geometry import RGBD, Intrinsics, Label, load_gripper, look_at
from geo4d_lite.geometry.gripper_model import PARTS
from geo4d_lite.geometry.labels import ARMS, gripper_labels

LIGHT = np.array([0.3, 0.2, 0.93])
WOOD = (0.80, 0.68, 0.50)
GREY = (0.72, 0.72, 0.74)


@dataclass
class SceneBox:
    """A coloured box: full size (3,), pose X_WB (4, 4) and label."""

    size_m: np.ndarray
    X_WB: np.ndarray
    rgb: tuple[float, float, float]
    label: int


@dataclass
class Scene:
    boxes: list[SceneBox] = field(default_factory=list)

    def add_box(self, size_m, center_W, rgb, label=Label.OBJECT) -> "Scene":
        X_WB = np.eye(4)
        X_WB[:3, 3] = center_W
        self.boxes.append(SceneBox(np.asarray(size_m, dtype=float), X_WB, rgb, label))
        return self

    def add_gripper(self, arm: int, X_WG: np.ndarray, width_m: float) -> "Scene":
        colours = load_gripper().colours[ARMS[arm]]
        for box in load_gripper().boxes(width_m):
            X_GB = np.eye(4)
            X_GB[:3, 3] = box.center_G
            label = gripper_labels(arm)[PARTS.index(box.part)]
            self.boxes.append(SceneBox(box.size_m, X_WG @ X_GB, colours[box.part], label))
        X_GB = np.eye(4)
        X_GB[:3, 3] = (0.0, 0.0, -0.245)
        self.boxes.append(SceneBox(np.array([0.08, 0.08, 0.2]), X_WG @ X_GB, GREY, Label.ARM_LEFT + arm))
        return self


def table() -> Scene:
    return Scene().add_box((1.4, 1.6, 0.04), (0.1, 0.0, -0.02), WOOD, Label.TABLE)


def render(scene: Scene, X_WC: np.ndarray, K: Intrinsics) -> tuple[RGBD, np.ndarray]:
    """RGB-D and labels (H, W): every ray against the six rectangles of every box, the nearest one wins."""
    v, u = np.mgrid[: K.height, : K.width]
    rays_W = np.stack([(u - K.cx) / K.fx, (v - K.cy) / K.fy, np.ones(u.shape)], axis=-1) @ X_WC[:3, :3].T
    depth = np.full(u.shape, np.inf)
    colour = np.full((*u.shape, 3), 0.55)
    label = np.zeros(u.shape, dtype=np.uint8)
    for box in scene.boxes:
        R_WB, half = box.X_WB[:3, :3], box.size_m / 2
        eye, rays = (X_WC[:3, 3] - box.X_WB[:3, 3]) @ R_WB, rays_W @ R_WB
        for axis in range(3):
            for sign in (-1.0, 1.0):
                normal_W = sign * R_WB[:, axis]
                with np.errstate(divide="ignore", invalid="ignore"):
                    t = (sign * half[axis] - eye[axis]) / rays[..., axis]
                    hit = eye + t[..., None] * rays
                others = [i for i in range(3) if i != axis]
                inside = (np.abs(hit[..., others]) <= half[others]).all(axis=-1)
                nearer = inside & (t > 0) & (t < depth)
                depth[nearer], label[nearer] = t[nearer], box.label
                colour[nearer] = np.array(box.rgb) * (0.45 + 0.55 * max(0.0, float(normal_W @ LIGHT)))
    depth[~np.isfinite(depth)] = 0.0
    rgb = np.clip(np.rint(colour * 255), 0, 255).astype(np.uint8)
    return RGBD(rgb, depth.astype(np.float32), K.matrix), label


def gripper_pose(position_W, yaw: float = 0.0, tilt: float = 0.0) -> np.ndarray:
    """X_WG pointing down, turned by `yaw` about the vertical and tipped by `tilt` about its closing axis (radians)."""
    X_WG = np.eye(4)
    c, s = np.cos(yaw), np.sin(yaw)
    down = np.array([[c, s, 0], [s, -c, 0], [0, 0, -1.0]])
    c, s = np.cos(tilt), np.sin(tilt)
    X_WG[:3, :3] = down @ np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])
    X_WG[:3, 3] = position_W
    return X_WG


LITE = Intrinsics.from_fov(160, 128, np.deg2rad(42.0))


def shell_camera(azimuth: float = 0.2, radius: float = 1.0) -> np.ndarray:
    return look_at((radius * 0.5 * np.cos(azimuth), radius * 0.5 * np.sin(azimuth), radius * 0.85), (0.0, 0.0, 0.1))


def pose_error(X_estimated: np.ndarray, X_true: np.ndarray) -> tuple[float, float]:
    """Position in metres and rotation in degrees between two poses."""
    cosine = (np.trace(X_estimated[:3, :3].T @ X_true[:3, :3]) - 1) / 2
    distance = np.linalg.norm(X_estimated[:3, 3] - X_true[:3, 3])
    return float(distance), float(np.rad2deg(np.arccos(np.clip(cosine, -1, 1))))
