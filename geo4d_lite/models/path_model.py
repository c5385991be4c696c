"""How both grippers will move, read from one coloured point cloud of both views. Ours, a part that the paper lacks.

Frame tokens read the path from latents, and what they learn about one camera they must learn again for the next. A
cloud that stands on the table is the same for all cameras: it can be turned about the vertical and shifted at will, so
every demonstration is seen from everywhere. No camera pose goes in. The table is the dominant plane of the image, and
view m is laid onto view n by registration, as for the recipe's condition.

A network over points after PointNet (Qi et al. 2017), with one addition: places are not only told in numbers, but
pointed at. Each of some attention maps over the cloud averages the points it looks at, and a gripper's future position
is a weighted mean of those places plus a correction.
"""

import numpy as np
import torch
import torch.nn.functional as F
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor, nn

from geo4d_lite.data import FUTURE_FRAMES
from geo4d_lite.geometry import RGBD, invert, transform, unproject
from geo4d_lite.geometry.table_plane import table_frame

ARMS, COORDINATES = 2, 10  # of a path, see `latents.path_in_n`
HEIGHTS_M = (0.006, 0.45)  # what stands on the table
REACH_M = 0.70  # from the middle of the cloud
VOXEL_M = 0.008  # one point in each
CANDIDATES = 1024  # points of a cloud that are kept
POINTS = 256  # that the network learns from, drawn anew each time
TOLERANCE = 0.02  # errors below 2 cm count squared, larger ones by their size
TURNS = 8  # the cloud is shown in so many orientations, and the answers are averaged


class PathModel(ModelMixin, ConfigMixin):
    """Args: width: of the features of a point. keypoints: places that are pointed at. frames: told of the future."""

    @register_to_config
    def __init__(self, width: int = 96, keypoints: int = 32, frames: int = FUTURE_FRAMES):
        super().__init__()
        self.of_point = nn.Sequential(
            nn.Linear(6, width // 2), nn.ReLU(), nn.Linear(width // 2, width), nn.ReLU(), nn.Linear(width, width)
        )
        self.of_scene = nn.Linear(width, 2 * width)
        self.in_scene = nn.Linear(width, 2 * width, bias=False)
        self.again = nn.Sequential(nn.LayerNorm(2 * width), nn.ReLU(), nn.Linear(2 * width, 2 * width), nn.ReLU())
        self.look = nn.Linear(2 * width, keypoints)
        self.notice = nn.Linear(2 * width, 8)
        answers = frames * ARMS
        self.sizes = (answers * keypoints, answers * COORDINATES)
        self.decide = nn.Sequential(
            *_layer(2 * width + keypoints * (3 + 8), 4 * width),
            *_layer(4 * width, 4 * width),
            nn.Linear(4 * width, sum(self.sizes)),
        )

    def forward(self, points: Tensor, colours: Tensor) -> Tensor:
        """Points (B, N, 3) in decimetres about the middle, colours (B, N, 3) in [-1, 1] -> path (B, T, arms, 10)."""
        of_point = self.of_point(torch.cat([points, colours], dim=-1))
        scene = self.of_scene(of_point.amax(dim=1, keepdim=True))
        features = self.again(self.in_scene(of_point) + scene)
        attention = self.look(features).softmax(dim=1).transpose(1, 2)  # (B, keypoints, N)
        places, noticed = attention @ points, attention @ self.notice(features)
        told = torch.cat([features.amax(dim=1), places.flatten(1), noticed.flatten(1)], dim=1)
        which, numbers = self.decide(told).split(self.sizes, dim=1)
        which = which.view(len(points), -1, places.shape[1]).softmax(dim=-1)
        numbers = numbers.view(len(points), -1, COORDINATES)
        pointed = 0.1 * (which @ places)  # metres
        path = torch.cat([pointed + 0.1 * numbers[..., :3], numbers[..., 3:]], dim=-1)
        return path.unflatten(1, (-1, ARMS))

    def loss(self, points: Tensor, colours: Tensor, path: Tensor) -> dict[str, Tensor]:
        """Of clouds as in `forward` with their true paths (B, T, arms, 10); "cm": the mean error of positions."""
        said = self(points, colours)
        error = (said[..., :3] - path[..., :3]).detach().norm(dim=-1).mean()
        return {"loss": 10 * F.smooth_l1_loss(said, path, beta=TOLERANCE), "cm": 100 * error}

    @torch.no_grad()
    def predict(self, view_n: RGBD, view_m: RGBD, X_nm: np.ndarray) -> Tensor | None:
        """The path (1, T, arms, 10) in the frame of n; X_nm (4, 4): the registered pose of camera m.

        None where view n shows no table or nothing on it.
        """
        p_C, valid = unproject(view_n.depth_m, view_n.K)
        X_TC = table_frame(p_C[valid])
        if X_TC is None:
            return None
        points, colours = scene_cloud([view_n, view_m], [X_TC, X_TC @ X_nm])
        if not len(points):
            return None
        clouds = torch.from_numpy(points).float().expand(TURNS, -1, -1), torch.from_numpy(colours).expand(TURNS, -1, -1)
        turns = 2 * torch.pi * torch.arange(TURNS) / TURNS
        X_AT = planar_motion(turns, -clouds[0][..., :2].mean(dim=1))
        said = self(*network_input(*clouds, X_AT))
        X_nA = torch.from_numpy(invert(X_TC)).float() @ torch.linalg.inv(X_AT)
        return moved_path(said, X_nA).mean(dim=0, keepdim=True)


def _layer(a: int, b: int) -> list[nn.Module]:
    return [nn.Linear(a, b), nn.LayerNorm(b), nn.SiLU()]


def scene_cloud(views: list[RGBD], X_TC: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """What stands on the table: points (N, 3) in the table's frame, at most 1024, and colours (N, 3) uint8.

    X_TC: poses (4, 4) of the cameras above a table whose top is z = 0. One point in each cube of 8 mm, so that what is
    near a camera counts no more than what is far.
    """
    points, colours = [], []
    for view, X in zip(views, X_TC, strict=True):
        p_C, valid = unproject(view.depth_m, view.K)
        p_T = transform(X, p_C[valid])
        above = (p_T[:, 2] > HEIGHTS_M[0]) & (p_T[:, 2] < HEIGHTS_M[1])
        points.append(p_T[above])
        colours.append(view.rgb[valid][above])
    points, colours = np.concatenate(points), np.concatenate(colours)
    if len(points):
        near = np.linalg.norm((points - np.median(points, axis=0))[:, :2], axis=1) < REACH_M
        points, colours = points[near], colours[near]
        order = np.random.default_rng(0).permutation(len(points))
        x, y, z = np.floor(points[order] / VOXEL_M).astype(np.int64).T
        _, first = np.unique((x * 4096 + y) * 4096 + z, return_index=True)
        chosen = order[np.sort(first)[:CANDIDATES]]
        points, colours = points[chosen], colours[chosen]
    return points.astype(np.float32), colours


def planar_motion(turns: Tensor, shifts: Tensor) -> Tensor:
    """X_AT (B, 4, 4): first a shift (B, 2) along the table, then a turn (B,) about the vertical."""
    X = torch.eye(4).repeat(len(turns), 1, 1)
    cos, sin = turns.cos(), turns.sin()
    X[:, :2, :2] = torch.stack([cos, -sin, sin, cos], dim=-1).view(-1, 2, 2)
    X[:, :2, 3] = (X[:, :2, :2] @ shifts[..., None])[..., 0]
    return X


def network_input(points: Tensor, colours: Tensor, X_AT: Tensor) -> tuple[Tensor, Tensor]:
    """Points of clouds (B, N, 3) in the table's frame and their colours, as `PathModel.forward` has them."""
    p_A = points.float() @ X_AT[:, :3, :3].transpose(1, 2) + X_AT[:, None, :3, 3]
    return 10 * p_A, colours.float() / 127.5 - 1


def drawn(points: Tensor, colours: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """256 random ones of the points (B, N, 3) and their colours: fewer make learning cheap, new ones each time better.

    To read a path, all are looked at: what sticks out by a centimetre has few points.
    """
    chosen = torch.randint(points.shape[1], (len(points), POINTS), generator=generator)[..., None].expand(-1, -1, 3)
    return points.gather(1, chosen), colours.gather(1, chosen)


def moved_path(path: Tensor, X_BA: Tensor) -> Tensor:
    """A path (B, T, arms, 10) told in frame A, told in frame B; X_BA (B, 4, 4)."""
    turned = [torch.einsum("bij,btaj->btai", X_BA[:, :3, :3], path[..., i : i + 3]) for i in (0, 3, 6)]
    return torch.cat([turned[0] + X_BA[:, None, None, :3, 3], *turned[1:], path[..., 9:]], dim=-1)
