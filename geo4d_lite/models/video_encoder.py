"""A small video encoder whose features FVD can be measured with, where the I3D of the literature is not at hand.

I3D learned from 400 kinds of human action. Ours learns from the book's own simulation to say, for each of ten frames,
where in the image both grippers are, how far away and how wide open, and which of the tasks it is. A network that says
this well is blind to noise and blur, so it is also shown damaged clips and asks itself how strong the damage is and
whether the frames come in their order. Its features are what it needs to say all that. Distances between sets of them
are called *FVD (lite features)* wherever they appear: they order videos of this scene, and compare with no number from
elsewhere.
"""

import math
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor, nn

from geo4d_lite.data import FUTURE_FRAMES, Dataset, Episode
from geo4d_lite.data.windows import stride
from geo4d_lite.geometry import invert, project
from geo4d_lite.models.device import autocast
from geo4d_lite.models.frames import integer, rgb_input

ARMS = 2
TARGETS = 4  # of an arm in a frame: u and v in image widths and heights, depth in metres, opening in decimetres
DAMAGES = 2  # noise and blur, their strength in [0, 1]
MAX_NOISE, MAX_BLUR_PX = 0.4, 3.0  # standard deviations, of colours in [-1, 1] and of the Gaussian
ORDERS = ("true", "frozen", "shuffled", "reversed")


class VideoEncoder(ModelMixin, ConfigMixin):
    """Ten frames -> a vector of features, by convolutions in space and time.

    Args:
        features: their number.
        tasks: how many tasks the head tells apart; the head is used in training only.
    """

    @register_to_config
    def __init__(self, features: int = 32, tasks: int = 3, width: int = 32):
        super().__init__()
        self.texture = nn.Sequential(
            nn.Conv3d(6, width, (1, 4, 4), stride=(1, 4, 4)),  # (N, 6, T, H, W) -> (N, width, T, H/4, W/4)
            nn.SiLU(),
            nn.Conv3d(width, 2 * width, (1, 2, 2), stride=(1, 2, 2)),
            nn.SiLU(),
        )
        self.body = nn.Sequential(
            nn.Conv3d(2 * width, width, 3, padding=1),
            nn.SiLU(),
            nn.Conv3d(width, 2 * width, 3, stride=(1, 2, 2), padding=1),
            nn.SiLU(),
            nn.Conv3d(2 * width, 2 * width, 3, stride=(2, 2, 2), padding=1),
            nn.SiLU(),
            nn.AdaptiveAvgPool3d((5, 4, 5)),
            nn.Flatten(),
        )
        self.head = nn.Sequential(
            nn.Linear(2 * width * 101, 4 * features), nn.SiLU(), nn.Linear(4 * features, features)
        )
        self.where = nn.Linear(features, FUTURE_FRAMES * ARMS * TARGETS)
        self.which = nn.Linear(features, tasks)
        self.damage = nn.Linear(features, DAMAGES)
        self.order = nn.Linear(features, len(ORDERS))

    def forward(self, videos: Tensor) -> Tensor:
        """Videos (N, T, 3, H, W) in [-1, 1] -> features (N, D).

        Beside its colours every frame shows what changed since the one before: motion is a few pixels, which a network
        that first makes images coarse would lose.
        """
        change = torch.diff(videos, dim=1, prepend=videos[:, :1])
        texture = self.texture(torch.cat([videos, change], dim=2).transpose(1, 2))
        return self.head(torch.cat([self.body(texture), texture.mean(dim=(2, 3, 4))], dim=1))

    @torch.no_grad()
    def encode(self, videos: np.ndarray) -> np.ndarray:
        """Videos (N, T, H, W, 3) uint8 -> features (N, D) float64."""
        clips = torch.stack([rgb_input(video) for video in videos])
        return self(clips).double().numpy()


class ClipSampler:
    """Random clips of the training cameras of training episodes, with what the encoder is to say about them."""

    def __init__(self, dataset: Dataset, max_videos: int = 720):
        available = [
            (episode, camera) for episode in dataset.split("train") for camera in episode.info.cameras("train")
        ]
        count = min(max_videos, len(available))
        chosen = [available[i * len(available) // count] for i in range(count)]
        self.tasks = sorted({episode.info.task for episode in dataset.episodes})
        self.videos = [(episode, episode.read_camera(camera)[0], said(episode, camera)) for episode, camera in chosen]

    def __call__(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """Clips (N, T, 3, H, W), targets (N, T, arms, 4) and task numbers (N,)."""
        clips, targets, tasks = [], [], []
        for _ in range(count):
            episode, rgb, target = self.videos[integer(len(self.videos), generator)]
            start = integer(len(rgb), generator)
            frames = np.minimum(start + stride(episode) * np.arange(FUTURE_FRAMES), len(rgb) - 1)
            clips.append(rgb_input(rgb[frames]))
            targets.append(torch.from_numpy(target[frames]).float())
            tasks.append(self.tasks.index(episode.info.task))
        return torch.stack(clips), torch.stack(targets), torch.tensor(tasks)


def said(episode: Episode, camera: int) -> np.ndarray:
    """What there is to say about every frame that a camera saw: (T, arms, 4), see `TARGETS`."""
    height, width = episode.images["rgb"].shape[2:4]
    X_CG = invert(episode.X_WC[camera]) @ episode.X_WG
    pixels, depth_m = project(X_CG[..., :3, 3], episode.K[camera])
    return np.concatenate([pixels / [width, height], depth_m[..., None], 10 * episode.width_m[..., None]], axis=-1)


def damaged(clips: Tensor, targets: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Clips (N, T, 3, H, W) with noise, blur and the order of frames drawn for each, and the targets in that order.

    Also the strength of the damage (N, 2), half of it zero, and the number of the order (N,), the true one in half.
    """
    strength = torch.rand(len(clips), DAMAGES, generator=generator)
    strength = strength * (torch.rand(strength.shape, generator=generator) < 0.5)
    orders, shown, said_of_shown = [], [], []
    for clip, target, (noise, blur) in zip(clips, targets, strength, strict=True):
        order = integer(len(ORDERS), generator) if integer(2, generator) else 0
        frames = frame_order(ORDERS[order], len(clip), generator)
        clip = gaussian_blur(clip[frames], float(blur) * MAX_BLUR_PX)
        shown.append((clip + MAX_NOISE * noise * torch.randn(clip.shape, generator=generator)).clamp(-1, 1))
        said_of_shown.append(target[frames])
        orders.append(order)
    return torch.stack(shown), torch.stack(said_of_shown), strength, torch.tensor(orders)


def frame_order(kind: str, frames: int, generator: torch.Generator) -> Tensor:
    """Which frame is shown at each time, (frames,), for a kind of `ORDERS`."""
    if kind == "frozen":
        return torch.full((frames,), integer(frames, generator))
    if kind == "shuffled":
        return torch.randperm(frames, generator=generator)
    return torch.arange(frames).flip(0) if kind == "reversed" else torch.arange(frames)


def gaussian_blur(images: Tensor, sigma_px: float) -> Tensor:
    """Images (N, 3, H, W), each colour blurred by a Gaussian; edges repeat."""
    if sigma_px < 0.1:
        return images
    reach = math.ceil(3 * sigma_px)
    kernel = torch.exp(-0.5 * (torch.arange(-reach, reach + 1) / sigma_px) ** 2)
    kernel = (kernel / kernel.sum()).expand(images.shape[1], 1, 1, -1)
    wide = F.pad(images, (reach, reach, reach, reach), mode="replicate")
    return F.conv2d(F.conv2d(wide, kernel, groups=len(kernel)), kernel.transpose(2, 3), groups=len(kernel))


def encoder_loss(draw: Callable, batch: int) -> Callable[[VideoEncoder, torch.Generator], dict[str, Tensor]]:
    """A loss function for `Trainer`: squared errors of places and damages, cross-entropies of task and order."""

    def loss(model: VideoEncoder, generator: torch.Generator) -> dict[str, Tensor]:
        clips, targets, tasks = draw(batch, generator)
        told = (*damaged(clips, targets, generator), tasks)
        clips, targets, strength, order, tasks = (x.to(model.device) for x in told)
        with autocast(model.device.type):
            features = model(clips).float()
        where = F.mse_loss(model.where(features).view_as(targets), targets)
        damage = F.mse_loss(model.damage(features), strength)
        names = F.cross_entropy(model.which(features), tasks) + F.cross_entropy(model.order(features), order)
        parts = {"where": where.detach(), "damage": damage.detach(), "names": names.detach()}
        return {"loss": where + damage + 0.1 * names} | parts

    return loss
