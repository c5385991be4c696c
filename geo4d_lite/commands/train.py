"""`geo4d train`: autoencoders, latents and U-Net in one go, resumable at any moment.

Several processes, here two on the processor cores of one machine, and each with a batch of its own:

    OMP_NUM_THREADS=1 torchrun --standalone --nproc-per-node 2 -m geo4d_lite train --data data/tabletop

Several machines: the same line on each, with `--nnodes 2 --rdzv-backend c10d --rdzv-endpoint HOST:29400` in place of
`--standalone`, and `--out` in a folder that all of them see.

At paper scale, from Stable Video Diffusion's weights, on a data set of that preset and a graphics card with 24 GB:

    geo4d train --preset paper --data data/paper --out runs/paper --recipe plain
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from geo4d_lite.models import Geo4DPipeline
    from geo4d_lite.models.variant import Variant

DEFAULTS = {  # by preset, of the options that are None unless given
    "lite": {
        "unet_steps": 20_000,
        "unet_batch": 4,
        "unet_learning_rate": 5e-4,
        "autoencoder_steps": 3_000,
        "autoencoder_batch": 16,
        "autoencoder_learning_rate": 1e-3,
        "weights": "float32",
        "offload": False,
        "checkpoint_minutes": 3.0,
        "gradient_checkpointing": False,
        "optimizer": "muon",
    },
    "paper": {
        "unet_steps": 60_000,
        "unet_batch": 1,
        "unet_learning_rate": 1e-5,
        "autoencoder_steps": 20_000,
        "autoencoder_batch": 1,
        "autoencoder_learning_rate": 1e-5,
        "weights": "bfloat16",
        "offload": True,
        "checkpoint_minutes": 30.0,  # at 38 GB each
        "gradient_checkpointing": True,
        "optimizer": "adamw",
    },
}


@dataclass(frozen=True)
class Train:
    """Train on a data set made by `geo4d demos`. Run the same command again to go on after a kill."""

    data: Path
    """Folder of the data set, or of several, one a task."""
    out: Path = Path("runs/lite")
    """Folder of checkpoints and logs."""
    preset: Literal["lite", "paper"] = "lite"
    """"lite": small, from nothing. "paper": from Stable Video Diffusion's weights, see `svd`."""
    svd: str = "stabilityai/stable-video-diffusion-img2vid"
    """For "paper": folder of SVD's checkpoint in diffusers' layout, or its name on the Hugging Face Hub."""
    recipe: Literal["plain", "best"] = "best"
    """"plain": the paper's choices. "best": with the departures of ours that help at lite scale."""
    cross_view_attention: bool = True
    """Off: the paper's ablation without multi-view attention."""
    shared_decoder: bool = False
    """One decoder for both views, as in the released code."""
    modalities: Literal["rgb+pointmap", "rgb"] = "rgb+pointmap"
    """"rgb": a video model without pointmaps, the paper's SVD baselines."""
    gripper_weighting: Literal["recipe", "none"] = "recipe"
    """"none": the gripper counts in the U-Net's loss as everything else does. (Autoencoders and draft keep theirs.)"""
    frame_tokens: Literal["recipe", "none"] = "recipe"
    """"none": one token for the whole film also in the best recipe, and no draft, which is drawn from them."""
    hand_image: Literal["recipe", "none"] = "recipe"
    """"none": draft and U-Net are not shown, also in the best recipe, what each site would see of the gripper's boxes
    along the path of the hands."""
    place_weight: float | None = None
    """How much the distance of the drawn points from the true ones counts in the losses of draft and U-Net, beside the
    squared error of the latents. By default as the recipe has it; lite scale only."""
    validity_mask: bool = True
    """Off: pixels without depth count in the loss as all others do. (The release also moves their zeros along.)"""
    start_from: Path | None = None
    """Folder of trained lite weights to go on from, by the recipe that they were trained by. Their autoencoders stay;
    their frame tokens are not trained alone again, but go on slowly with draft and U-Net. What `--hand-image` adds
    to them begins without effect, but for the places that are pasted."""
    unet_steps: int | None = None
    """lite 20,000, paper 60,000."""
    unet_batch: int | None = None
    """Windows a step and process; lite 4, paper 1."""
    unet_learning_rate: float | None = None
    """lite 5e-4, paper 1e-5."""
    unet_decay_share: float = 0.2
    """Over this last part of the steps the U-Net's rate falls to zero."""
    token_steps: int = 10_000
    """Of the frame tokens alone, before the U-Net; only with frame tokens."""
    token_batch: int = 32
    """Windows a step and process."""
    token_learning_rate: float = 1e-3
    draft_steps: int = 6_000
    """Of the draft, after the frame tokens and before the U-Net; only in a recipe that has one."""
    draft_batch: int = 8
    """Windows a step and process."""
    draft_learning_rate: float = 1e-3
    autoencoder_steps: int | None = None
    """lite 3,000, paper 20,000."""
    autoencoder_batch: int | None = None
    """Frames a step and process, lite 16; paper 1 clip of ten."""
    autoencoder_learning_rate: float | None = None
    """lite 1e-3, paper 1e-5."""
    weights: Literal["float32", "bfloat16"] | None = None
    """bfloat16 halves their memory; the optimizer then moves a float32 copy. lite float32, paper bfloat16."""
    offload: bool | None = None
    """Keep that copy and the optimizer's moments in the processor's memory. lite no, paper yes."""
    checkpoint_minutes: float | None = None
    """Between checkpoints; lite 3, paper 30, where each takes 38 GB of disk."""
    gradient_checkpointing: bool | None = None
    """Compute activations again in the backward pass. lite no, paper yes."""
    optimizer: Literal["adamw", "adamw8bit", "muon"] | None = None
    """Of the U-Net and its tokens; lite muon, paper adamw. 8-bit moments need bitsandbytes and a graphics card that
    also holds the copy (`--offload False`)."""
    samples: bool = True
    """Draw a held-out window's film beside the truth after each checkpoint of the U-Net."""
    seed: int = 0
    name: str = ""
    """Tells this U-Net's checkpoints apart from others of the same recipe in `out`, trained for longer say."""
    export: Path | None = None
    """Where to write the trained pipeline, in bfloat16 safetensors."""


def main(options: Train) -> None:
    """Run `options`; prints a line of progress every 50 steps."""
    from dataclasses import replace

    from geo4d_lite.data import open_dataset
    from geo4d_lite.models import Geo4DPipeline
    from geo4d_lite.models.device import processes
    from geo4d_lite.models.stages import train_all
    from geo4d_lite.models.training import TrainingSettings
    from geo4d_lite.models.weights import export_pipeline

    if options.start_from is not None and options.preset == "paper":
        raise ValueError("--start-from goes on from lite weights; preset paper starts from --svd")
    if options.place_weight and options.preset == "paper":
        raise ValueError("--place-weight weighs the places in lite latents; SVD's autoencoder has none")
    given = {name: value for name, value in vars(options).items() if value is not None}
    chosen = DEFAULTS[options.preset] | given
    memory = {name: chosen[name] for name in ("weights", "offload", "optimizer", "gradient_checkpointing")}
    pace = {"checkpoint_minutes": chosen["checkpoint_minutes"]}
    autoencoder = TrainingSettings(
        chosen["autoencoder_steps"],
        chosen["autoencoder_learning_rate"],
        seed=options.seed,
        ema_decay=0.995,
        optimizer="adamw8bit" if options.optimizer == "adamw8bit" else "adamw",
        gradient_checkpointing=chosen["gradient_checkpointing"] and options.preset == "paper",
        **pace,
    )
    tokens = TrainingSettings(
        options.token_steps,
        options.token_learning_rate,
        seed=options.seed,
        decay_share=0.4,
        log_every=500,
        optimizer=chosen["optimizer"],
        **pace,
    )
    draft = replace(tokens, steps=options.draft_steps, learning_rate=options.draft_learning_rate, log_every=100)
    rate = {"learning_rate": chosen["unet_learning_rate"], "decay_share": options.unet_decay_share}
    unet = TrainingSettings(chosen["unet_steps"], seed=options.seed, **rate, **memory, **pace)
    variant, dataset = variant_of(options), open_dataset(options.data)
    pipeline = train_all(
        dataset,
        options.out,
        variant,
        {"rgb": autoencoder, "pointmap": autoencoder, "frame_tokens": tokens, "draft": draft, "unet": unet},
        {
            "rgb": chosen["autoencoder_batch"],
            "pointmap": chosen["autoencoder_batch"],
            "frame_tokens": options.token_batch,
            "draft": options.draft_batch,
            "unet": chosen["unet_batch"],
        },
        options.svd if options.preset == "paper" else None,
        after_save=sampler(dataset, options.out / "samples") if options.samples else None,
        name=options.name,
        start=None if options.start_from is None else Geo4DPipeline.from_pretrained(options.start_from),
    )
    if options.export is not None and processes().is_main_process:
        export_pipeline(pipeline, options.export)
        print(f"wrote {options.export}")


def variant_of(options: Train) -> "Variant":
    """The recipe and the architecture that the options ask for. Frame tokens are of lite scale only."""
    from dataclasses import replace

    from geo4d_lite.models.recipe import LITE_SWITCHES, PLAIN, RECIPES
    from geo4d_lite.models.variant import Variant

    left_out = {*LITE_SWITCHES, "place_weight"} if options.preset == "paper" else set()
    if options.frame_tokens == "none":
        left_out |= {"frame_tokens", "draft", "hand_rays", "hand_image"}
    if options.hand_image == "none":
        left_out |= {"hand_image"}
    if options.modalities == "rgb":
        left_out |= {"hand_image", "place_weight"}
    recipe = replace(
        RECIPES[options.recipe],
        modalities=tuple(options.modalities.split("+")),
        validity_mask=options.validity_mask,
        **({"gripper_weighting": "none"} if options.gripper_weighting == "none" else {}),
        **{name: getattr(PLAIN, name) for name in left_out}
        | ({} if options.place_weight is None else {"place_weight": options.place_weight}),
    )
    return Variant(recipe, options.cross_view_attention, options.shared_decoder)


def sampler(dataset, folder: Path):
    """A function of (pipeline, step) that draws the first held-out window's film into `folder`; None without one."""
    import imageio.v3 as imageio
    import torch

    from geo4d_lite.commands.generate import strip
    from geo4d_lite.data import EpisodeError, WindowDataset
    from geo4d_lite.geometry import RGBD

    try:
        item = WindowDataset(dataset, "test")[0]
    except EpisodeError:  # no held-out episode
        return None
    views = [RGBD(item["rgb"][i, 0], item["depth_m"][i, 0], item["K"][i]) for i in (0, 1)]

    def draw(pipeline: "Geo4DPipeline", step: int) -> None:
        video = pipeline(*views, num_inference_steps=4, generator=torch.Generator().manual_seed(0))
        folder.mkdir(parents=True, exist_ok=True)
        imageio.imwrite(folder / f"step_{step:06d}.png", strip(item["rgb"], video.rgb))

    return draw
