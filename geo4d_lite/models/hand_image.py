"""What each site would see of the grippers, were they where the path says: their boxes, ray by ray. Ours, a switch.

`hand_rays` tells a site how its line of sight passes a hand, and leaves it to the network to learn what the line meets
there. But the gripper's shape is known: the tracker that reads the film looks for the same four boxes. So the lines are
cast at them, sixteen a site, and draft and U-Net are shown the answer: which part is met, where, and how its face is
turned. What is left to learn is how all that looks in colours and latents, and what stands in front of it.

It is a stronger path hint of the same kind: where the hands go is decided by the path, and a film that shows them there
says nothing about whether the path was right.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from geo4d_lite.geometry.gripper_model import PARTS, load_gripper
from geo4d_lite.models.frames import RANGE
from geo4d_lite.models.hand_rays import hand_frame

LINES = 4  # a site's lines of sight, along each side
ARMS = 2
OF_LINE = ARMS * len(PARTS) + 6  # which part of which arm, the point met, the normal of its face
IMAGE_CHANNELS = LINES**2 * OF_LINE


def finer_lines(rays: Tensor, lines: int = LINES) -> Tensor:
    """Lines of sight through the sites' centres (N, 6, H, W) to `lines` a side: (N, 6, lines H, lines W).

    Directions between the centres are interpolated, and beyond the outermost ones extrapolated, and made unit vectors
    again. For the lite camera they are right to 0.2 mm a metre, to 0.5 mm at the border of the image.
    """
    d = rays[:, 3:]
    d = torch.cat([2 * d[..., :1] - d[..., 1:2], d, 2 * d[..., -1:] - d[..., -2:-1]], dim=-1)
    d = torch.cat([2 * d[..., :1, :] - d[..., 1:2, :], d, 2 * d[..., -1:, :] - d[..., -2:-1, :]], dim=-2)
    d = F.interpolate(d, scale_factor=lines, mode="bilinear", align_corners=False)
    d = F.normalize(d[..., lines:-lines, lines:-lines], dim=1)
    return torch.cat([rays[:, :3, :1, :1].expand_as(d), d], dim=1)


def hand_image(path: Tensor, rays: Tensor) -> Tensor:
    """What the sites see of both grippers: path (B, 2, T, arms, 10), rays (B, 2, 6, H, W) -> (B, 2, T, C, H, W).

    path: see `latents.path_in_n`. Of each of a site's `LINES` x `LINES` lines, zero where it meets no gripper: which
    part of which arm it meets first, the point, encoded as pointmaps are, and the normal of its face, both in the frame
    in which path and lines are told. Slab test: a line is inside a box while it is between both planes of all axes.
    """
    fine = finer_lines(rays.flatten(0, 1)).unflatten(0, rays.shape[:2])
    eye, d = fine[:, :, :3, 0, 0], fine[:, :, 3:]
    R_Gn, p_nG = hand_frame(path)
    eye_G = torch.einsum("bvtaij,bvtaj->bvtai", R_Gn, eye[:, :, None, None] - p_nG)
    d_G = torch.einsum("bvtaij,bvjhw->aibvthw", R_Gn, d)
    per_metre = 1 / torch.where(d_G.abs() < 1e-9, 1e-9, d_G)
    nearest = torch.full(d_G.shape[2:], torch.inf, device=d.device)
    part = torch.full(nearest.shape, -1, dtype=torch.long, device=d.device)
    face = torch.zeros_like(part)
    for arm in range(ARMS):
        for box in load_gripper().closed_boxes:
            side = {"hand": 0.0, "finger_left": 0.05, "finger_right": -0.05}[box.part]  # m for a decimetre's opening
            enter, leave = [], []
            for axis in range(3):
                center = float(box.center_G[axis]) + (side * path[..., arm, 9] if axis == 1 else 0.0)
                middle = (center - eye_G[:, :, :, arm, axis])[..., None, None] * per_metre[arm, axis]
                reach = float(box.size_m[axis] / 2) * per_metre[arm, axis].abs()
                enter.append(middle - reach)
                leave.append(middle + reach)
            inside = torch.maximum(torch.maximum(enter[0], enter[1]), enter[2])
            outside = torch.minimum(torch.minimum(leave[0], leave[1]), leave[2])
            hit = (inside < outside) & (inside > 0) & (inside < nearest)
            axis = torch.where(enter[0] == inside, 0, torch.where(enter[1] == inside, 1, 2))
            nearest = torch.where(hit, inside, nearest)
            part = torch.where(hit, arm * len(PARTS) + PARTS.index(box.part), part)
            face = torch.where(hit, 3 * arm + axis, face)
    return _packed(eye, d, nearest, part, _normals(R_Gn, d_G, face))


def _normals(R_Gn: Tensor, d_G: Tensor, face: Tensor) -> Tensor:
    """Outward normals (B, 2, T, h, w, 3) in n of the faces met, told as 3 arm + axis of that arm's hand."""
    against = d_G.flatten(0, 1).gather(0, face[None])[0].sign()
    axes = R_Gn.flatten(3, 4)  # (B, 2, T, 3 arms, 3): each hand's axes in n
    chosen = face.flatten(3)[..., None].expand(-1, -1, -1, -1, 3)
    return -against[..., None] * axes.gather(3, chosen).view(*face.shape, 3)


def _packed(eye: Tensor, d: Tensor, nearest: Tensor, part: Tensor, normal: Tensor) -> Tensor:
    """The numbers of each line, those of a site behind each other."""
    seen = (part >= 0)[:, :, :, None]
    point = eye[:, :, None, :, None, None] + torch.where(seen, nearest[:, :, :, None], 0.0) * d[:, :, None]
    parts = [part == i for i in range(ARMS * len(PARTS))]
    told = torch.cat([torch.stack(parts, dim=3), seen * RANGE.encode(point), seen * normal.movedim(-1, 3)], dim=3)
    return F.pixel_unshuffle(told.flatten(0, 2), LINES).unflatten(0, told.shape[:3])
