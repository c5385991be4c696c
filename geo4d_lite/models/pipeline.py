"""From two RGB-D images to a 4D video: encode, sample, decode. No camera pose goes in."""

import json
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from diffusers import EulerDiscreteScheduler

from geo4d_lite.data import FUTURE_FRAMES
from geo4d_lite.geometry import RGBD, registration, transform, unproject
from geo4d_lite.models.attention import suit_attention
from geo4d_lite.models.autoencoders import FACTOR, LiteAutoencoder
from geo4d_lite.models.device import autocast
from geo4d_lite.models.diffusion import make_scheduler, sample
from geo4d_lite.models.frames import pointmap_input, pointmap_output, rgb_input, rgb_output
from geo4d_lite.models.hand_rays import sight_lines
from geo4d_lite.models.path_model import PathModel
from geo4d_lite.models.recipe import Recipe, base_latents, condition_latents, from_change
from geo4d_lite.models.svd import ImageEncoder, SVDAutoencoder
from geo4d_lite.models.unet import DualBranchUNet

AUTOENCODERS = (LiteAutoencoder, SVDAutoencoder)


@dataclass(frozen=True, eq=False)
class Video4D:
    """Ten future frames of two views; axis 0 is the view (n, m).

    rgb (2, T, H, W, 3) uint8 · pointmap (2, T, H, W, 3) float32 metres, *both views in the camera frame of n*, 0 where
    invalid · valid (2, T, H, W) bool · path (T, arms, 10): along which the hands were to be drawn, in the frame of n,
    see `latents.path_in_n`; None where the frame tokens told it.
    """

    rgb: np.ndarray
    pointmap: np.ndarray
    valid: np.ndarray
    path: np.ndarray | None = None


class Geo4DPipeline:
    """The trained parts together: two autoencoders, the U-Net, the sampler, and the recipe they were trained by.

    At paper scale an image encoder as well, whose token is the U-Net's context; the lite U-Net makes its own. With a
    path model the hands are drawn along the path that it reads from the two views' points, instead of the one that the
    frame tokens tell; where it finds no table, the tokens tell it. The recipe must have `hand_rays`.
    """

    PARTS = {
        "rgb_autoencoder": AUTOENCODERS,
        "pointmap_autoencoder": AUTOENCODERS,
        "unet": (DualBranchUNet,),
        "image_encoder": (ImageEncoder,),
        "path_model": (PathModel,),
    }
    OPTIONAL = ("image_encoder", "path_model")

    def __init__(
        self,
        rgb_autoencoder: LiteAutoencoder | SVDAutoencoder,
        pointmap_autoencoder: LiteAutoencoder | SVDAutoencoder,
        unet: DualBranchUNet,
        scheduler: EulerDiscreteScheduler | None = None,
        recipe: Recipe | None = None,
        image_encoder: ImageEncoder | None = None,
        path_model: PathModel | None = None,
    ):
        self.rgb_autoencoder, self.pointmap_autoencoder = rgb_autoencoder.eval(), pointmap_autoencoder.eval()
        self.unet = unet.eval()
        self.image_encoder = image_encoder if image_encoder is None else image_encoder.eval()
        self.scheduler = scheduler or make_scheduler()
        self.recipe = recipe or Recipe()
        if path_model is not None and not self.recipe.hand_rays:
            raise ValueError("a path model tells the draft where to draw the hands; the recipe needs hand_rays")
        self.path_model = path_model if path_model is None else path_model.eval()
        suit_attention(self.unet)

    @property
    def parts(self) -> dict[str, torch.nn.Module]:
        """The networks by name."""
        return {name: part for name in self.PARTS if (part := getattr(self, name)) is not None}

    @property
    def device(self) -> torch.device:
        """Where the networks are."""
        return self.unet.device

    def to(self, device: torch.device | str, dtype: torch.dtype | None = None) -> "Geo4DPipeline":
        """Move the networks; with torch.bfloat16 they take half the memory.

        The path model stays where it is, in float32: it is small, and of a metre bfloat16 tells centimetres at best.
        """
        for name, part in self.parts.items():
            if name != "path_model":
                setattr(self, name, part.to(device, dtype))
        suit_attention(self.unet)
        return self

    @classmethod
    def from_pretrained(cls, path_or_hub_id: str | Path) -> "Geo4DPipeline":
        """Load a folder written by `save_pretrained`, or a repository of the Hugging Face Hub of the same layout.

        Raises FileNotFoundError if it is neither, ValueError if a part is missing or its weights do not fit.
        """
        folder = Path(path_or_hub_id)
        if not folder.is_dir():
            folder = _download(str(path_or_hub_id))
        required = ["recipe.json", *(name for name in cls.PARTS if name not in cls.OPTIONAL)]
        missing = [name for name in required if not (folder / name).exists()]
        if missing:
            raise ValueError(f"{folder} has no {', '.join(missing)}; expected a folder written by save_pretrained")
        present = {name: kinds for name, kinds in cls.PARTS.items() if (folder / name).exists()}
        parts = {name: load_part(kinds, folder / name) for name, kinds in present.items()}
        recipe = json.loads((folder / "recipe.json").read_text())
        return cls(**parts, recipe=Recipe(**recipe | {"modalities": tuple(recipe["modalities"])}))

    @classmethod
    def from_svd(cls, path_or_hub_id: str | Path, recipe: Recipe | None = None, **switches) -> "Geo4DPipeline":
        """Everything as it stands before training at paper scale: all parts from a Stable Video Diffusion checkpoint.

        `switches`: of `DualBranchUNet.from_svd`. The pointmap autoencoder is SVD's own, which has seen only colours,
        and the U-Net knows nothing of pointmaps: `geo4d train --preset paper` trains both.
        """
        recipe = recipe or Recipe()
        rgb, pointmap = (SVDAutoencoder.from_svd(path_or_hub_id, kind) for kind in ("rgb", "pointmap"))
        unet = DualBranchUNet.from_svd(
            path_or_hub_id, modalities=recipe.modalities, scaling_factor=rgb.scale, **switches
        )
        return cls(rgb, pointmap, unet, recipe=recipe, image_encoder=ImageEncoder.from_svd(path_or_hub_id))

    def with_path_model(self, folder: str | Path) -> "Geo4DPipeline":
        """The same parts and the path model in `folder`, written by `data_scripts.train_path`.

        Raises ValueError where the folder holds no such weights.
        """
        path_model = load_part(self.PARTS["path_model"], Path(folder))
        return Geo4DPipeline(**self.parts | {"path_model": path_model}, scheduler=self.scheduler, recipe=self.recipe)

    def save_pretrained(self, folder: str | Path) -> None:
        """Write every part into its own sub-folder: config.json and safetensors, in the precision the parts have."""
        folder = Path(folder)
        for name, part in self.parts.items():
            part.save_pretrained(folder / name)
        (folder / "recipe.json").write_text(json.dumps(asdict(self.recipe), indent=2) + "\n")

    @torch.no_grad()
    def __call__(
        self,
        view_n: RGBD,
        view_m: RGBD,
        num_inference_steps: int = 25,
        generator: torch.Generator | None = None,
        path: np.ndarray | None = None,
    ) -> Video4D:
        """Imagine the ten frames after the observation of two cameras of unknown pose.

        Args:
            view_n, view_m: reference and second view, equally large, sides divisible by 32. Pointmaps come out in the
                frame of `view_n`'s camera.
            num_inference_steps: sampler steps; 25 in the paper.
            generator: seed of the noise, `torch.Generator().manual_seed(0)` for a result that can be repeated.
            path: (T, arms, 10) along which to draw the hands, instead of the one that the path model reads. Raises
                ValueError where the recipe has no `hand_rays`.
        """
        if path is not None and not self.recipe.hand_rays:
            raise ValueError("only a recipe with hand_rays draws hands along a path")
        rgb, points, valid = _stack(view_n, view_m)
        X_nm = registration.register_views(view_n, view_m).X_nm if self.recipe.register_m else None
        unet = self.unet
        if path is None and self.path_model is not None:
            read = self.path_model.predict(view_n, view_m, X_nm)
            path = None if read is None else read[0].numpy()
        if path is not None:
            unet = partial(unet, path=self._to_device(torch.from_numpy(path).float()[None]))
        with autocast(self.device.type, self.unet.dtype):
            condition = self.encode((view_n.K, view_m.K), X_nm, rgb, points, valid)
            base = base_latents(condition, self.recipe)
            token = None if self.image_encoder is None else self.image_encoder(self._to_device(rgb_input(rgb)))[None]
            generated = sample(
                unet,
                self.scheduler,
                condition,
                FUTURE_FRAMES,
                num_inference_steps,
                generator,
                token,
                base.shape[3],
            )
            video = self.decode(from_change(generated, base, self.recipe)[0])
        return replace(video, path=path)

    @torch.no_grad()
    def reconstruct(self, rgb: np.ndarray, pointmap: np.ndarray, valid: np.ndarray) -> Video4D:
        """Encode and decode a video (arrays as in `Video4D`): what the autoencoders alone leave of it."""
        frames = rgb.shape[1]
        with autocast(self.device.type, self.unet.dtype):
            latents = self.rgb_autoencoder.encode(self._to_device(rgb_input(rgb.reshape(-1, *rgb.shape[2:]))))
            if "pointmap" in self.recipe.modalities:
                flat = pointmap_input(pointmap.reshape(-1, *pointmap.shape[2:]), valid.reshape(-1, *valid.shape[2:]))
                latents = torch.cat([latents, self.pointmap_autoencoder.encode(self._to_device(flat))], dim=1)
            return self.decode(latents.unflatten(0, (2, frames)))

    def encode(
        self,
        K: tuple[np.ndarray, np.ndarray],
        X_nm: np.ndarray | None,
        rgb: np.ndarray,
        points: np.ndarray,
        valid: np.ndarray,
    ) -> torch.Tensor:
        """Condition latents (1, 2, c, h, w) of two observations; `points` (2, H, W, 3) each in its own frame.

        X_nm (4, 4): the registered pose of camera m, for a recipe that registers. Then behind the latents each site's
        line of sight, by the intrinsics K.
        """
        rgb_latents = self.rgb_autoencoder.encode(self._to_device(rgb_input(rgb)))[None]
        own = self.pointmap_autoencoder.encode(self._to_device(pointmap_input(points, valid)))
        moved = rays = None
        if X_nm is not None:
            moved = self.pointmap_autoencoder.encode(
                self._to_device(pointmap_input(transform(X_nm, points[1:]), valid[1:]))
            )
            cameras = zip(K, (np.eye(4), X_nm), strict=True)
            of_camera = [[torch.from_numpy(np.asarray(x, np.float32)) for x in camera] for camera in cameras]
            rays = torch.stack([sight_lines(K, X, *own.shape[-2:]) for K, X in of_camera])[None]
        return condition_latents(rgb_latents, own[:1], own[1:], moved, self.recipe, rays)

    def decode(self, latents: torch.Tensor) -> Video4D:
        """Latents (2, T, c, h, w) -> video. Without the pointmap modality, points are 0 and invalid everywhere."""
        frames, half = latents.shape[1], self.rgb_autoencoder.latent_channels
        flat = latents.flatten(0, 1)
        rgb = rgb_output(self.rgb_autoencoder.decode(flat[:, :half], frames).cpu())
        if "pointmap" in self.recipe.modalities:
            points, valid = pointmap_output(self.pointmap_autoencoder.decode(flat[:, half:], frames).cpu())
        else:
            points, valid = np.zeros(rgb.shape, np.float32), np.zeros(rgb.shape[:3], bool)
        return Video4D(*(x.reshape(2, frames, *x.shape[1:]) for x in (rgb, points, valid)))

    def _to_device(self, x: torch.Tensor) -> torch.Tensor:
        return x.to(self.device)


def _stack(view_n: RGBD, view_m: RGBD) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Both views' images (2, H, W, 3), points in their own frames (2, H, W, 3), validity (2, H, W)."""
    if view_n.rgb.shape != view_m.rgb.shape:
        raise ValueError(f"view n is {view_n.rgb.shape[:2]}, view m is {view_m.rgb.shape[:2]}; expected the same size")
    height, width = view_n.rgb.shape[:2]
    if height % (4 * FACTOR) or width % (4 * FACTOR):
        raise ValueError(f"images are {height} x {width}; expected sides divisible by {4 * FACTOR}")
    points, valid = zip(*(unproject(view.depth_m, view.K) for view in (view_n, view_m)), strict=True)
    return np.stack([view_n.rgb, view_m.rgb]), np.stack(points), np.stack(valid)


def load_part(kinds: tuple[type, ...], folder: Path):
    """A part in float32, of the kind that its configuration names; a message where it or its weights do not fit."""
    config = folder / "config.json"
    name = json.loads(config.read_text()).get("_class_name") if config.exists() else None
    kind = next((kind for kind in kinds if kind.__name__ == name), kinds[0])
    try:
        part, loaded = kind.from_pretrained(
            folder, torch_dtype=torch.float32, low_cpu_mem_usage=False, output_loading_info=True
        )
        if loaded["missing_keys"]:  # diffusers would fill them with random numbers, other ones each time
            raise ValueError(f"its weights lack {sorted(loaded['missing_keys'])[0]}")
        for tensor in (*part.parameters(), *part.buffers()):
            tensor.data = tensor.data.clone()  # at addresses where sums round alike
        return part
    except (OSError, RuntimeError, ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{folder} does not hold a {kind.__name__}: {str(error).splitlines()[0]}; write it again with "
            "`geo4d train`, or restore the shipped weights"
        ) from error


def _download(hub_id: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(hub_id))
    except (HFValidationError, HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise FileNotFoundError(
            f"{hub_id} is neither a folder nor a repository that can be reached on the Hub"
        ) from error
