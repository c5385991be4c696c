"""Tiny episodes for tests: a gripper of boxes carries a box over a table, ray-cast in NumPy. No simulator needed."""

from pathlib import Path

import numpy as np

from geo4d_lite.data import EpisodeArrays, EpisodeInfo, encode_depth, split_cameras, write_episode, write_manifest
from geo4d_lite.geometry import Intrinsics, Label, load_gripper, sample_camera_poses

FINGER_LABELS = {
    "hand": Label.HAND_LEFT,
    "finger_left": Label.LEFT_ARM_FINGER_LEFT,
    "finger_right": Label.LEFT_ARM_FINGER_RIGHT,
}
OBJECT_SIZE_M = np.array([0.05, 0.05, 0.10])
POINTING_DOWN = np.array([[1.0, 0.0, 0.0], [0.0, -1.0, 0.0], [0.0, 0.0, -1.0]])  # R_WG: approach along -z of the world


def gripper_pose(x: float, y: float, z: float) -> np.ndarray:
    """X_WG (4, 4) of a gripper at (x, y, z) that points down."""
    X_WG = np.eye(4)
    X_WG[:3, :3], X_WG[:3, 3] = POINTING_DOWN, (x, y, z)
    return X_WG


def scene(X_WG: np.ndarray, width_m: float) -> list[tuple]:
    """Boxes as (X_WB, center_B, size_m, label, rgb): the gripper's, and what it holds."""
    gripper = load_gripper()
    boxes = [
        (X_WG, box.center_G, box.size_m, FINGER_LABELS[box.part], gripper.colours["left"][box.part])
        for box in gripper.boxes(width_m)
    ]
    return [*boxes, (X_WG, np.zeros(3), OBJECT_SIZE_M, Label.OBJECT, (0.2, 0.2, 0.2))]


def render(boxes: list[tuple], X_WC: np.ndarray, K: Intrinsics) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """rgb (H, W, 3) uint8, depth_m (H, W), label (H, W) of boxes above a table 1.6 m wide at z = 0."""
    v, u = np.indices((K.height, K.width))
    rays_C = np.stack([(u - K.cx) / K.fx, (v - K.cy) / K.fy, np.ones(u.shape)], axis=-1)  # length counts depth
    rays_W, eye_W = rays_C @ X_WC[:3, :3].T, X_WC[:3, 3]
    with np.errstate(divide="ignore"):
        depth = -eye_W[2] / rays_W[..., 2]
    on_table = (depth > 0) & np.all(np.abs(eye_W[:2] + depth[..., None] * rays_W[..., :2]) < 0.8, axis=-1)
    depth = np.where(on_table, depth, np.inf)
    label = np.where(on_table, Label.TABLE, Label.BACKGROUND).astype(np.uint8)
    rgb = np.where(on_table[..., None], (0.8, 0.7, 0.5), (0.6, 0.7, 0.8))
    for X_WB, center_B, size_m, box_label, colour in boxes:
        hit = _box_depth(eye_W, rays_W, X_WB, center_B, size_m)
        nearer = hit < depth
        depth = np.where(nearer, hit, depth)
        label[nearer] = box_label
        rgb[nearer] = colour
    return np.round(rgb * 255).astype(np.uint8), np.where(np.isfinite(depth), depth, 0.0), label


def _box_depth(eye_W, rays_W, X_WB, center_B, size_m) -> np.ndarray:
    """Depth (H, W) at which each ray enters a box, inf where it misses (slab method)."""
    R_BW = X_WB[:3, :3].T
    eye_B, rays_B = R_BW @ (eye_W - X_WB[:3, 3]) - center_B, rays_W @ R_BW.T
    with np.errstate(divide="ignore", invalid="ignore"):
        slabs = np.stack([(-size_m / 2 - eye_B) / rays_B, (size_m / 2 - eye_B) / rays_B])
    enter, leave = slabs.min(0).max(-1), slabs.max(0).min(-1)
    return np.where((enter <= leave) & (enter > 0), enter, np.inf)


def make_arrays(seed: int = 0, frames: int = 36, cameras: int = 5, width: int = 20, height: int = 16) -> EpisodeArrays:
    """The left gripper moves along y and opens half-way; the right one stands outside the view."""
    rng = np.random.default_rng(seed)
    K = Intrinsics.from_fov(width, height, np.deg2rad(42))
    X_WC = sample_camera_poses(cameras, rng)
    along = np.linspace(-0.2, 0.2, frames) + rng.uniform(-0.03, 0.03)
    X_WG = np.stack([[gripper_pose(0.0, y, 0.12), gripper_pose(-2.0, -0.3, 0.3)] for y in along])
    width_m = np.where(np.arange(frames)[:, None] < frames // 2, 0.06, 0.15) * np.ones(2)
    images = [[render(scene(X_WG[t, 0], width_m[t, 0]), X_WC[c], K) for c in range(cameras)] for t in range(frames)]
    rgb, depth_m, label = (np.array([[image[k] for image in row] for row in images]) for k in range(3))
    return EpisodeArrays(
        rgb,
        encode_depth(depth_m),
        label,
        np.tile(K.matrix, (cameras, 1, 1)),
        X_WC,
        X_WG,
        width_m,
        rng.normal(size=(frames, 2, 7)),
        np.arange(frames) / 10,
    )


def make_info(seed: int = 0, split: str = "train", cameras: int = 5, hz: int = 10) -> EpisodeInfo:
    """What `make_arrays` recorded; the last two cameras are held out."""
    return EpisodeInfo("PutSpatulaOnTable", "lite", seed, hz, True, split, split_cameras(cameras))


def make_dataset(
    root: Path,
    train: int = 2,
    test: int = 1,
    frames: int = 36,
    cameras: int = 5,
    hz: int = 10,
    width: int = 20,
    height: int = 16,
) -> Path:
    """A data set of episodes with seeds 0, 1, 2, …; 36 frames at 10 Hz leave six starts for a window."""
    for seed in range(train + test):
        info = make_info(seed, "train" if seed < train else "test", cameras, hz)
        write_episode(root / f"episode_{seed:04d}.zarr", make_arrays(seed, frames, cameras, width, height), info)
    write_manifest(root)
    return root
