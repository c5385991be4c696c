"""What the preset "paper" takes on a graphics card: memory and time of a training step, and of ten frames.

    python -m data_scripts.measure_paper_scale --limit-gb 24

All networks have their full size and random weights: neither time nor memory depends on what the weights are. The
process may take no more than `limit_gb` of the card, so that a larger card stands for one of that size.
"""

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from data_scripts.command_line import run
from geo4d_lite.data import IMAGE_SIZES
from geo4d_lite.evaluation.results import provenance, write_json
from geo4d_lite.geometry import RGBD, Intrinsics
from geo4d_lite.models import (
    PLAIN,
    DualBranchUNet,
    Geo4DPipeline,
    ImageEncoder,
    SVDAutoencoder,
    Trainer,
    TrainingSettings,
)
from geo4d_lite.models.latents import LatentSet
from geo4d_lite.models.stages import Variant, unet_loss

SVD_AUTOENCODER = {  # the configuration of SVD's checkpoint
    "block_out_channels": (128, 256, 512, 512),
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "layers_per_block": 2,
    "latent_channels": 4,
    "sample_size": 768,
    "scaling_factor": 0.18215,
}
SVD_IMAGE_ENCODER = {  # CLIP ViT-H/14, as in SVD's checkpoint
    "hidden_size": 1280,
    "intermediate_size": 5120,
    "num_hidden_layers": 32,
    "num_attention_heads": 16,
    "patch_size": 14,
    "projection_dim": 1024,
    "hidden_act": "gelu",
}
LATENT_SIZE, LATENT_CHANNELS, TOKEN_DIM = (32, 40), 4, 1024
GIGABYTE = 1e9


@dataclass(frozen=True)
class MeasurePaperScale:
    """Measure the preset "paper" on the first CUDA card."""

    limit_gb: float = 24.0
    """Memory that the process may take on the card."""
    batch: int = 1
    """Window pairs of a training step."""
    steps: tuple[int, ...] = (25, 10, 4)
    """Numbers of sampler steps to time ten frames with."""
    training: bool = True
    """Off: time the ten frames alone."""
    result: Path | None = None
    """JSON file to write; the book's own is book/results/paper_scale.json."""


def main(options: MeasurePaperScale) -> None:
    """Run `options`; prints what is measured, and writes it where `result` says. Raises ValueError without a card."""
    if not torch.cuda.is_available():
        raise ValueError("no CUDA card found; what a step needs is calculated by `geo4d_lite.models.memory`")
    device = torch.device("cuda")
    whole = torch.cuda.get_device_properties(device).total_memory / GIGABYTE
    torch.cuda.set_per_process_memory_fraction(min(1.0, options.limit_gb / whole))
    with device:
        unet = DualBranchUNet.from_preset("paper")
    found = {"parameters": sum(p.numel() for p in unet.parameters())}
    print(found, flush=True)
    if options.training:
        settings = TrainingSettings(3, 1e-5, weights="bfloat16", offload=True, gradient_checkpointing=True)
        found["training"] = training_cost(unet, settings, options.batch, device)
        print(found["training"], flush=True)
    found["generation"] = generation_cost(full_pipeline(unet, device), options.steps)
    print(found["generation"], flush=True)
    command = f"python -m data_scripts.measure_paper_scale --limit-gb {options.limit_gb:g} --batch {options.batch}"
    command += f" --steps {' '.join(map(str, options.steps))}" + ("" if options.training else " --no-training")
    card = {"card": torch.cuda.get_device_name(device), "limit_gb": options.limit_gb, "batch": options.batch}
    if options.result is not None:
        write_json(options.result, card | provenance(command) | found)


def training_cost(
    unet: nn.Module, settings: TrainingSettings, batch: int, device: torch.device, latents: LatentSet | None = None
) -> dict[str, float]:
    """Seconds of a training step, the second one, and what it takes on the card at its peak (GB)."""
    loss = unet_loss(Variant(PLAIN), (latents or paper_latents()).to(device), batch, device)
    trainer = Trainer(unet, loss, settings, device=device)
    trainer.advance()
    with watched(device) as used:
        trainer.advance()
    unet.disable_gradient_checkpointing()
    unet.zero_grad(set_to_none=True)
    return used


def generation_cost(pipeline: Geo4DPipeline, steps: tuple[int, ...], size: str = "paper") -> dict[str, dict]:
    """Seconds for ten frames of two views, RGB and pointmaps, and the peak on the card (GB), by sampler steps."""
    width, height = IMAGE_SIZES[size]
    view = RGBD(
        np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8),
        np.ones((height, width), np.float32),
        Intrinsics.from_fov(width, height, np.deg2rad(42.0)).matrix,
    )
    pipeline(view, view, 1)  # the first call also chooses and compiles
    found = {}
    for count in steps:
        with watched(pipeline.device) as used:
            pipeline(view, view, count, torch.Generator().manual_seed(0))
        found[str(count)] = used
    return found


class watched:
    """Fills a dictionary with "seconds" and, on a CUDA card, "peak_gb" (tensors) and "reserved_gb" (all taken)."""

    def __init__(self, device: torch.device):
        self.device, self.used = device, {}

    def _on_card(self) -> bool:
        return self.device.type == "cuda"

    def __enter__(self) -> dict[str, float]:
        if self._on_card():
            torch.cuda.synchronize(self.device)
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(self.device)
        self.started = time.perf_counter()
        return self.used

    def __exit__(self, *error) -> None:
        if self._on_card():
            torch.cuda.synchronize(self.device)
            self.used["peak_gb"] = torch.cuda.max_memory_allocated(self.device) / GIGABYTE
            self.used["reserved_gb"] = torch.cuda.max_memory_reserved(self.device) / GIGABYTE
        self.used["seconds"] = time.perf_counter() - self.started


def full_pipeline(unet: DualBranchUNet, device: torch.device) -> Geo4DPipeline:
    """SVD's autoencoders and image encoder at full size, random and in bfloat16, around a U-Net."""
    four_channels = {"in_channels": 4, "out_channels": 4}
    with device:
        parts = (
            SVDAutoencoder("rgb", SVD_AUTOENCODER),
            SVDAutoencoder("pointmap", SVD_AUTOENCODER | four_channels),
            unet,
        )
        image_encoder = ImageEncoder(SVD_IMAGE_ENCODER)
    return Geo4DPipeline(*parts, recipe=PLAIN, image_encoder=image_encoder).to(device, torch.bfloat16)


def paper_latents(
    channels: int = LATENT_CHANNELS, size: tuple[int, int] = LATENT_SIZE, token_dim: int = TOKEN_DIM
) -> LatentSet:
    """One short episode of noise, of the shapes that latents have at paper scale."""
    cameras, frames = 2, 12
    latents = torch.randn(cameras, frames, channels, *size)
    shares = torch.full((cameras, frames, 1, *size), 255, dtype=torch.uint8)
    images = {"rgb": latents, "own": latents, "moved": latents[:1], "valid": shares, "gripper": shares}
    token = torch.randn(cameras, frames, 1, token_dim)
    return LatentSet([images | {"token": token, "pairs": torch.tensor([[0, 1]]), "stride": torch.tensor(1)}])


if __name__ == "__main__":
    run(main)
