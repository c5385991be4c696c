"""Each site's line of sight as a gripper would see it, in the gripper's own coordinates. Ours, a switch.

A vector can tell a network where a hand will be; to draw it there, the network must work out for every site of the
image what part of the hand that site looks at. That is geometry, and need not be learned: carry the site's line of
sight into the frame of the hand. What the line meets there, a finger or the palm from which side, is the same wherever
the hand is, and a few layers learn it as a light field network does (Sitzmann et al. 2021). No model of the gripper and
no camera pose goes in: view m's comes from the registration of the two inputs, the hand's from the frame tokens.

In training the film is drawn along the *true* path of the hands. A path that is two centimetres wrong would teach it to
blur the hand over two centimetres; so it learns to draw a hand where it is told, and in generation the tokens tell.
How the hands move is then decided by the tokens, by regression, and the diffusion decides how all that looks.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

RAY_CHANNELS = 6  # a site's line of sight: origin and direction
HAND_CHANNELS = 21  # of one arm: what `hand_coordinates` says of a site
DECIMETRE = 0.1
REACH = 1.5  # decimetres from the hand at which a line of sight begins to be forgotten


def sight_lines(K: Tensor, X_nC: Tensor, height: int, width: int, factor: int = 8) -> Tensor:
    """Lines of sight through the centres of the latent sites, (..., 6, height, width): origin (m), unit direction.

    K (..., 3, 3): intrinsics of the image, of which a site covers `factor` x `factor` pixels. X_nC (..., 4, 4): the
    camera's pose in the frame in which the lines are told.
    """
    centres = (factor * (torch.arange(size, device=K.device) + 0.5) - 0.5 for size in (height, width))
    v, u = torch.meshgrid(*centres, indexing="ij")
    of_pixel = X_nC[..., :3, :3] @ torch.linalg.inv(K)
    d = torch.einsum("...ij,jhw->...ihw", of_pixel, torch.stack([u, v, torch.ones_like(u)]))
    origin = X_nC[..., :3, 3, None, None].expand_as(d)
    return torch.cat([origin, F.normalize(d, dim=-3)], dim=-3)


def hand_coordinates(path: Tensor, rays: Tensor) -> Tensor:
    """What each line of sight is to each hand: path (B, 2, T, arms, 10), rays (B, 2, 6, H, W) -> (B, 2, T, C, H, W).

    path: see `latents.path_in_n`; its two directions are made orthonormal. Of each arm, all fading with the distance of
    the line from the hand: 1; the line's nearest point to the hand, in decimetres, and waves of it; its direction; how
    far along it that point lies; the hand's opening.
    """
    X_Gn, t = hand_frame(path)
    o = torch.einsum("bvtaij,bvtaj->bvtai", X_Gn, rays[:, :, None, None, :3, 0, 0] - t)[..., None, None]
    d = torch.einsum("bvtaij,bvjhw->bvtaihw", X_Gn, rays[:, :, 3:])
    along = -(o * d).sum(dim=4, keepdim=True)
    near = (o + along * d) / DECIMETRE
    waves = [wave(phase * near) for phase in (math.pi, math.pi / 2) for wave in (torch.sin, torch.cos)]
    fading = torch.exp(-0.5 * (near / REACH).square().sum(dim=4, keepdim=True))
    opening = path[..., 9][..., None, None, None].expand_as(along)
    # distances from the camera and openings are about one, in their units
    told = torch.cat([torch.ones_like(along), near, *waves, d, along - 1, opening - 1], dim=4)
    return (fading * told).flatten(3, 4)


def hand_frame(path: Tensor) -> tuple[Tensor, Tensor]:
    """Rotation R_Gn (..., 3, 3) into the hand's frame and its position (..., 3) from the numbers of a path."""
    z = F.normalize(path[..., 3:6], dim=-1)
    y = path[..., 6:9]
    y = F.normalize(y - (y * z).sum(dim=-1, keepdim=True) * z, dim=-1)
    return torch.stack([torch.linalg.cross(y, z), y, z], dim=-2), path[..., :3]
