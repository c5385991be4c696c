"""A small ResNet with group norm, and the points in the image that it looks at: the eyes of Diffusion Policy.

Batch norm is at odds with a moving average of the weights, so Diffusion Policy replaces it by group norm; and a mean
over the image forgets where things are, so it replaces that by *spatial softmax*: each of the last maps is read as a
probability of places, and its expected place is the feature (Levine et al., "End-to-End Training of Deep Visuomotor
Policies", JMLR 2016).
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

CHANNELS_A_GROUP = 16


class BasicBlock(nn.Module):
    """Two 3 x 3 convolutions and a way around them; the first one may halve the image."""

    def __init__(self, channels_in: int, channels: int, stride: int):
        super().__init__()
        self.first = nn.Sequential(conv_norm(channels_in, channels, 3, stride), nn.ReLU())
        self.second = conv_norm(channels, channels, 3, 1)
        same = stride == 1 and channels_in == channels
        self.skip = nn.Identity() if same else conv_norm(channels_in, channels, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, channels, H / stride, W / stride)."""
        return F.relu(self.second(self.first(x)) + self.skip(x))


def conv_norm(channels_in: int, channels: int, kernel: int, stride: int) -> nn.Sequential:
    """A convolution without bias, as a group norm with its own follows."""
    return nn.Sequential(
        nn.Conv2d(channels_in, channels, kernel, stride, padding=kernel // 2, bias=False),
        nn.GroupNorm(max(1, channels // CHANNELS_A_GROUP), channels),
    )


class ResNet(nn.Module):
    """Images to maps of features.

    Args:
        widths: channels of each stage; (64, 128, 256, 512) in ResNet18.
        strides: of each stage's first block; (1, 2, 2, 2) in ResNet18. The image is four times smaller before.
        blocks: a stage; 2 in ResNet18.
    """

    def __init__(self, widths: tuple[int, ...], strides: tuple[int, ...], blocks: int):
        super().__init__()
        self.stem = nn.Sequential(conv_norm(3, widths[0], 7, 2), nn.ReLU(), nn.MaxPool2d(3, 2, padding=1))
        stages, channels = [], widths[0]
        for width, stride in zip(widths, strides, strict=True):
            for block in range(blocks):
                stages.append(BasicBlock(channels, width, stride if block == 0 else 1))
                channels = width
        self.stages = nn.Sequential(*stages)

    def forward(self, images: Tensor) -> Tensor:
        """Images (N, 3, H, W) in [-1, 1] -> maps (N, C, h, w)."""
        return self.stages(self.stem(images))


class ViewEncoder(nn.Module):
    """One image to the places of `keypoints` things it has learned to look for.

    Args: `widths`, `strides` and `blocks` of the `ResNet`.
    """

    def __init__(self, widths: tuple[int, ...], strides: tuple[int, ...], blocks: int, keypoints: int = 32):
        super().__init__()
        self.resnet = ResNet(widths, strides, blocks)
        self.to_keypoints = nn.Conv2d(widths[-1], keypoints, 1)
        self.features = 2 * keypoints

    def forward(self, images: Tensor) -> Tensor:
        """Images (N, 3, H, W) in [-1, 1] -> features (N, 2 keypoints): all u, then all v, see `spatial_softmax`."""
        return spatial_softmax(self.to_keypoints(self.resnet(images))).transpose(1, 2).flatten(1)


def spatial_softmax(maps: Tensor) -> Tensor:
    """Expected places (N, K, 2) of maps (N, K, h, w): (u, v), from -1 at the first column or row to 1 at the last."""
    share = maps.flatten(2).softmax(dim=2).view_as(maps)
    u = torch.linspace(-1, 1, maps.shape[3], dtype=maps.dtype, device=maps.device)
    v = torch.linspace(-1, 1, maps.shape[2], dtype=maps.dtype, device=maps.device)
    return torch.stack([share.sum(dim=2) @ u, share.sum(dim=3) @ v], dim=-1)
