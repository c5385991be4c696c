"""Arguments: processes, folder, step. Train a small regression to that step; a test launches it by torchrun."""

import sys
from pathlib import Path

import torch
from torch import nn

from geo4d_lite.models import Trainer, TrainingSettings
from geo4d_lite.models.device import processes

count, folder, until = int(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
assert processes().num_processes == count


def loss(model: nn.Module, generator: torch.Generator) -> dict[str, torch.Tensor]:
    x = torch.randn(16, 4, generator=generator)
    return {"loss": ((model(x)[:, 0] - x.sum(dim=1)) ** 2).mean()}


def both_batches(model: nn.Module, generator: torch.Generator) -> dict[str, torch.Tensor]:
    """What two processes do, in one: the mean loss of the batches that they draw."""
    step = generator.initial_seed()
    draws = [loss(model, torch.Generator().manual_seed(2 * step + process))["loss"] for process in (0, 1)]
    return {"loss": torch.stack(draws).mean()}


torch.manual_seed(0)
model = nn.Sequential(nn.Linear(4, 8), nn.SiLU(), nn.Linear(8, 1))
trainer = Trainer(model, loss if count == 2 else both_batches, TrainingSettings(30, log_every=5), folder)
trainer.run(until)
