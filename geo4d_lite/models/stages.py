"""The three things that are trained, one after the other: RGB autoencoder, pointmap autoencoder, U-Net."""

from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from geo4d_lite.data import Dataset
from geo4d_lite.models.attention import use_plain_attention
from geo4d_lite.models.autoencoders import LiteAutoencoder, autoencoder_loss
from geo4d_lite.models.diffusion import GripperWeighting, NoiseDistribution, diffusion_loss
from geo4d_lite.models.frames import FrameSampler
from geo4d_lite.models.latents import LatentSet
from geo4d_lite.models.pipeline import Geo4DPipeline
from geo4d_lite.models.recipe import Recipe, training_pair
from geo4d_lite.models.training import Trainer, TrainingSettings, autocast, processes
from geo4d_lite.models.unet import DualBranchUNet


@dataclass(frozen=True)
class Variant:
    """One U-Net to train: a recipe and the architecture's switches."""

    recipe: Recipe
    cross_view_attention: bool = True
    shared_decoder: bool = False

    def build(self, preset: str, seed: int) -> DualBranchUNet:
        torch.manual_seed(seed)
        unet = DualBranchUNet.from_preset(
            preset, self.cross_view_attention, self.shared_decoder, modalities=self.recipe.modalities
        )
        use_plain_attention(unet)
        return unet


def autoencoder_trainer(
    kind: str, frames: FrameSampler, settings: TrainingSettings, batch: int, folder: Path | None
) -> Trainer:
    """A trainer of the autoencoder `kind` ("rgb" or "pointmap") on random frames."""
    torch.manual_seed(settings.seed)
    model = LiteAutoencoder(kind)
    draw = frames.rgb if kind == "rgb" else frames.pointmap

    def loss(model: LiteAutoencoder, generator: torch.Generator) -> dict[str, Tensor]:
        x, gripper = draw(batch, generator)
        noise = torch.randn(batch, model.learned_channels, x.shape[-2] // 8, x.shape[-1] // 8, generator=generator)
        with autocast(device.type):
            return {"loss": autoencoder_loss(model, x.to(device), gripper.to(device), noise.to(device))}

    device = processes().device
    return Trainer(model, loss, settings, folder, device)


@torch.no_grad()
def finish_autoencoder(trainer: Trainer, frames: FrameSampler, count: int = 256) -> LiteAutoencoder:
    """The averaged weights, with the latents' mean and variance measured on `count` training frames. On the CPU."""
    model = trainer.load_ema().cpu()
    generator = torch.Generator().manual_seed(trainer.settings.seed)
    x, _ = (frames.rgb if model.config.kind == "rgb" else frames.pointmap)(count, generator)
    raw = [torch.cat(model.posterior(part)[:2], dim=1) for part in x.split(32)]
    model.fit_normalisation(torch.cat(raw))
    return model


def unet_trainer(
    variant: Variant,
    latents: LatentSet,
    settings: TrainingSettings,
    batch: int,
    folder: Path | None,
    preset: str = "lite",
) -> Trainer:
    """A trainer of the dual-branch U-Net on windows of latents."""
    noise_levels = NoiseDistribution(variant.recipe.log_sigma_mean, variant.recipe.log_sigma_std)
    weighting = GripperWeighting(variant.recipe.gripper_weighting, variant.recipe.gripper_strength)

    def loss(unet: nn.Module, generator: torch.Generator) -> dict[str, Tensor]:
        clean, condition, site_valid, gripper = training_pair(latents.batch(batch, generator), variant.recipe)
        sigma = noise_levels.sample(batch, generator).to(device)
        noise = normal(clean.shape, generator, device)
        with autocast(device.type):
            return diffusion_loss(unet, clean, condition, site_valid, gripper, sigma, noise, weighting)

    device = processes().device
    latents = latents.to(device)
    return Trainer(variant.build(preset, settings.seed), loss, settings, folder, device)


def normal(shape: torch.Size, generator: torch.Generator, device: torch.device) -> Tensor:
    """Standard normal noise on a device, decided by a generator of the CPU: the CPU itself would be too slow."""
    if device.type == "cpu":
        return torch.randn(shape, generator=generator)
    seed = int(torch.randint(2**62, (), generator=generator))
    return torch.randn(shape, generator=torch.Generator(device).manual_seed(seed), device=device)


def train_all(
    dataset: Dataset,
    folder: Path,
    variant: Variant,
    steps: dict[str, TrainingSettings],
    batches: dict[str, int],
    report=print,
) -> Geo4DPipeline:
    """Autoencoders, latents, U-Net; every finished part is kept in `folder` and not trained again.

    steps, batches: by stage, "rgb", "pointmap" and "unet"; a batch is that of one process. Between the stages the other
    processes wait for the first, which writes what the next stage reads.
    """
    autoencoders, together = {}, processes()
    for kind in ("rgb", "pointmap"):
        finished = folder / f"{kind}_autoencoder"
        if not finished.exists():
            frames = FrameSampler(dataset)
            trainer = autoencoder_trainer(kind, frames, steps[kind], batches[kind], folder / f"train_{kind}")
            trainer.run(report=report)
            if together.is_main_process:
                finish_autoencoder(trainer, frames).save_pretrained(finished)
            together.wait_for_everyone()
        autoencoders[f"{kind}_autoencoder"] = LiteAutoencoder.from_pretrained(finished, low_cpu_mem_usage=False).eval()
    with together.main_process_first():
        latents = LatentSet.build(dataset, "train", *autoencoders.values(), folder / "latents", report=report)
    trainer = unet_trainer(variant, latents, steps["unet"], batches["unet"], folder / unet_name(variant))
    trainer.run(report=report)
    return Geo4DPipeline(**autoencoders, unet=trainer.load_ema().cpu(), recipe=variant.recipe)


def unet_name(variant: Variant) -> str:
    """A folder name that tells variants apart: their fields that differ from the plain recipe's."""
    plain = asdict(Variant(Recipe()))
    fields = {**asdict(variant), **asdict(variant.recipe)}
    plain = {**plain, **asdict(Recipe())}
    changed = [f"{k}={v}" for k, v in fields.items() if k != "recipe" and v != plain[k]]
    return "_".join(["unet", *changed]).replace(" ", "").replace("'", "") if changed else "unet_plain"
