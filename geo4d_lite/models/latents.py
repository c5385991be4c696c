"""Episodes as latents, computed once: training the U-Net then never touches a pixel."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from geo4d_lite.data import FUTURE_FRAMES, Dataset, Episode, EpisodeError, WindowSampling, decode_depth
from geo4d_lite.data.windows import PAD_FRAMES, stride
from geo4d_lite.geometry import invert, relative_pose, transform, unproject
from geo4d_lite.geometry.labels import GRIPPER
from geo4d_lite.models.autoencoders import FACTOR, LiteAutoencoder
from geo4d_lite.models.device import autocast
from geo4d_lite.models.frames import pointmap_input, rgb_input
from geo4d_lite.models.hand_rays import sight_lines
from geo4d_lite.models.svd import ImageEncoder, SVDAutoencoder

FRAMES_AT_ONCE = 64
DIRECTION_M = 0.1  # about the length of the fingers


@dataclass(frozen=True)
class LatentBatch:
    """What a training step needs: B windows of one observation and T future frames of an ordered pair of views.

    rgb, pointmap (B, 2, 1 + T, c, h, w): latents, the condition at frame 0; pointmaps of *both* views in n's frame.
    own_m (B, c, h, w): the condition pointmap of view m in its own frame, all that a camera without extrinsics has.
    valid, gripper (B, 2, 1 + T, 1, h, w): share of valid and of gripper pixels in each latent site.
    token (B, 2, 1, D): image token of each view's condition frame; None where the U-Net makes its own.
    path (B, T, 2, 10): how both grippers will stand and how wide open they will be, see `path_in_n`. None where the
    poses are not known.
    rays (B, 2, 6, h, w): each site's line of sight in the frame of n, see `hand_rays`. None as for path.
    """

    rgb: Tensor
    pointmap: Tensor
    own_m: Tensor
    valid: Tensor
    gripper: Tensor
    token: Tensor | None = None
    path: Tensor | None = None
    rays: Tensor | None = None


@torch.no_grad()
def encode_episode(
    episode: Episode,
    split: str,
    rgb_autoencoder: LiteAutoencoder | SVDAutoencoder,
    pointmap_autoencoder: LiteAutoencoder | SVDAutoencoder,
    pairs: int,
    generator: torch.Generator,
    image_encoder: ImageEncoder | None = None,
) -> dict[str, Tensor]:
    """Latents of a split's cameras in their own frames, and of `pairs` random ordered pairs (n, m) moved into n's."""
    cameras = episode.info.cameras(split)
    rgb, own, valid, gripper, points, tokens = [], [], [], [], [], []
    for camera in cameras:
        images, depth, label = episode.read_camera(camera)
        p, ok = unproject(decode_depth(depth), episode.K[camera])
        rgb.append(half_latents(rgb_autoencoder, rgb_input(images)))
        if image_encoder is not None:
            tokens.append(image_encoder(rgb_input(images).to(image_encoder.device)).half().cpu())
        own.append(half_latents(pointmap_autoencoder, pointmap_input(p, ok)))
        valid.append(share_of_site(ok))
        gripper.append(share_of_site(np.isin(label, GRIPPER)))
        points.append((p, ok))
    order = [(n, m) for n in range(len(cameras)) for m in range(len(cameras)) if n != m]
    chosen = [order[i] for i in torch.randperm(len(order), generator=generator)[:pairs]]
    moved = []
    for n, m in chosen:
        X_nm = relative_pose(episode.X_WC[cameras[n]], episode.X_WC[cameras[m]])
        p, ok = points[m]
        moved.append(half_latents(pointmap_autoencoder, pointmap_input(transform(X_nm, p), ok)))
    return {
        **({"token": torch.stack(tokens)} if tokens else {}),  # (C, T, 1, D)
        **poses(episode, split),
        "rgb": torch.stack(rgb),  # (C, T, c, h, w)
        "own": torch.stack(own),
        "moved": torch.stack(moved),  # (pairs, T, c, h, w)
        "pairs": torch.tensor(chosen),
        "valid": torch.stack(valid),  # (C, T, 1, h, w) uint8, 255 = all
        "gripper": torch.stack(gripper),
        "stride": torch.tensor(stride(episode)),
    }


def poses(episode: Episode, split: str) -> dict[str, Tensor]:
    """Of a split's cameras X_CW (C, 4, 4) and K (C, 3, 3), of the grippers X_WG (T, 2, 4, 4), and width_m (T, 2)."""
    cameras = list(episode.info.cameras(split))
    found = {"X_CW": invert(episode.X_WC[cameras]), "K": episode.K[cameras]}
    found |= {"X_WG": episode.X_WG, "width_m": episode.width_m}
    return {name: torch.from_numpy(np.asarray(value)).float() for name, value in found.items()}


def half_latents(autoencoder: LiteAutoencoder | SVDAutoencoder, x: Tensor) -> Tensor:
    """Latents in float16: they have unit variance, and half the bytes keep a data set in memory."""
    device = autoencoder.device
    with autocast(device.type, autoencoder.dtype):
        latents = torch.cat([autoencoder.encode(part.to(device)) for part in x.split(FRAMES_AT_ONCE)])
    return latents.half().cpu().contiguous()


def share_of_site(mask: np.ndarray) -> Tensor:
    """Masks (T, H, W) -> share of each 8x8 cell (T, 1, h, w) as uint8 in 1/255."""
    return (F.avg_pool2d(torch.from_numpy(mask).float()[:, None], FACTOR) * 255).round().byte()


def _start_weights(sampling: WindowSampling, episode: Episode, path: Path, latents: dict[str, Tensor]) -> Tensor:
    """Probabilities (starts,) of an episode, once its latents are known to be its own."""
    frames = latents["rgb"].shape[1]
    if frames != episode.frames:
        raise EpisodeError(
            f"{path} holds latents of {frames} frames, {episode.name} has {episode.frames}; delete {path.parent}, "
            "and they are computed again"
        )
    weights = sampling.start_weights(episode)
    return torch.from_numpy(weights) if len(weights) else torch.ones(1)  # a short episode has one window, repeated


def _check_made_from(path: Path, made_from: dict[str, str]) -> None:
    """Raise EpisodeError unless the latents in `path` are of that episode and those autoencoders."""
    with safe_open(path, "pt") as file:
        found = file.metadata() or made_from  # none in folders filled earlier
    if found != made_from:
        other = " and of other ".join(name for name in made_from if found.get(name) != made_from[name])
        raise EpisodeError(f"{path} holds latents of other {other}; delete {path.parent}, and they are computed again")


def weights_hash(*models: torch.nn.Module) -> str:
    """A short hash of all weights."""
    hashed = hashlib.sha256()
    for model in models:
        for name, tensor in model.state_dict().items():
            hashed.update(name.encode() + tensor.detach().float().cpu().numpy().tobytes())
    return hashed.hexdigest()[:16]


class LatentSet:
    """All windows of a split as latents, from a folder that is filled the first time.

    start_weights: for each episode how probably a window starts at each of its first frames, (starts,); None: evenly.
    """

    def __init__(self, episodes: list[dict[str, Tensor]], start_weights: list[Tensor] | None = None):
        self.start_weights = start_weights
        self.tables = {name: Table([e[name] for e in episodes]) for name in episodes[0] if name != "stride"}
        self.stride, self.last = (
            torch.tensor(x) for x in zip(*((int(e["stride"]), e["rgb"].shape[1] - 1) for e in episodes), strict=True)
        )
        if start_weights is None:
            starts = (self.last + 1 - self.stride * (FUTURE_FRAMES - PAD_FRAMES)).clamp(min=1)
            start_weights = [torch.ones(int(count)) for count in starts]
        self.start_table = pad_sequence(start_weights, batch_first=True)  # 0 where an episode has no such start
        parts = zip(*(table.parts for table in self.tables.values()), strict=True)
        self.episodes = [
            {**dict(zip(self.tables, part, strict=True)), "stride": e["stride"]}
            for part, e in zip(parts, episodes, strict=True)
        ]

    @classmethod
    def build(
        cls,
        dataset: Dataset,
        split: str,
        rgb_autoencoder: LiteAutoencoder | SVDAutoencoder,
        pointmap_autoencoder: LiteAutoencoder | SVDAutoencoder,
        folder: Path,
        pairs: int = 20,
        report=None,
        sampling: WindowSampling = WindowSampling(),  # noqa: B008 (frozen)
        image_encoder: ImageEncoder | None = None,
    ) -> "LatentSet":
        """Encode every episode of the split, keeping those already in `folder` (one safetensors file each).

        How often a window is drawn, `sampling`, is taken from the data set's own poses and phases, so folders filled
        earlier serve as well. Raises EpisodeError where a file holds latents of another episode than the data set's, or
        of other autoencoders.
        """
        folder.mkdir(parents=True, exist_ok=True)
        episodes, start_weights = [], []
        wanted, autoencoders = dataset.split(split), weights_hash(rgb_autoencoder, pointmap_autoencoder)
        for i, episode in enumerate(wanted):
            place = episode.path.relative_to(dataset.root).with_suffix("")  # episode_0, or task/episode_0
            path = folder / f"{'_'.join((split, *place.parts))}.safetensors"
            made_from = {"episode": episode.images.attrs.get("content_hash", ""), "autoencoders": autoencoders}
            if not path.exists():
                generator = torch.Generator().manual_seed(i)
                encoded = encode_episode(
                    episode, split, rgb_autoencoder, pointmap_autoencoder, pairs, generator, image_encoder
                )
                save_file(encoded, path.with_suffix(".unfinished"), made_from)
                path.with_suffix(".unfinished").rename(path)
                if report:
                    report(f"latents of episode {i + 1} of {len(wanted)}")
            _check_made_from(path, made_from)
            episodes.append(load_file(path) | poses(episode, split))  # folders filled earlier lack the poses
            start_weights.append(_start_weights(sampling, episode, path, episodes[-1]))
        return cls(episodes, start_weights)

    def to(self, device: torch.device | str) -> "LatentSet":
        """The same windows with their latents on a device; what is drawn from stays where numbers are drawn."""
        stays = ("pairs", "stride")
        moved = [{k: v if k in stays else v.to(device) for k, v in episode.items()} for episode in self.episodes]
        return LatentSet(moved, self.start_weights)

    def batch(self, count: int, generator: torch.Generator, films: bool = True) -> LatentBatch:
        """`count` random windows: an episode uniformly, a start by its weight, an ordered pair of views uniformly."""
        return self.windows(self.draw(count, generator), films)

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """Numbers (episode, start, pair) of `count` random windows, (count, 3), which `windows` takes."""
        e = torch.randint(len(self.episodes), (count,), generator=generator)
        start = torch.multinomial(self.start_table[e], 1, generator=generator).squeeze(1)
        pairs = torch.tensor([len(episode["pairs"]) for episode in self.episodes])[e]
        return torch.stack([e, start, (torch.rand(count, generator=generator) * pairs).long()], dim=1)

    def windows(self, which: Tensor | list[tuple[int, int, int]], films: bool = True) -> LatentBatch:
        """The windows (episode, start, pair) given by their numbers; without `films` what is observed (T = 0), and the
        path of all the future frames."""
        tables = self.tables
        e, start, pair = torch.as_tensor(which).T[..., None]  # (B, 1) each
        frames = (start + self.stride[e] * torch.arange(1 + FUTURE_FRAMES)).minimum(self.last[e])  # (B, 1 + T)
        shown = frames if films else frames[:, :1]
        both = tables["pairs"][e, pair].squeeze(1).to(e.device)  # (B, 2)
        of_views = e[..., None], both[..., None], shown[:, None]
        rgb, own, valid, gripper = (tables[name][of_views].float() for name in ("rgb", "own", "valid", "gripper"))
        rays = path = None
        if "K" in tables:
            X_CW, K = tables["X_CW"][e, both], tables["K"][e, both]  # (B, 2, …)
            X_nm = X_CW[:, 0] @ torch.linalg.inv(X_CW[:, 1])
            rays = sight_lines(K, torch.stack([torch.eye(4).to(X_nm).expand_as(X_nm), X_nm], dim=1), *rgb.shape[-2:])
        if "X_WG" in tables:
            path = path_in_n(X_CW[:, 0], *(tables[name][e, frames[:, 1:]] for name in ("X_WG", "width_m")))
        return LatentBatch(
            rgb=rgb,
            pointmap=torch.stack([own[:, 0], tables["moved"][e, pair, shown].float()], dim=1),
            own_m=own[:, 1, 0],
            valid=valid / 255,
            gripper=gripper / 255,
            token=tables["token"][e, both, start].float() if "token" in tables else None,
            path=path,
            rays=rays,
        )


class Table:
    """One tensor of every episode, all behind each other, so that a whole batch is read at once; `parts` are views.

    table[e, i] or table[e, i, t]: of episodes e the entries i, and t of the next dimension; index tensors broadcast.
    """

    def __init__(self, tensors: list[Tensor]):
        self.data = torch.cat([x.flatten() for x in tensors])
        sizes = [x.numel() for x in tensors]
        self.parts = [part.view_as(x) for part, x in zip(self.data.split(sizes), tensors, strict=True)]
        self.starts = torch.tensor([0, *sizes[:-1]]).cumsum(0)
        self.lengths = torch.tensor([x.shape[1] if x.ndim > 1 else 1 for x in tensors])
        self.shape = tensors[0].shape

    def __getitem__(self, index: tuple[Tensor, ...]) -> Tensor:
        e, i, *t = index
        of_entry = self.shape[1:] if not t else self.shape[2:]
        size = of_entry.numel()
        row = self.starts[e] // size + (i * self.lengths[e] + t[0] if t else i)
        return self.data.view(-1, *of_entry)[row.to(self.data.device)]


def path_in_n(X_CW: Tensor, X_WG: Tensor, width_m: Tensor) -> Tensor:
    """Both grippers seen from camera n: X_CW (B, 4, 4), X_WG (B, T, 2, 4, 4), width_m (B, T, 2) -> (B, T, 2, 10).

    Position x, y, z in metres; the directions in which the fingers point and close, of length `DIRECTION_M`; the
    opening in decimetres. So an error of each number matters about as much.
    """
    X_CG = X_CW[:, None, None] @ X_WG
    directions = DIRECTION_M * torch.cat([X_CG[..., :3, 2], X_CG[..., :3, 1]], dim=-1)
    return torch.cat([X_CG[..., :3, 3], directions, 10 * width_m[..., None]], dim=-1)
