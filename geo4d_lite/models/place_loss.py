"""How far off the places are that a film's points tell, as a distance. Ours, a switch.

The first three channels of a lite pointmap's latents are the mean point of each site, divided by their standard
deviation, two to three decimetres. A centimetre is 4% of that, and squared a six-hundredth: beside what the squared
error finds at the edges of things, where a site is half table and half hand, nobody asks for it. A distance grows
evenly, so the last centimetre counts as much as the first.
"""

from torch import Tensor

PLACES = slice(0, 3)  # of a pointmap's channels, see `autoencoders.pinned_channels`
SOFT = 0.04  # about a centimetre; below it a distance counts squared, as no point is that exact


def place_loss(error: Tensor, site_valid: Tensor, gripper: Tensor, strength: float) -> Tensor:
    """Mean distance of each view (2,), in standard deviations of a place; gripper sites count (1 + strength) times.

    error (B, 2, T, c, H, W): of the denoised latents or the draft, RGB channels first, pointmaps behind them.
    site_valid and gripper as for `diffusion.diffusion_loss`.
    """
    of_points = error.shape[3] // 2
    places = error.float()[:, :, :, of_points:][:, :, :, PLACES]
    valid = site_valid.expand_as(error)[:, :, :, of_points : of_points + 1]
    distance = (places.square().sum(dim=3, keepdim=True) + SOFT**2).sqrt() - SOFT
    weight = (1 + strength * gripper) * valid
    dims = (0, 2, 3, 4, 5)
    return (weight * distance).sum(dim=dims) / valid.sum(dim=dims).clamp(min=1)
