"""Train the small video encoder behind *FVD (lite features)* on a data set, or on a folder of several.

nice python -m data_scripts.train_video_features --data data/tabletop --export geo4d_lite/assets/weights/video_encoder
"""

from dataclasses import dataclass
from pathlib import Path

import torch

from data_scripts.command_line import run
from geo4d_lite.data import open_dataset
from geo4d_lite.models import Trainer, TrainingSettings
from geo4d_lite.models.device import processes
from geo4d_lite.models.video_encoder import ClipSampler, VideoEncoder, encoder_loss


@dataclass(frozen=True)
class TrainVideoFeatures:
    """Train the video encoder; the same command goes on after a kill."""

    data: Path
    export: Path
    """Folder to write the weights to, in bfloat16."""
    out: Path = Path("runs/video_encoder")
    steps: int = 4_000
    batch: int = 12
    seed: int = 0


def main(options: TrainVideoFeatures) -> None:
    """Run `options`; prints a line of progress every 50 steps."""
    clips = ClipSampler(open_dataset(options.data))
    torch.manual_seed(options.seed)
    model = VideoEncoder(tasks=len(clips.tasks))
    settings = TrainingSettings(options.steps, 1e-3, seed=options.seed, ema_decay=0.99)
    trainer = Trainer(model, encoder_loss(clips, options.batch), settings, options.out, processes().device)
    trainer.run()
    torch.nn.Module.to(trainer.load_ema(), torch.bfloat16).save_pretrained(options.export)
    print(f"wrote {options.export}")


if __name__ == "__main__":
    run(main)
