"""The dual-branch U-Net: one encoder, a decoder for each view, and cross-view attention from m to n.

    noisy latents + condition latents, view n ─┐                  ┌─► decoder n ──────────► prediction for n
                                               ├─► shared encoder ┤       │ features of every layer
    noisy latents + condition latents, view m ─┘                  └─► decoder m + attention ─► prediction for m

Blocks, names and weights are those of diffusers' Stable Video Diffusion U-Net, so SVD's checkpoint drops in.
"""

import copy
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import torch
from diffusers import UNetSpatioTemporalConditionModel
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor, nn

from geo4d_lite.models.attention import CrossViewAttention
from geo4d_lite.models.change_mask import silenced
from geo4d_lite.models.draft import with_draft
from geo4d_lite.models.frame_tokens import HAND_MAPS, FrameTokens, ImageToken
from geo4d_lite.models.svd import dual_branch_state, load_svd_part

MODALITIES = ("rgb", "pointmap")


@dataclass(frozen=True)
class UNetSize:
    """Everything that differs between the two scales."""

    latent_channels: int  # of one modality
    widths: tuple[int, ...]  # channels at each resolution, finest first
    attention: tuple[bool, ...]  # spatio-temporal transformer at each resolution
    heads: tuple[int, ...]
    layers_per_block: int
    context_dim: int
    view_heads: int  # of the cross-view attention
    view_head_dim: int
    learns_image_token: bool  # lite: a few convolutions make the image token; paper: CLIP does


PRESETS = {
    "lite": UNetSize(8, (64, 64, 64), (False, True, True), (2, 2, 2), 1, 64, 2, 32, True),
    "paper": UNetSize(4, (320, 640, 1280, 1280), (True, True, True, False), (5, 10, 20, 20), 2, 1024, 8, 64, False),
}


class Decoder(nn.Module):
    """One view's half of the U-Net: SVD's up blocks and output layers, optionally attending to the other view."""

    def __init__(self, svd: UNetSpatioTemporalConditionModel, view_attention: nn.ModuleList | None):
        super().__init__()
        self.up_blocks = svd.up_blocks
        self.conv_norm_out, self.conv_act, self.conv_out = svd.conv_norm_out, svd.conv_act, svd.conv_out
        self.view_attention = view_attention
        self.conv_change: nn.Module | None = None
        self.gradient_checkpointing = False  # switched by enable_gradient_checkpointing() of the whole model

    def forward(self, h: Tensor, skips: list[Tensor], call: dict, other: list[Tensor] | None) -> tuple[Tensor, list]:
        """Features (B T, C, H, W) from the middle of the U-Net -> prediction (B T, c, H, W), features of each layer.

        With a change mask its logits follow behind the prediction's channels, one for each modality. `skips` are the
        encoder's features, coarsest last. `other` are the features that the other view's decoder returned, layer by
        layer; without them the cross-view attention is skipped.
        """
        skips, features = list(skips), []
        for block in self.up_blocks:
            attentions = block.attentions if hasattr(block, "attentions") else [None] * len(block.resnets)
            for resnet, attention in zip(block.resnets, attentions, strict=True):
                h = torch.cat([h, skips.pop()], dim=1)
                h = self._run(resnet, h, call["temb"], image_only_indicator=call["image_only_indicator"])
                if attention is not None:
                    h = self._run(attention, h, call["context"], call["image_only_indicator"], return_dict=False)[0]
                if self.view_attention is not None and other is not None:
                    h = self._run(self.view_attention[len(features)], h, other[len(features)])
                features.append(h)
            for upsampler in block.upsamplers or ():
                h = upsampler(h, skips[-1].shape[-2:])
        h = self.conv_act(self.conv_norm_out(h))
        out = self.conv_out(h)
        return (out if self.conv_change is None else torch.cat([out, self.conv_change(h)], dim=1)), features

    def _run(self, layer: nn.Module, *inputs, **options):
        """Call a layer; with gradient checkpointing its activations are computed again in the backward pass."""
        if self.gradient_checkpointing and torch.is_grad_enabled():
            return self._gradient_checkpointing_func(partial(layer, **options), *inputs)
        return layer(*inputs, **options)


class DualBranchUNet(ModelMixin, ConfigMixin):
    """The paper's video model: two views, RGB and pointmap latents together.

    Args:
        size: the fields of `UNetSize` (a dictionary, so that it can be stored as JSON).
        cross_view_attention: decoder m attends to decoder n after each layer. Off: the paper's "w/o MV attention", and
            no view sees the other one in any way.
        shared_decoder: one decoder for both views, as the released code has by accident.
        modalities: ("rgb", "pointmap") or ("rgb",) for the RGB-only baselines.
        frame_tokens: a token for each future frame in place of one for all; lite scale, ours.
        context_tokens, token_maps: what is made of each frame token, see `FrameTokens`.
        views_agree: each view's frame tokens learn from the other's.
        hand_rays: the draft is told each site's line of sight in the coordinates of the hands; the condition then has
            six more channels, see `hand_rays`.
        hand_image: draft and network are also shown what each site sees of the grippers' boxes, see `hand_image`.
        draft: the frame tokens also draw a first draft of the film, which the network corrects; see `draft`.
        change_mask: the network also says where anything changes, and is silenced where nothing does. For a diffusion
            that generates the change since the last frame; ours.

    Channels of the input, in this order: noisy latents of each modality, then condition latents of each modality.
    """

    _supports_gradient_checkpointing = True

    @register_to_config
    def __init__(
        self,
        size: dict,
        cross_view_attention: bool = True,
        shared_decoder: bool = False,
        modalities: tuple[str, ...] = MODALITIES,
        frame_tokens: bool = False,
        context_tokens: int = 1,
        token_maps: int = 0,
        change_mask: bool = False,
        draft: bool = False,
        views_agree: bool = False,
        hand_rays: bool = False,
        hand_image: bool = False,
    ):
        super().__init__()
        size = UNetSize(**size)
        if frame_tokens and not size.learns_image_token:
            raise ValueError("frame_tokens stand in place of a learned image token; this size takes CLIP's")
        channels = size.latent_channels * len(modalities)
        svd = plain_unet(size, (2 + draft) * channels + token_maps + HAND_MAPS * hand_image, channels)
        self.time_proj, self.time_embedding = svd.time_proj, svd.time_embedding
        self.conv_in, self.down_blocks, self.mid_block = svd.conv_in, svd.down_blocks, svd.mid_block
        learns_one = size.learns_image_token and not frame_tokens
        self.image_token = ImageToken(size.latent_channels, size.context_dim) if learns_one else None
        embedding_dim = svd.time_embedding.linear_2.out_features
        self.frame_encoder = None
        if frame_tokens:
            widths = (channels, size.context_dim, embedding_dim)
            agree = views_agree and cross_view_attention
            self.frame_encoder = FrameTokens(*widths, context_tokens, token_maps, draft, agree, hand_rays, hand_image)

        layer_widths = [width for width in reversed(size.widths) for _ in range(size.layers_per_block + 1)]
        attention = [CrossViewAttention(width, size.view_heads, size.view_head_dim) for width in layer_widths]
        view_attention = nn.ModuleList(attention) if cross_view_attention else None
        self.decoder_n = Decoder(svd, view_attention if shared_decoder else None)
        # A deep copy: `copy.copy` would leave both views with the very same weights.
        self.decoder_m = None if shared_decoder else Decoder(copy.deepcopy(svd), view_attention)
        if change_mask:
            for decoder in filter(None, (self.decoder_n, self.decoder_m)):
                decoder.conv_change = nn.Conv2d(size.widths[0], len(modalities), 3, padding=1)
                nn.init.zeros_(decoder.conv_change.weight)
                nn.init.constant_(decoder.conv_change.bias, 2.0)  # at first, nearly everything may change

    @classmethod
    def from_preset(cls, preset: str, **switches) -> "DualBranchUNet":
        """A freshly initialised model of preset "lite" or "paper"; `switches` as above. ValueError for another name."""
        if preset not in PRESETS:
            raise ValueError(f"preset is {preset!r}; expected one of {sorted(PRESETS)}")
        return cls(asdict(PRESETS[preset]), **switches)

    @classmethod
    def from_svd(
        cls,
        path_or_hub_id: str | Path,
        cross_view_attention: bool = True,
        shared_decoder: bool = False,
        modalities: tuple[str, ...] = MODALITIES,
        scaling_factor: float = 0.18215,
    ) -> "DualBranchUNet":
        """A model that starts from Stable Video Diffusion, in float32, whatever size its checkpoint has.

        SVD's weights go into *both* decoders. Before training, branch n answers in its RGB channels what SVD's U-Net
        answers without its embedding of fps and motion; see `svd.dual_branch_state`. `scaling_factor`: of SVD's
        autoencoder. Raises FileNotFoundError where there is no such checkpoint.
        """
        svd = load_svd_part(UNetSpatioTemporalConditionModel, path_or_hub_id, "unet")
        of_svd = UNetSize(
            latent_channels=svd.config.out_channels,
            widths=tuple(svd.config.block_out_channels),
            attention=tuple("CrossAttn" in kind for kind in svd.config.down_block_types),
            heads=tuple(svd.config.num_attention_heads),
            layers_per_block=svd.config.layers_per_block,
            context_dim=svd.config.cross_attention_dim,
            view_heads=PRESETS["paper"].view_heads,
            view_head_dim=PRESETS["paper"].view_head_dim,
            learns_image_token=False,
        )
        model = cls(asdict(of_svd), cross_view_attention, shared_decoder, tuple(modalities))
        state = dual_branch_state(svd, len(modalities), scaling_factor)
        missing, unexpected = model.load_state_dict(state, strict=False)
        unexpected = [name for name in unexpected if not (shared_decoder and name.startswith("decoder_m."))]
        missing = [name for name in missing if "view_attention" not in name]
        if missing or unexpected:
            raise ValueError(
                f"{path_or_hub_id}: its U-Net is not SVD's: missing {missing[:3]}, unknown {unexpected[:3]}"
            )
        return model

    def forward(
        self,
        noisy: Tensor,
        condition: Tensor,
        c_noise: Tensor,
        context: Tensor | None = None,
        path: Tensor | None = None,
    ) -> Tensor:
        """One evaluation of the network F in EDM's preconditioning.

        Args:
            noisy: (B, 2, T, c, H, W) latents of views n and m, already scaled by c_in.
            condition: (B, 2, c, H, W) latents of the latest observation; repeated over the T frames here. With
                hand_rays (B, 2, c + 6, H, W), lines of sight last.
            c_noise: (B,) a quarter of the logarithm of the noise level.
            context: (B, 2, 1, D) image token of each view, or (B, 2, T, D) with a token for each frame; at lite scale
                None, then the network makes it.
            path: (B, T, arms, 10) along which draft and, with hand_image, network are told the hands, see
                `FrameTokens.draft`; the true one in training, None otherwise.

        Returns:
            (B, 2, T, c, H, W)
        """
        batch, views, frames = noisy.shape[:3]
        if context is None:
            context = self.tokens(condition)
        seen = condition[:, :, None, : noisy.shape[3]]  # without the lines of sight
        given = [noisy, seen.expand(-1, -1, frames, -1, -1, -1)]
        if self.config.token_maps:
            given.append(self.frame_encoder.look(context, condition))
        draft = hands = None
        if self.config.draft:
            draft, hands = self.frame_encoder.draft_and_hands(context, condition, path)
        given += [known for known in (draft, hands) if known is not None]
        x = torch.cat(given, dim=3)
        x = x.transpose(0, 1).flatten(0, 2)  # (2 B T, channels, H, W), all of view n first: the encoder is shared
        context = context.expand(-1, -1, frames, -1).transpose(0, 1).flatten(0, 2)  # (2 B T, D)
        temb = self.time_embedding(self.time_proj(c_noise).to(x.dtype)).repeat(views, 1)  # (2 B, D)
        temb = temb.repeat_interleave(frames, dim=0)
        if self.frame_encoder is not None:
            temb = temb + self.frame_encoder.embed(context)
            context = self.frame_encoder.context(context)
        else:
            context = context[:, None]
        call = {
            "temb": temb,
            "context": context,
            "image_only_indicator": torch.zeros(views * batch, frames, dtype=x.dtype, device=x.device),
        }
        h, skips = self.encode(x, call)

        of_view = [{key: value.chunk(2)[i] for key, value in call.items()} for i in (0, 1)]
        (h_n, h_m), (skips_n, skips_m) = h.chunk(2), zip(*(skip.chunk(2) for skip in skips), strict=True)
        out_n, features_n = self.decoder_n(h_n, skips_n, of_view[0], other=None)
        out_m, _ = (self.decoder_m or self.decoder_n)(h_m, skips_m, of_view[1], other=features_n)
        out = torch.stack([out_n, out_m]).unflatten(1, (batch, frames)).transpose(0, 1)
        f, logits = out.split([noisy.shape[3], out.shape[3] - noisy.shape[3]], dim=3)
        f = f if draft is None else with_draft(f, draft, c_noise)
        return silenced(f, logits, noisy, c_noise) if self.config.change_mask else f

    def tokens(self, condition: Tensor) -> Tensor:
        """What a lite network says about the condition latents (B, 2, c, H, W): (B, 2, 1, D), or a token a frame."""
        if self.frame_encoder is not None:
            return self.frame_encoder(condition)
        return self.image_token(condition.flatten(0, 1)).unflatten(0, condition.shape[:2])

    def encode(self, x: Tensor, call: dict) -> tuple[Tensor, list[Tensor]]:
        """(B T, channels, H, W) -> features from the middle of the U-Net, and the skips, coarsest last."""
        h = self.conv_in(x)
        skips = [h]
        for block in self.down_blocks:
            context = {"encoder_hidden_states": call["context"]} if hasattr(block, "attentions") else {}
            h, more = block(h, call["temb"], image_only_indicator=call["image_only_indicator"], **context)
            skips.extend(more)
        return self.mid_block(h, call["temb"], call["context"], call["image_only_indicator"]), skips


def plain_unet(size: UNetSize, in_channels: int, out_channels: int) -> UNetSpatioTemporalConditionModel:
    """diffusers' SVD U-Net of the given size, without the embedding of fps, motion bucket and noise augmentation."""
    kinds = ["CrossAttn" if attention else "" for attention in size.attention]
    unet = UNetSpatioTemporalConditionModel(
        in_channels=in_channels,
        out_channels=out_channels,
        down_block_types=tuple(f"{kind}DownBlockSpatioTemporal" for kind in kinds),
        up_block_types=tuple(f"{kind}UpBlockSpatioTemporal" for kind in reversed(kinds)),
        block_out_channels=tuple(size.widths),
        layers_per_block=size.layers_per_block,
        cross_attention_dim=size.context_dim,
        num_attention_heads=tuple(size.heads),
        addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=24,
    )
    del unet.add_embedding, unet.add_time_proj
    return unet
