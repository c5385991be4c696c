"""Train the 4D Gaussian baseline of one task, for `geo4d evaluate --weights`.

nice python -m data_scripts.train_gaussians --data data/tabletop/apple --export runs/gaussians/apple
"""

from dataclasses import dataclass
from pathlib import Path

import torch

from data_scripts.command_line import run
from geo4d_lite.data import WindowDataset, open_dataset
from geo4d_lite.models import Trainer, TrainingSettings
from geo4d_lite.models.gaussian_video import field_loss
from geo4d_lite.models.gaussians4d import DeformationField


@dataclass(frozen=True)
class TrainGaussians:
    """Train the deformation field on the training windows of a data set; the same command goes on after a kill."""

    data: Path
    export: Path
    """Folder to write the weights to, in bfloat16."""
    out: Path | None = None
    """Folder of checkpoints; runs/gaussians_<data set> by default."""
    steps: int = 2_000
    learning_rate: float = 1e-3
    every: int = 2
    """Every second row and column of the observation becomes a Gaussian."""
    seed: int = 0


def main(options: TrainGaussians) -> None:
    """Run `options`; prints a line of progress every 50 steps."""
    windows = WindowDataset(open_dataset(options.data), "train")
    torch.manual_seed(options.seed)
    settings = TrainingSettings(options.steps, options.learning_rate, seed=options.seed, ema_decay=0.99)
    folder = options.out or Path("runs") / f"gaussians_{options.data.name}"
    trainer = Trainer(DeformationField(), field_loss(windows, options.every), settings, folder)
    trainer.run()
    torch.nn.Module.to(trainer.load_ema(), torch.bfloat16).save_pretrained(options.export)
    print(f"wrote {options.export}")


if __name__ == "__main__":
    run(main)
