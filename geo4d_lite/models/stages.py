"""The three things that are trained, one after the other: RGB autoencoder, pointmap autoencoder, U-Net."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from geo4d_lite.data import FUTURE_FRAMES, Dataset
from geo4d_lite.models.autoencoders import FACTOR, LiteAutoencoder, autoencoder_loss
from geo4d_lite.models.device import autocast, processes
from geo4d_lite.models.diffusion import GripperWeighting, NoiseDistribution, diffusion_loss
from geo4d_lite.models.draft import draft_loss
from geo4d_lite.models.frame_tokens import FrameTokens
from geo4d_lite.models.frames import FrameSampler
from geo4d_lite.models.hand_paste import HandPaste
from geo4d_lite.models.latents import LatentSet
from geo4d_lite.models.pipeline import Geo4DPipeline
from geo4d_lite.models.place_loss import place_loss
from geo4d_lite.models.recipe import training_pair
from geo4d_lite.models.start import begun_from, check_start
from geo4d_lite.models.svd import ImageEncoder, SVDAutoencoder
from geo4d_lite.models.training import LossFunction, Trainer, TrainingSettings
from geo4d_lite.models.unet import DualBranchUNet
from geo4d_lite.models.variant import Variant, unet_name

TRAINED_PACE = 0.1  # learning rate, as a share of the U-Net's, of frame tokens that have been trained alone before
TOKEN_PARTS = ("trunk", "agree", "where")  # of `FrameTokens`, trained by the auxiliary loss


def autoencoder_trainer(
    kind: str,
    frames: FrameSampler,
    settings: TrainingSettings,
    batch: int,
    folder: Path | None,
    svd: str | Path | None = None,
) -> Trainer:
    """A trainer of the autoencoder `kind` ("rgb" or "pointmap") on random frames.

    With `svd` it starts from Stable Video Diffusion's, whose decoder sees time: then on clips of ten frames.
    """
    torch.manual_seed(settings.seed)
    model = LiteAutoencoder(kind) if svd is None else SVDAutoencoder.from_svd(svd, kind)
    draw = frames.rgb if kind == "rgb" else frames.pointmap
    clip = 1 if svd is None else FUTURE_FRAMES

    def loss(model: LiteAutoencoder | SVDAutoencoder, generator: torch.Generator) -> dict[str, Tensor]:
        x, gripper = draw(batch * clip, generator, clip)
        shape = (batch * clip, model.learned_channels, x.shape[-2] // FACTOR, x.shape[-1] // FACTOR)
        noise = torch.randn(shape, generator=generator)
        with autocast(device.type):
            return {
                "loss": autoencoder_loss(model, x.to(device), gripper.to(device), noise.to(device), frames=clip),
            }

    device = processes().device
    return Trainer(model, loss, settings, folder, device)


@torch.no_grad()
def finish_autoencoder(trainer: Trainer, frames: FrameSampler, count: int = 256) -> LiteAutoencoder | SVDAutoencoder:
    """The averaged weights on the CPU; a lite one's latents get unit variance, measured on `count` training frames."""
    model = trainer.load_ema().cpu()
    if isinstance(model, SVDAutoencoder):
        return model
    generator = torch.Generator().manual_seed(trainer.settings.seed)
    x, _ = (frames.rgb if model.config.kind == "rgb" else frames.pointmap)(count, generator)
    raw = [torch.cat(model.posterior(part)[:2], dim=1) for part in x.split(32)]
    model.fit_normalisation(torch.cat(raw))
    return model


def frame_tokens_trainer(
    variant: Variant, latents: LatentSet, settings: TrainingSettings, batch: int, folder: Path | None
) -> Trainer:
    """A trainer of a U-Net's frame tokens alone, by their auxiliary loss, before the U-Net itself is trained."""
    device = processes().device
    latents = latents.to(device)

    def loss(encoder: FrameTokens, generator: torch.Generator) -> dict[str, Tensor]:
        observed = latents.batch(batch, generator, films=False)
        with autocast(device.type):
            return {"loss": encoder.path_loss(encoder(training_pair(observed, variant.recipe)[1]), observed.path)}

    return Trainer(variant.build(settings.seed).frame_encoder, loss, settings, folder, device)


def draft_trainer(
    variant: Variant,
    latents: LatentSet,
    settings: TrainingSettings,
    batch: int,
    folder: Path | None,
    frame_tokens: dict[str, Tensor],
) -> Trainer:
    """A trainer of the draft, from frame tokens already learned, which go on learning slowly."""
    device, recipe = processes().device, variant.recipe
    latents = latents.to(device)

    def loss(encoder: FrameTokens, generator: torch.Generator) -> dict[str, Tensor]:
        films, more = latents.batch(batch, generator), latents.batch(4 * batch, generator, films=False)
        clean, condition, site_valid, gripper = training_pair(films, recipe)
        with autocast(device.type):
            tokens = encoder(torch.cat([condition, training_pair(more, recipe)[1]]))
            path = encoder.path_loss(tokens, torch.cat([films.path, more.path]))
            drawn = encoder.draft(tokens[:batch], condition, films.path)
        draft = draft_loss(drawn, clean, site_valid, gripper, recipe.gripper_strength)
        losses = {"loss": draft + recipe.path_weight * path, "draft": draft.detach(), "path": path.detach()}
        if recipe.place_weight:
            place = place_loss(drawn - clean, site_valid, gripper, recipe.gripper_strength).mean()
            losses |= {"loss": losses["loss"] + recipe.place_weight * place, "place": place.detach()}
        return losses

    encoder = variant.build(settings.seed).frame_encoder
    encoder.load_state_dict(frame_tokens)
    return Trainer(encoder, loss, settings, folder, device, pace=dict.fromkeys(TOKEN_PARTS, TRAINED_PACE))


def unet_trainer(
    variant: Variant,
    latents: LatentSet,
    settings: TrainingSettings,
    batch: int,
    folder: Path | None,
    svd: str | Path | None = None,
    after_save: Callable[[Trainer], None] | None = None,
    frame_tokens: dict[str, Tensor] | None = None,
    start: DualBranchUNet | None = None,
) -> Trainer:
    """A trainer of the dual-branch U-Net on windows of latents; from Stable Video Diffusion's weights with `svd`.

    frame_tokens: weights that `frame_tokens_trainer` and `draft_trainer` have found, to start from. start: a trained
    U-Net to go on from, see `start.begun_from`.
    """
    device = processes().device
    unet = variant.build(settings.seed, svd)
    if start is not None:
        unet.load_state_dict(begun_from(start.state_dict(), unet))
    if frame_tokens is not None:
        unet.frame_encoder.load_state_dict(frame_tokens)
    trained = [f"frame_encoder.{part}" for part in (*TOKEN_PARTS, "drafter", "paste")] if frame_tokens else []
    pace = dict.fromkeys(trained, TRAINED_PACE)
    loss = unet_loss(variant, latents.to(device), batch, device)
    return Trainer(unet, loss, settings, folder, device, after_save, pace)


def unet_loss(variant: Variant, latents: LatentSet, batch: int, device: torch.device) -> LossFunction:
    """The loss of a U-Net on `batch` random windows of latents that lie on `device`."""
    noise_levels = NoiseDistribution(variant.recipe.log_sigma_mean, variant.recipe.log_sigma_std)
    weighting = GripperWeighting(variant.recipe.gripper_weighting, variant.recipe.gripper_strength)

    def loss(unet: nn.Module, generator: torch.Generator) -> dict[str, Tensor]:
        windows = latents.batch(batch, generator)
        clean, condition, site_valid, gripper = training_pair(windows, variant.recipe)
        sigma = noise_levels.sample(batch, generator).to(device)
        noise = normal(clean.shape, generator, device)
        asks_path = unet.frame_encoder is not None
        more = latents.batch(variant.recipe.path_windows, generator, films=False) if asks_path else None
        with autocast(device.type, unet.dtype):
            if not asks_path:
                context, path_loss = windows.token, None
            else:
                tokens = unet.tokens(torch.cat([condition, training_pair(more, variant.recipe)[1]]))
                path_loss = unet.frame_encoder.path_loss(tokens, torch.cat([windows.path, more.path]))
                context = tokens[:batch]
            told = partial(unet, path=windows.path)
            losses = diffusion_loss(
                told,
                clean,
                condition,
                site_valid,
                gripper,
                sigma,
                noise,
                weighting,
                context,
                variant.recipe.place_weight,
            )
        if path_loss is None:
            return losses
        total = losses["loss"] + variant.recipe.path_weight * path_loss
        return losses | {"loss": total, "path": path_loss.detach()}

    return loss


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
    svd: str | Path | None = None,
    report=print,
    after_save: Callable[[Geo4DPipeline, int], None] | None = None,
    name: str = "",
    start: Geo4DPipeline | None = None,
) -> Geo4DPipeline:
    """Autoencoders, latents, U-Net; every finished part is kept in `folder` and not trained again.

    steps, batches: by stage, "rgb", "pointmap", "frame_tokens", "draft" and "unet"; a batch is that of one process, at
    paper scale one of clips. Between the stages all wait for the first process, which writes what the next one reads.
    svd: checkpoint of Stable Video Diffusion to start from, for the preset "paper"; its RGB autoencoder and image
    encoder are used as they are. after_save: called with the pipeline of averaged weights and the step after each
    checkpoint of the U-Net. name: tells trainings of one variant apart, of different lengths say. start: trained parts
    to go on from, see `start.check_start`; the frame tokens then skip their own stage.
    """
    name = name if start is None else check_start(start, variant.recipe, folder, name)
    parts, together = {}, processes()
    kind_of = LiteAutoencoder if svd is None else SVDAutoencoder
    for kind in ("rgb", "pointmap"):
        finished = folder / f"{kind}_autoencoder"
        if not finished.exists():
            if start is not None:
                autoencoder = start.parts[f"{kind}_autoencoder"]
            elif svd is not None and kind == "rgb":
                autoencoder = SVDAutoencoder.from_svd(svd, kind)
            else:
                frames = FrameSampler(dataset)
                trainer = autoencoder_trainer(kind, frames, steps[kind], batches[kind], folder / f"train_{kind}", svd)
                trainer.run(report=report)
                autoencoder = finish_autoencoder(trainer, frames)
            if together.is_main_process:
                unfinished = finished.with_name(f"{finished.name}.unfinished")
                autoencoder.save_pretrained(unfinished)
                unfinished.rename(finished)  # a kill leaves no half a model under the name of a whole one
            together.wait_for_everyone()
        parts[f"{kind}_autoencoder"] = kind_of.from_pretrained(finished, low_cpu_mem_usage=False).eval()
    autoencoders = [part.to(together.device) for part in parts.values()]
    if svd is not None:
        parts["image_encoder"] = ImageEncoder.from_svd(svd).eval().to(together.device)
    with together.main_process_first():
        latents = LatentSet.build(
            dataset, "train", *autoencoders, folder / "latents", report=report, image_encoder=parts.get("image_encoder")
        )
    parts = {name: part.cpu() for name, part in parts.items()}

    def sample_on_the_way(trainer: Trainer) -> None:
        with trainer.averaged() as unet:
            after_save(Geo4DPipeline(**parts, unet=unet, recipe=variant.recipe).to(unet.device), trainer.step)
        for part in parts.values():
            part.cpu()

    of_unet, frame_tokens = folder / unet_name(variant, steps["unet"].seed, name), None
    if start is not None and variant.recipe.frame_tokens:
        fresh = variant.build(steps["unet"].seed).frame_encoder
        frame_tokens = begun_from(start.unet.frame_encoder.state_dict(), fresh)
    elif variant.recipe.frame_tokens:
        trainer = frame_tokens_trainer(
            variant, latents, steps["frame_tokens"], batches["frame_tokens"], of_unet / "frame_tokens"
        )
        trainer.run(report=report)
        frame_tokens = trainer.load_ema().state_dict()
    if variant.recipe.hand_image:
        constants = HandPaste.constants(parts["pointmap_autoencoder"], variant.recipe.change_scale)
        frame_tokens |= {f"paste.{constant}": value for constant, value in constants.items()}
    if variant.recipe.draft:
        trainer = draft_trainer(variant, latents, steps["draft"], batches["draft"], of_unet / "draft", frame_tokens)
        trainer.run(report=report)
        frame_tokens = trainer.load_ema().state_dict()
    trainer = unet_trainer(
        variant,
        latents,
        steps["unet"],
        batches["unet"],
        of_unet,
        svd,
        sample_on_the_way if after_save else None,
        frame_tokens,
        None if start is None else start.unet,
    )
    trainer.run(report=report)
    return Geo4DPipeline(**parts, unet=trainer.load_ema().cpu(), recipe=variant.recipe)
