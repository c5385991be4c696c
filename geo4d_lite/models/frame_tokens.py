"""Frame tokens: what the latest observation says about each future frame. Ours, a switch of the best recipe.

The paper gives the U-Net one vector that says what the image shows, CLIP's image token, the same for all frames. Ours
gives one vector a frame, made from the condition latents by a few convolutions that do not forget *where* things are,
and an auxiliary loss asks each of them where both grippers will be in its frame. The film is still drawn by the
diffusion; but its frames no longer have to find out from pixels alone what time it is and where the motion leads.
"""

import torch.nn.functional as F
from torch import Tensor, nn

from geo4d_lite.data import FUTURE_FRAMES

ARMS = 2
COORDINATES = 4  # of a gripper: x, y, z in metres in the frame of n, opening in decimetres
TOLERANCE = 0.05  # below 5 cm the error counts squared, above it by its size


class FrameTokens(nn.Module):
    """Condition latents of a view -> one token for each future frame.

    Args:
        channels: of the condition latents, all modalities.
        token_dim: D, the width of the U-Net's context.
        embedding_dim: width of the U-Net's embedding of the noise level, to which `embed` adds.
    """

    def __init__(self, channels: int, token_dim: int, embedding_dim: int, width: int = 64, frames: int = FUTURE_FRAMES):
        super().__init__()
        self.frames = frames
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
        self.where = nn.Linear(token_dim, ARMS * COORDINATES)
        self.embed = nn.Linear(token_dim, embedding_dim)

    def forward(self, condition: Tensor) -> Tensor:
        """(B, 2, c, H, W) condition latents of both views -> tokens (B, 2, T, D). No view sees the other one."""
        batch = len(condition)
        return self.trunk(condition.flatten(0, 1)).view(batch, 2, self.frames, -1)

    def path_loss(self, tokens: Tensor, path: Tensor) -> Tensor:
        """How wrong the tokens (B, 2, T, D) are about the grippers' path (B, T, arms, 4) in the frame of n."""
        said = self.where(tokens).float().unflatten(-1, (ARMS, COORDINATES))
        return F.smooth_l1_loss(said, path[:, None].expand_as(said), beta=TOLERANCE)
