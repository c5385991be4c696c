"""Starting from Stable Video Diffusion: its U-Net, autoencoder and image encoder as parts of the preset "paper".

SVD's checkpoint is a folder in diffusers' layout (unet, vae, image_encoder) or such a repository of the Hub. Its
licence is not a free one, see the book's page of licences; nothing of it is shipped here.
"""

from pathlib import Path

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKLTemporalDecoder, UNetSpatioTemporalConditionModel
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

CLIP_PIXELS = 224
CLIP_MEAN, CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
ONLY_IN_SVD = "add_embedding."  # of fps, motion bucket and noise augmentation
IN_DECODER = ("up_blocks.", "conv_norm_out.", "conv_out.")


def load_svd_part(kind: type, path_or_hub_id: str | Path, part: str):
    """One part of an SVD checkpoint, in float32. Raises FileNotFoundError that says what was looked for, and where."""
    try:
        return kind.from_pretrained(str(path_or_hub_id), subfolder=part, torch_dtype=torch.float32)
    except OSError as error:
        raise FileNotFoundError(
            f"{path_or_hub_id} holds no {part!r} of Stable Video Diffusion ({str(error).splitlines()[0]}); give a "
            "folder in diffusers' layout, a copy of stabilityai/stable-video-diffusion-img2vid, or that name itself"
        ) from error


def dual_branch_state(
    svd: UNetSpatioTemporalConditionModel, modalities: int, scaling_factor: float
) -> dict[str, Tensor]:
    """SVD's weights under the names and in the shapes of `DualBranchUNet`; the cross-view attention is not among them.

    The input convolution is widened from SVD's (noisy, condition) of RGB to those of all modalities. The weights of the
    new channels are zero, so that at first the network sees, and in its RGB channels answers, what SVD does. The output
    convolution's rows are repeated: each modality starts from SVD's own answer. SVD takes condition latents that are
    not scaled, ours have unit variance like the noisy ones: `scaling_factor` goes into the weights that read them.
    """
    state = {name: value for name, value in svd.state_dict().items() if not name.startswith(ONLY_IN_SVD)}
    noisy, condition = state["conv_in.weight"].chunk(2, dim=1)
    wide = noisy.new_zeros(len(noisy), 2, modalities, *noisy.shape[1:])
    wide[:, 0, 0], wide[:, 1, 0] = noisy, condition / scaling_factor
    state["conv_in.weight"] = wide.flatten(1, 3)
    for name in ("conv_out.weight", "conv_out.bias"):
        state[name] = torch.cat([state[name]] * modalities)
    shared = {name: value for name, value in state.items() if not name.startswith(IN_DECODER)}
    of_decoder = {name: value for name, value in state.items() if name.startswith(IN_DECODER)}
    return shared | {
        f"{view}.{name}": value for view in ("decoder_n", "decoder_m") for name, value in of_decoder.items()
    }


class SVDAutoencoder(ModelMixin, ConfigMixin):
    """SVD's autoencoder (f = 8, four channels, a decoder that sees time) with the interface of `LiteAutoencoder`.

    `kind` "pointmap" has a fourth channel at both ends: 1 where the pixel holds a point, and a logit of the same.
    Latents are SVD's times its scaling factor, for both kinds.

    Args:
        kind: "rgb" or "pointmap".
        vae_config: of diffusers' `AutoencoderKLTemporalDecoder`, a dictionary.
    """

    _supports_gradient_checkpointing = True

    @register_to_config
    def __init__(self, kind: str, vae_config: dict):
        super().__init__()
        if kind not in ("rgb", "pointmap"):
            raise ValueError(f'kind is {kind!r}; expected "rgb" or "pointmap"')
        self.vae = AutoencoderKLTemporalDecoder.from_config(vae_config)
        self.latent_channels = self.learned_channels = self.vae.config.latent_channels
        self.scale = self.vae.config.scaling_factor

    @classmethod
    def from_svd(cls, path_or_hub_id: str | Path, kind: str) -> "SVDAutoencoder":
        """SVD's own weights; for pointmaps widened by a channel that at first is not read, and says "valid"."""
        svd = load_svd_part(AutoencoderKLTemporalDecoder, path_or_hub_id, "vae")
        config, state = dict(svd.config), svd.state_dict()
        if kind == "pointmap":
            config |= {"in_channels": 4, "out_channels": 4}
        model = cls(kind, {name: value for name, value in config.items() if not name.startswith("_")})
        if kind == "pointmap":
            state["encoder.conv_in.weight"] = F.pad(state["encoder.conv_in.weight"], (0, 0, 0, 0, 0, 1))
            state["decoder.conv_out.weight"] = F.pad(state["decoder.conv_out.weight"], (0, 0, 0, 0, 0, 0, 0, 1))
            state["decoder.conv_out.bias"] = F.pad(state["decoder.conv_out.bias"], (0, 1), value=2.0)
            in_time = F.pad(state["decoder.time_conv_out.weight"], (0, 0, 0, 0, 0, 0, 0, 1, 0, 1))
            in_time[3, 3, 1] = 1.0
            state["decoder.time_conv_out.weight"] = in_time
            state["decoder.time_conv_out.bias"] = F.pad(state["decoder.time_conv_out.bias"], (0, 1))
        model.vae.load_state_dict(state)
        return model

    def posterior(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Pinned channels (none: (N, 0, h, w)), mean and log-variance (N, 4, h, w), not scaled."""
        moments = self.vae.encode(x).latent_dist
        return moments.mean[:, :0], moments.mean.float(), moments.logvar.float()

    def encode(self, x: Tensor) -> Tensor:
        """(N, 3 or 4, H, W) -> scaled latents (N, 4, H/8, W/8), the mode of the posterior."""
        return self.posterior(x)[1] * self.scale

    def decode(self, latents: Tensor, frames: int = 1) -> Tensor:
        """Scaled latents (N, 4, h, w), N a multiple of `frames` that follow each other -> (N, 3 or 4, 8 h, 8 w)."""
        return self.decode_raw(latents / self.scale, frames)

    def decode_raw(self, latents: Tensor, frames: int = 1) -> Tensor:
        """As `decode`, for latents that are not scaled; video by video, which bounds the memory."""
        videos = latents.to(self.dtype).split(frames)
        return torch.cat([self.vae.decode(video, num_frames=frames).sample.float() for video in videos])

    def fit_normalisation(self, raw_latents: Tensor) -> None:
        """Nothing to do: SVD's scaling factor is kept, as in the released code."""


class ImageEncoder(ModelMixin, ConfigMixin):
    """CLIP's image token, the context of SVD's U-Net: one vector that says what a picture shows.

    Args:
        clip_config: of transformers' `CLIPVisionModelWithProjection`, as a dictionary.
    """

    @register_to_config
    def __init__(self, clip_config: dict):
        super().__init__()
        self.clip = CLIPVisionModelWithProjection(CLIPVisionConfig(**clip_config))

    @classmethod
    def from_svd(cls, path_or_hub_id: str | Path) -> "ImageEncoder":
        """The image encoder of an SVD checkpoint."""
        clip = load_svd_part(CLIPVisionModelWithProjection, path_or_hub_id, "image_encoder")
        model = cls(clip.config.to_diff_dict())
        model.clip.load_state_dict(clip.state_dict())
        return model

    def forward(self, rgb: Tensor) -> Tensor:
        """Images (N, 3, H, W) in [-1, 1] -> tokens (N, 1, D)."""
        small = F.interpolate(rgb, (CLIP_PIXELS, CLIP_PIXELS), mode="bicubic", antialias=True, align_corners=False)
        mean, std = (small.new_tensor(values)[:, None, None] for values in (CLIP_MEAN, CLIP_STD))
        pixels = ((small + 1) / 2 - mean) / std
        return self.clip(pixels.to(self.dtype)).image_embeds[:, None].float()
