"""Train Diffusion Policy or DP3 on the demonstrations of one task, or of a folder of several.

nice python -m data_scripts.train_policy --policy dp3 --data data/tabletop --task PlaceAppleFromBowlIntoBin \
    --export runs/dp3/apple
geo4d rollout --policy dp3 --task PlaceAppleFromBowlIntoBin --weights runs/dp3/apple
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from data_scripts.command_line import run
from geo4d_lite.data import open_dataset
from geo4d_lite.models import Trainer, TrainingSettings
from geo4d_lite.models.action_diffusion import action_loss
from geo4d_lite.models.demonstrations import CloudMoments, ImageMoments
from geo4d_lite.models.device import processes
from geo4d_lite.models.diffusion_policy import DiffusionPolicy
from geo4d_lite.models.dp3 import DP3


@dataclass(frozen=True)
class TrainPolicy:
    """Train a policy that predicts actions directly; the same command goes on after a kill.

    AdamW's moments are those of every training here, (0.9, 0.99); the papers take (0.95, 0.999) and 1e-4.
    """

    policy: Literal["diffusion_policy", "dp3"]
    data: Path
    export: Path
    """Folder to write the weights to, in bfloat16."""
    out: Path | None = None
    """Folder of checkpoints; runs/<policy>_<task or data set> by default."""
    task: str | None = None
    """Name of the only task to learn from; all that `data` holds, if not given."""
    preset: Literal["lite", "paper"] = "lite"
    steps: int = 20_000
    batch: int = 32
    learning_rate: float = 3e-4
    pairs: int = 12
    """For DP3: pairs of cameras an episode whose clouds are computed before training."""
    seed: int = 0


def main(options: TrainPolicy) -> None:
    """Run `options`; prints a line of progress every 50 steps."""
    dataset = open_dataset(options.data)
    if options.task is not None:
        dataset = dataset.of_task(options.task)
    if options.policy == "dp3":
        moments, kind = CloudMoments(dataset, options.pairs, options.seed), DP3
    else:
        moments, kind = ImageMoments(dataset), DiffusionPolicy
    torch.manual_seed(options.seed)
    model = kind.from_preset(options.preset, moments.state_range, moments.step_s)
    settings = TrainingSettings(options.steps, options.learning_rate, seed=options.seed)
    folder = options.out or Path("runs") / f"{options.policy}_{options.task or options.data.name}"
    trainer = Trainer(model, action_loss(moments, options.batch), settings, folder, processes().device)
    trainer.run()
    torch.nn.Module.to(trainer.load_ema(), torch.bfloat16).save_pretrained(options.export)
    print(f"wrote {options.export}")


if __name__ == "__main__":
    run(main)
