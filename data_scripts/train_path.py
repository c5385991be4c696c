"""Train the path model, which reads from a point cloud of both views how both grippers will move.

nice python -m data_scripts.train_path --data data/tabletop --export geo4d_lite/assets/weights/path_model
geo4d rollout --policy video --views both --path-model geo4d_lite/assets/weights/path_model
"""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from data_scripts.command_line import run
from geo4d_lite.data import open_dataset
from geo4d_lite.models import Trainer, TrainingSettings
from geo4d_lite.models.path_model import PathModel
from geo4d_lite.models.path_windows import PathWindows


@dataclass(frozen=True)
class TrainPath:
    """Train the path model; the same command goes on after a kill."""

    data: Path
    export: Path
    """Folder to write the weights to, in bfloat16."""
    out: Path = Path("runs/path_model")
    """Folder of checkpoints and of the clouds."""
    steps: int = 6_800
    batch: int = 64
    learning_rate: float = 1.5e-3
    pairs: int = 3
    """Random pairs of training cameras an episode of which clouds are made."""
    workers: int = 1
    """Processes that make clouds side by side."""
    seed: int = 0


def main(options: TrainPath) -> None:
    """Run `options`; prints a line of progress every 50 steps."""
    episodes = open_dataset(options.data).split("train")
    windows = PathWindows(episodes, options.out / "clouds", options.pairs, options.workers)
    torch.manual_seed(options.seed)
    settings = TrainingSettings(
        options.steps, options.learning_rate, seed=options.seed, decay_share=0.5, ema_decay=0.99, optimizer="muon"
    )

    def loss(model: PathModel, generator: torch.Generator) -> dict[str, Tensor]:
        return model.loss(*windows.batch(options.batch, generator))

    trainer = Trainer(PathModel(), loss, settings, options.out)
    trainer.run()
    torch.nn.Module.to(trainer.load_ema(), torch.bfloat16).save_pretrained(options.export)
    print(f"wrote {options.export}")


if __name__ == "__main__":
    run(main)
