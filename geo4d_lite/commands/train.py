"""`geo4d train`: autoencoders, latents and U-Net in one go, resumable at any moment.

Several processes, here two on the processor cores of one machine, and each with a batch of its own:

    OMP_NUM_THREADS=1 torchrun --standalone --nproc-per-node 2 -m geo4d_lite train --data data/tabletop
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal


@dataclass(frozen=True)
class Train:
    """Train the lite model on a data set made by `geo4d demos`. Run the same command again to go on after a kill."""

    data: Path
    """Folder of the data set, or of several, one a task."""
    out: Path = Path("runs/lite")
    """Folder of checkpoints and logs."""
    recipe: Literal["plain", "best"] = "best"
    """"plain": the paper's choices. "best": with the departures of ours that help at lite scale."""
    cross_view_attention: bool = True
    """Off: the paper's ablation without multi-view attention."""
    shared_decoder: bool = False
    """One decoder for both views, as in the released code."""
    unet_steps: int = 20_000
    unet_batch: int = 4
    """Windows a step and process."""
    unet_learning_rate: float = 5e-4
    autoencoder_steps: int = 3_000
    autoencoder_batch: int = 16
    autoencoder_learning_rate: float = 1e-3
    seed: int = 0
    export: Path | None = None
    """Where to write the trained pipeline, in bfloat16 safetensors."""


def main(options: Train) -> None:
    """Run `options`; prints a line of progress every 50 steps."""

    from geo4d_lite.data import open_dataset
    from geo4d_lite.models.recipe import RECIPES
    from geo4d_lite.models.stages import Variant, train_all
    from geo4d_lite.models.training import TrainingSettings, processes
    from geo4d_lite.models.weights import export_pipeline

    autoencoder = TrainingSettings(
        options.autoencoder_steps, options.autoencoder_learning_rate, seed=options.seed, ema_decay=0.995
    )
    unet = TrainingSettings(options.unet_steps, options.unet_learning_rate, seed=options.seed)
    pipeline = train_all(
        open_dataset(options.data),
        options.out,
        Variant(RECIPES[options.recipe], options.cross_view_attention, options.shared_decoder),
        {"rgb": autoencoder, "pointmap": autoencoder, "unet": unet},
        {"rgb": options.autoencoder_batch, "pointmap": options.autoencoder_batch, "unet": options.unet_batch},
    )
    if options.export is not None and processes().is_main_process:
        export_pipeline(pipeline, options.export)
        print(f"wrote {options.export}")
