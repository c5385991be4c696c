"""A first draft of the film: what is to be expected, drawn without any noise by a few convolutions. Ours, a switch.

At high noise a denoiser can say no more than the mean of all films that may follow. That is plain regression, and a
network more than ten times cheaper than the U-Net learns it in a quarter of the time. It is trained alone first, by its
squared error, after the frame tokens that it is drawn from; the U-Net then is given its draft, and has to say only what
is different. (Regression first, diffusion for the rest: CorrDiff, Mardani et al. 2025, does so for weather.)
"""

from torch import Tensor, nn

from geo4d_lite.models.diffusion import c_out


class Draft(nn.Module):
    """Frame tokens and observed sites -> change of the latents since the last frame, for every frame of one view.

    Args:
        channels: of the latents. site_channels: of what is known of each observed site. token_dim: of a frame's token.
        hand_channels: of what each site is to the hands in each frame, see `hand_rays` and `hand_image`; 0 for none.
    """

    def __init__(self, channels: int, site_channels: int, token_dim: int, hand_channels: int = 0, width: int = 64):
        super().__init__()
        self.site = nn.Sequential(
            nn.Conv2d(site_channels, width, 3, padding=1), nn.SiLU(), nn.Conv2d(width, width, 3, padding=1)
        )
        self.modulate = nn.Linear(token_dim, 2 * width)
        self.hand = None
        if hand_channels:
            self.hand = nn.Sequential(
                nn.Conv2d(hand_channels, width, 1),
                nn.SiLU(),
                nn.Conv2d(width, width, 1),
                nn.SiLU(),
                nn.Conv2d(width, width, 1),
            )
        self.draw = nn.Sequential(
            nn.SiLU(),
            nn.Conv2d(width, width, 3, padding=1),
            nn.SiLU(),
            nn.Conv2d(width, width, 3, padding=2, dilation=2),
            nn.SiLU(),
            nn.Conv2d(width, channels, 3, padding=1),
        )

    def forward(self, tokens: Tensor, sites: Tensor, hand: Tensor | None = None) -> Tensor:
        """(N, T, D), (N, site_channels, H, W) and (N, T, hand_channels, H, W) -> (N, T, channels, H, W)."""
        scale, shift = self.modulate(tokens)[..., None, None].chunk(2, dim=2)  # (N, T, width, 1, 1)
        h = (self.site(sites)[:, None] * (1 + scale) + shift).flatten(0, 1)
        if self.hand is not None:
            h = h + self.hand(hand.flatten(0, 1))
        return self.draw(h).unflatten(0, tokens.shape[:2])


def with_draft(f: Tensor, draft: Tensor, c_noise: Tensor) -> Tensor:
    """The F whose denoised latents expect the draft: D = c_skip z + (1 - c_skip) draft + c_out F.

    Before F says anything, this is the posterior mean of latents of unit variance about the draft. Solved for the F of
    D = c_skip z + c_out F it adds c_out draft, since (1 - c_skip) / c_out = c_out. f and draft (B, 2, T, c, H, W).
    """
    sigma = (4 * c_noise.float()).exp().view(-1, 1, 1, 1, 1, 1)
    return f.float() + c_out(sigma) * draft.float()


def draft_loss(draft: Tensor, clean: Tensor, site_valid: Tensor, gripper: Tensor, strength: float) -> Tensor:
    """Mean squared error of a draft over valid sites, those of a gripper (1 + strength) times; shapes as for
    `diffusion.diffusion_loss`."""
    weight = (1 + strength * gripper) * site_valid
    total = site_valid.expand_as(draft).sum().clamp(min=1)
    return (weight * (draft.float() - clean) ** 2).sum() / total
