"""Frame tokens: what the latest observation says about each future frame. Ours, a switch of the best recipe.

The paper gives the U-Net one vector that says what the image shows, CLIP's image token, the same for all frames. Ours
gives one vector a frame, made from the condition latents by a few convolutions that do not forget *where* things are,
and an auxiliary loss asks each of them how both grippers will stand in its frame. That is learned first, alone, in
minutes. The film is still drawn by the diffusion; but its frames no longer have to find out from pixels alone what time
it is and where the motion leads.

A vector acts alike on every site of a frame, and where the gripper will be is a matter of sites. So each token speaks
to the U-Net in three ways: added to the embedding of the noise level; as several context tokens, between which the
sites choose by attention; and as maps, the products of the token with what convolutions make of each observed site.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from geo4d_lite.data import FUTURE_FRAMES
from geo4d_lite.models.draft import Draft
from geo4d_lite.models.hand_image import IMAGE_CHANNELS, hand_image
from geo4d_lite.models.hand_paste import HandPaste
from geo4d_lite.models.hand_rays import HAND_CHANNELS, hand_coordinates

ARMS = 2
COORDINATES = 10  # of a gripper: position, two directions, opening, see `latents.path_in_n`
TOLERANCE = 0.05  # below 5 cm the error counts squared, above it by its size
KEY_DIM = 16  # of the product that makes a map
HAND_MAPS = 16  # what `hands` makes of the image of the grippers
FREQUENCIES = (1, 2, 4)  # half waves across the image, by which a site knows its place


class FrameTokens(nn.Module):
    """Condition latents of a view -> one token for each future frame.

    Args:
        channels: of the condition latents, all modalities.
        token_dim: D, the width of the U-Net's context.
        embedding_dim: width of the U-Net's embedding of the noise level, to which `embed` adds.
        context_tokens: how many tokens `context` makes of each. maps: how many `look` makes. draft: have a `drafter`.
        views_agree: each view's tokens learn from the other's. Off: no view sees the other one.
        hand_rays: the drafter is told what each site's line of sight is to the hands; lines of sight are then expected
            behind the latents' channels.
        hand_image: the drafter is also shown what the sites see of the grippers' boxes, see `hand_image`; and `hands`
            makes maps of it for the U-Net. Needs draft and hand_rays.
    """

    def __init__(
        self,
        channels: int,
        token_dim: int,
        embedding_dim: int,
        context_tokens: int = 1,
        maps: int = 0,
        draft: bool = False,
        views_agree: bool = False,
        hand_rays: bool = False,
        hand_image: bool = False,
        width: int = 64,
        frames: int = FUTURE_FRAMES,
    ):
        super().__init__()
        if hand_image and not (draft and hand_rays):
            raise ValueError("hand_image casts the lines of sight that hand_rays tells a draft; it needs both")
        self.channels, self.frames, self.context_tokens, self.maps = channels, frames, context_tokens, maps
        self.trunk = nn.Sequential(
            nn.Conv2d(channels, width, 3, padding=1),
            nn.SiLU(),
            nn.Conv2d(width, width, 3, stride=2, padding=1),
            nn.SiLU(),
            nn.Conv2d(width, 3 * width // 2, 3, stride=2, padding=1),
            nn.SiLU(),
            nn.AdaptiveAvgPool2d((4, 5)),  # the lite latents' own size here: nothing is averaged away
            nn.Flatten(),
            nn.Linear(20 * 3 * width // 2, 4 * width),
            nn.SiLU(),
            nn.Linear(4 * width, frames * token_dim),
        )
        self.agree = nn.Linear(token_dim, token_dim, bias=False) if views_agree else None
        if self.agree is not None:
            nn.init.zeros_(self.agree.weight)
        self.where = nn.Linear(token_dim, ARMS * COORDINATES)
        self.embed = nn.Linear(token_dim, embedding_dim)
        self.spread = nn.Linear(token_dim, context_tokens * token_dim) if context_tokens > 1 else None
        site_channels = channels + 4 * len(FREQUENCIES)
        if maps:
            self.query = nn.Linear(token_dim, maps * KEY_DIM)
            self.key = nn.Sequential(
                nn.Conv2d(site_channels, width, 3, padding=1),
                nn.SiLU(),
                nn.Conv2d(width, maps * KEY_DIM, 1),
            )

        hand_channels = ARMS * HAND_CHANNELS * hand_rays + IMAGE_CHANNELS * hand_image
        self.drafter = Draft(channels, site_channels, token_dim, hand_channels) if draft else None
        self.hands = self.paste = None
        if hand_image:
            self.paste = HandPaste()
            self.hands = nn.Sequential(
                nn.Conv2d(IMAGE_CHANNELS, width, 1), nn.SiLU(), nn.Conv2d(width, HAND_MAPS, 3, padding=1)
            )

    def forward(self, condition: Tensor) -> Tensor:
        """(B, 2, c, H, W) condition latents of both views -> tokens (B, 2, T, D).

        Each view makes its own and then moves towards the other's, in the directions that `agree` lets through: two
        views that are wrong in different ways are less wrong together.
        """
        own = self.trunk(condition[:, :, : self.channels].flatten(0, 1)).view(len(condition), 2, self.frames, -1)
        return own if self.agree is None else own + self.agree(own.flip(1) - own)

    def context(self, tokens: Tensor) -> Tensor:
        """Tokens (N, D) -> the U-Net's context (N, context_tokens, D)."""
        return tokens[:, None] if self.spread is None else self.spread(tokens).unflatten(1, (self.context_tokens, -1))

    def look(self, tokens: Tensor, condition: Tensor) -> Tensor:
        """Where each token finds itself: (B, 2, T, D) and condition (B, 2, c, H, W) -> (B, 2, T, maps, H, W)."""
        sites = with_places(condition[:, :, : self.channels])
        keys = self.key(sites).unflatten(1, (self.maps, KEY_DIM))  # (2 B, maps, k, H, W)
        queries = self.query(tokens.flatten(0, 1)).unflatten(-1, (self.maps, KEY_DIM))  # (2 B, T, maps, k)
        maps = torch.einsum("btmk,bmks->btms", queries, keys.flatten(3)) / math.sqrt(KEY_DIM)
        return maps.unflatten(-1, condition.shape[-2:]).unflatten(0, condition.shape[:2])

    def draft(self, tokens: Tensor, condition: Tensor, path: Tensor | None = None) -> Tensor:
        """The film to expect: (B, 2, T, D) and condition (B, 2, c, H, W) -> (B, 2, T, c, H, W), see `draft.Draft`."""
        return self.draft_and_hands(tokens, condition, path)[0]

    def draft_and_hands(
        self, tokens: Tensor, condition: Tensor, path: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """The draft, and maps of the grippers (B, 2, T, HAND_MAPS, H, W) for the U-Net; None without hand_image.

        path (B, T, arms, 10): the path along which to draw the hands, the true one in training; without it, and where
        it is NaN, the one that the tokens say; if the views agree, the mean of theirs, so that both show one motion.
        """
        observed, image = condition[:, :, : self.channels], None
        sites, hand, maps = with_places(observed), None, None
        if self.drafter.hand is not None:
            said = self.said(tokens).detach()
            if self.agree is not None:
                said = said.mean(dim=1, keepdim=True).expand_as(said)
            if path is not None:
                path = path[:, None].expand_as(said)
                said = torch.where(path.isnan(), said, path)
            rays = condition[:, :, self.channels :].float()
            with torch.autocast(rays.device.type, enabled=False):  # as in `said`: bfloat16 is too coarse for geometry
                hand = hand_coordinates(said, rays)
                image = None if self.hands is None else hand_image(said, rays)
            if image is not None:
                hand = torch.cat([hand, image], dim=3)
                maps = self.hands(image.flatten(0, 2)).unflatten(0, image.shape[:3])
            hand = hand.flatten(0, 1)
        drawn = self.drafter(tokens.flatten(0, 1), sites, hand).unflatten(0, condition.shape[:2])
        return (drawn if image is None else self.paste(drawn, observed, image)), maps

    def said(self, tokens: Tensor) -> Tensor:
        """Where tokens (B, 2, T, D) say that both grippers will stand, (B, 2, T, arms, 10) in the frame of n.

        In full precision: of a metre, bfloat16 tells centimetres at best.
        """
        with torch.autocast(tokens.device.type, enabled=False):
            told = F.linear(tokens.float(), self.where.weight.float(), self.where.bias.float())
        return told.unflatten(-1, (ARMS, COORDINATES))

    def path_loss(self, tokens: Tensor, path: Tensor) -> Tensor:
        """How wrong the tokens (B, 2, T, D) are about the grippers' path (B, T, arms, 10) in the frame of n.

        What was not recorded is NaN there; it counts as said right.
        """
        said = self.said(tokens)
        path = path[:, None].expand_as(said)
        return F.smooth_l1_loss(said, torch.where(path.isnan(), said.detach(), path), beta=TOLERANCE)


class ImageToken(nn.Module):
    """Lite stand-in for the CLIP image token: condition latents -> one token, (N, c, H, W) -> (N, 1, D)."""

    def __init__(self, latent_channels: int, context_dim: int):
        super().__init__()
        self.latent_channels = latent_channels
        self.layers = nn.Sequential(
            nn.Conv2d(latent_channels, context_dim, 3, stride=2, padding=1),
            nn.SiLU(),
            nn.Conv2d(context_dim, context_dim, 3, stride=2, padding=1),
            nn.SiLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(context_dim, context_dim),
        )

    def forward(self, condition: Tensor) -> Tensor:
        return self.layers(condition[:, : self.latent_channels])[:, None]


def with_places(condition: Tensor) -> Tensor:
    """Condition latents (B, 2, c, H, W), and behind each site's channels the waves that tell its place, (2 B, …)."""
    sites = condition.flatten(0, 1)
    places = site_waves(*condition.shape[-2:]).to(sites)
    return torch.cat([sites, places.expand(len(sites), -1, -1, -1)], dim=1)


def site_waves(height: int, width: int) -> Tensor:
    """Sines and cosines of each site's column and row, (4 len(FREQUENCIES), height, width)."""
    v, u = torch.meshgrid(torch.linspace(-1, 1, height), torch.linspace(-1, 1, width), indexing="ij")
    phases = [math.pi / 2 * frequency * x for x in (u, v) for frequency in FREQUENCIES]
    return torch.stack([wave(phase) for phase in phases for wave in (torch.sin, torch.cos)])
