"""A training loop that can be killed at any moment and goes on as if nothing had happened.

Nothing random is carried from step to step: batch and noise of step k come from a generator seeded by (seed, k) and
the process. What a checkpoint must hold is therefore little: weights, their moving average, AdamW's two moments and the
step.

Several processes, started by `torchrun`, draw a batch each and take the step of their mean gradient.
"""

import csv
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from accelerate import PartialState
from accelerate.utils import reduce
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

LossFunction = Callable[[nn.Module, torch.Generator], dict[str, Tensor]]


@dataclass(frozen=True)
class TrainingSettings:
    """How long and how fast. The learning rate rises, stays, and falls to zero over the last part of the steps."""

    steps: int = 20_000
    learning_rate: float = 5e-4
    warmup_steps: int = 200
    decay_share: float = 0.2
    weight_decay: float = 0.01
    gradient_clip: float = 1.0
    ema_decay: float = 0.999
    seed: int = 0
    checkpoint_minutes: float = 3.0
    log_every: int = 50

    def rate(self, step: int) -> float:
        """Learning rate of a step, counted from 0."""
        rise = min(1.0, (step + 1) / self.warmup_steps)
        fall = min(1.0, (self.steps - step) / max(1.0, self.decay_share * self.steps))
        return self.learning_rate * rise * fall


def has_bf16(device: str = "cpu") -> bool:
    """Whether the device multiplies bfloat16 in hardware; emulated it is slower than float32."""
    if device == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


def autocast(device: str = "cpu") -> torch.autocast:
    """bfloat16 for matrix products and convolutions where the hardware has it, otherwise nothing."""
    return torch.autocast(device, dtype=torch.bfloat16, enabled=has_bf16(device))


def processes() -> PartialState:
    """All processes of this training, on graphics cards or, without one, on processor cores."""
    return PartialState(cpu=not torch.cuda.is_available())


class Trainer:
    """Minimise `loss_function(model, generator)["loss"]`, keeping a moving average of the weights.

    Args:
        model: trained in place; its moving average is `ema`, a dictionary of the same names.
        loss_function: draws its own batch and noise from the (CPU's) generator it is given, and nowhere else.
        folder: where `state.safetensors` and `log.csv` go; an existing state is resumed. None: memory only.
        device: where the model is trained; the loss function brings its batch there.
    """

    def __init__(
        self,
        model: nn.Module,
        loss_function: LossFunction,
        settings: TrainingSettings,
        folder: Path | None = None,
        device: torch.device | str = "cpu",
    ):
        model = model.to(device)
        self.model, self.loss_function, self.settings, self.folder = model, loss_function, settings, folder
        self.processes = processes()
        self.names, self.parameters = zip(*model.named_parameters(), strict=True)
        self.optimizer = torch.optim.AdamW(
            self.parameters, lr=settings.learning_rate, betas=(0.9, 0.99), weight_decay=settings.weight_decay
        )
        self.ema = {name: p.detach().clone() for name, p in zip(self.names, self.parameters, strict=True)}
        self.step = 0
        self.history: list[dict[str, float]] = []
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            if self.state_path.exists():
                self.resume()

    @property
    def state_path(self) -> Path:
        return self.folder / "state.safetensors"

    def run(self, until: int | None = None, report: Callable[[str], None] | None = print) -> list[dict[str, float]]:
        """Train to step `until` (default: the end). Returns the log, one entry every `log_every` steps.

        Only the first of several processes writes files and reports.
        Raises FloatingPointError when the loss is not finite; the last checkpoint stays as it is.
        """
        until = min(until or self.settings.steps, self.settings.steps)
        self.model.train()
        sums, count = {}, 0
        started = last_log = last_save = time.monotonic()
        first = self.step
        while self.step < until:
            for name, value in self.advance().items():
                sums[name] = sums.get(name, 0.0) + value
            count += 1
            now = time.monotonic()
            if self.step % self.settings.log_every == 0 or self.step == until:
                entry = {"step": self.step, **{name: value / count for name, value in sums.items()}}
                entry["seconds_per_step"] = (now - last_log) / count
                self._log(entry)
                if report and self.processes.is_main_process:
                    left = (until - self.step) * (now - started) / (self.step - first)
                    losses = "  ".join(f"{name} {value:.4f}" for name, value in entry.items() if name in sums)
                    pace = f"{entry['seconds_per_step']:.2f} s/step  {left / 60:.0f} min left"
                    report(f"step {self.step}/{until}  {losses}  {pace}")
                sums, count, last_log = {}, 0, now
            if self.folder is not None and now - last_save > 60 * self.settings.checkpoint_minutes:
                self.save()
                last_save = now
        if self.folder is not None:
            self.save()
        self.processes.wait_for_everyone()
        return self.history

    def advance(self) -> dict[str, float]:
        """One step; returns the losses as numbers."""
        of_step = self.settings.seed * 1_000_003 + self.step
        of_process = of_step * self.processes.num_processes + self.processes.process_index
        generator = torch.Generator().manual_seed(of_process)
        for group in self.optimizer.param_groups:
            group["lr"] = self.settings.rate(self.step)
        losses = self.loss_function(self.model, generator)
        means = dict(zip(losses, self._mean(torch.stack([value.detach() for value in losses.values()])), strict=True))
        if not torch.isfinite(means["loss"]):
            raise FloatingPointError(
                f"the loss is {means['loss'].item()} at step {self.step}; the last good checkpoint is untouched: "
                "lower learning_rate or look at the data of this step"
            )
        self.optimizer.zero_grad(set_to_none=True)
        losses["loss"].backward()
        self._average_gradients()
        nn.utils.clip_grad_norm_(self.parameters, self.settings.gradient_clip)
        self.optimizer.step()
        self.step += 1
        decay = min(self.settings.ema_decay, self.step / (10 + self.step))  # a short memory at first
        torch._foreach_lerp_([self.ema[name] for name in self.names], [p.detach() for p in self.parameters], 1 - decay)
        return {name: float(value) for name, value in means.items()}

    def _mean(self, values: Tensor) -> Tensor:
        """The mean over all processes."""
        return reduce(values, "mean") if self.processes.num_processes > 1 else values

    def _average_gradients(self) -> None:
        """Replace the gradients by their mean over all processes, in one message."""
        if self.processes.num_processes > 1:
            gradients = [p.grad for p in self.parameters if p.grad is not None]
            mean = self._mean(torch.cat([gradient.flatten() for gradient in gradients]))
            parts = mean.split([gradient.numel() for gradient in gradients])
            torch._foreach_copy_(gradients, [part.view_as(g) for part, g in zip(parts, gradients, strict=True)])

    def load_ema(self) -> nn.Module:
        """Put the moving average into the model, for sampling. Training must not go on from there."""
        self.model.load_state_dict(self.ema, strict=False)
        return self.model.eval()

    def save(self) -> None:
        """Write the state beside the old one, then swap: a kill leaves one of the two whole."""
        if not self.processes.is_main_process:
            return
        tensors = {f"model.{k}": v for k, v in self.model.state_dict().items()}
        tensors |= {f"ema.{k}": v for k, v in self.ema.items()}
        for name, p in zip(self.names, self.parameters, strict=True):
            state = self.optimizer.state.get(p, {})
            tensors |= {f"{key}.{name}": state[key] for key in ("exp_avg", "exp_avg_sq") if key in state}
        unfinished = self.state_path.with_suffix(".unfinished")
        save_file({k: v.detach().contiguous() for k, v in tensors.items()}, unfinished, {"step": str(self.step)})
        os.replace(unfinished, self.state_path)

    def resume(self) -> None:
        """Load `state.safetensors`. Raises ValueError when it belongs to a model of another shape."""
        with safe_open(self.state_path, "pt") as file:
            state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (not a dictionary)
            self.step = int(file.metadata()["step"])
        try:
            self.model.load_state_dict({k[6:]: v for k, v in state.items() if k.startswith("model.")})
        except RuntimeError as error:
            raise ValueError(
                f"{self.state_path} is of another model than the one to train ({str(error).splitlines()[0]}): "
                "give another --out, or delete that folder"
            ) from error
        self.ema = {name: state[f"ema.{name}"].to(self.ema[name].device) for name in self.names}
        for name, p in zip(self.names, self.parameters, strict=True):
            if f"exp_avg.{name}" in state:
                moments = {key: state[f"{key}.{name}"].to(p.device) for key in ("exp_avg", "exp_avg_sq")}
                self.optimizer.state[p] = {"step": torch.tensor(float(self.step)), **moments}
        self._forget_later_log()

    def _forget_later_log(self) -> None:
        """Drop log entries of steps after the checkpoint: they are about to be taken, and logged, again."""
        path = self.folder / "log.csv"
        if path.exists() and self.processes.is_main_process:
            header, *lines = path.read_text().splitlines(keepends=True)
            path.write_text(header + "".join(line for line in lines if int(line.split(",", 1)[0]) <= self.step))

    def _log(self, entry: dict[str, float]) -> None:
        self.history.append(entry)
        if self.folder is None or not self.processes.is_main_process:
            return
        path = self.folder / "log.csv"
        new = not path.exists()
        with path.open("a", newline="") as file:
            writer = csv.DictWriter(file, entry)
            if new:
                writer.writeheader()
            writer.writerow(entry)
