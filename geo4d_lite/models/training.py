"""A training loop that can be killed at any moment and goes on as if nothing had happened.

Nothing random is carried from step to step: batch and noise of step k come from a generator seeded by (seed, k) and
the process. What a checkpoint must hold is therefore little: weights, their moving average, the optimizer's
moments and the step.

Several processes, started by `torchrun`, draw a batch each and take the step of their mean gradient.

A model of billions of weights is kept in bfloat16, whose numbers have three digits: at a learning rate of 1e-5 a step
is smaller than the distance to the next number, and adding it changes nothing. The optimizer therefore moves float32
copies ("master weights"), in the processor's memory where the graphics card's is short.
"""

import csv
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from accelerate.utils import reduce
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from geo4d_lite.models.device import processes
from geo4d_lite.models.optimizer import by_pace, make_optimizer

LossFunction = Callable[[nn.Module, torch.Generator], dict[str, Tensor]]


@dataclass(frozen=True)
class TrainingSettings:
    """How long, how fast, and in how much memory. The learning rate rises, stays, and falls to zero over the last part.

    weights: "float32", multiplied in bfloat16 where the device can; or "bfloat16", half the memory, with a float32
        master copy that the optimizer moves.
    offload: keep master copy, moving average and AdamW's moments in the processor's memory, not on the graphics card.
    optimizer: "adamw"; "adamw8bit", whose moments take a quarter of the memory (bitsandbytes, CUDA); or "muon", which
        learns more from a step, see `optimizer.Muon`.
    gradient_checkpointing: compute activations again in the backward pass instead of keeping them.
    """

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
    weights: Literal["float32", "bfloat16"] = "float32"
    offload: bool = False
    optimizer: Literal["adamw", "adamw8bit", "muon"] = "adamw"
    gradient_checkpointing: bool = False

    def rate(self, step: int) -> float:
        """Learning rate of a step, counted from 0."""
        rise = min(1.0, (step + 1) / self.warmup_steps)
        fall = min(1.0, (self.steps - step) / max(1.0, self.decay_share * self.steps))
        return self.learning_rate * rise * fall


class Trainer:
    """Minimise `loss_function(model, generator)["loss"]`, keeping a moving average of the weights.

    Args:
        model: trained in place; its moving average is `ema`, a dictionary of the same names.
        loss_function: draws its own batch and noise from the (CPU's) generator it is given, and nowhere else.
        folder: where `state.safetensors` and `log.csv` go; an existing state is resumed. None: memory only.
        device: where the model is trained; the loss function brings its batch there.
        after_save: called with the trainer after each checkpoint, to draw samples say. It may use the model as it likes
            within `averaged()`, and nothing else of the trainer.
        pace: share of the learning rate for weights whose names begin so; all others learn at the full rate.
    """

    def __init__(
        self,
        model: nn.Module,
        loss_function: LossFunction,
        settings: TrainingSettings,
        folder: Path | None = None,
        device: torch.device | str = "cpu",
        after_save: Callable[["Trainer"], None] | None = None,
        pace: dict[str, float] | None = None,
    ):
        self.model, self.loss_function, self.settings, self.folder = model, loss_function, settings, folder
        self.after_save, self.processes = after_save, processes()
        if settings.gradient_checkpointing:
            model.enable_gradient_checkpointing()
        self.names = [name for name, _ in model.named_parameters()]
        self.weights = self._place_weights(device)
        groups = by_pace(self.names, self.weights, pace or {})
        self.optimizer = make_optimizer(settings.optimizer, groups, settings.learning_rate, settings.weight_decay)
        self.ema = {name: w.detach().clone() for name, w in zip(self.names, self.weights, strict=True)}
        self.step = 0
        self.history: list[dict[str, float]] = []
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            if self.state_path.exists():
                self.resume()

    @property
    def state_path(self) -> Path:
        return self.folder / "state.safetensors"

    @property
    def parameters(self) -> list[nn.Parameter]:
        """The model's own weights, in the order of `names`."""
        return list(self.model.parameters())

    def _place_weights(self, device: torch.device | str) -> list[nn.Parameter]:
        """Bring the model to its device and precision; returns what the optimizer moves: its weights, or their copy."""
        if self.settings.weights == "float32" and not self.settings.offload:
            self.model.to(device)
            return self.parameters
        keep = "cpu" if self.settings.offload else device
        master = [nn.Parameter(p.detach().to(keep, torch.float32, copy=True)) for p in self.parameters]
        nn.Module.to(self.model, device, getattr(torch, self.settings.weights))
        return master

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
            group["lr"] = group["pace"] * self.settings.rate(self.step)
        losses = self.loss_function(self.model, generator)
        means = dict(zip(losses, self._mean(torch.stack([value.detach() for value in losses.values()])), strict=True))
        if not torch.isfinite(means["loss"]):
            raise FloatingPointError(
                f"the loss is {means['loss'].item()} at step {self.step}; the last good checkpoint is untouched: "
                "lower learning_rate or look at the data of this step"
            )
        losses["loss"].backward()
        self._average_gradients()
        nn.utils.clip_grad_norm_(self.parameters, self.settings.gradient_clip)
        self._hand_over_gradients()
        self.optimizer.step()
        self._write_back()
        self.optimizer.zero_grad()  # those of a master copy are as large as the weights in float32
        self.step += 1
        decay = min(self.settings.ema_decay, self.step / (10 + self.step))  # a short memory at first
        torch._foreach_lerp_([self.ema[name] for name in self.names], [w.detach() for w in self.weights], 1 - decay)
        return {name: float(value) for name, value in means.items()}

    def _master_pairs(self) -> list[tuple[nn.Parameter, nn.Parameter]]:
        """Each weight of the model with its master copy; none where the optimizer moves the model's own weights."""
        return [(p, w) for p, w in zip(self.parameters, self.weights, strict=True) if p is not w]

    def _hand_over_gradients(self) -> None:
        for p, master in self._master_pairs():
            if p.grad is not None:
                master.grad, p.grad = p.grad.to(master.device, master.dtype), None

    @torch.no_grad()
    def _write_back(self) -> None:
        for p, master in self._master_pairs():
            p.copy_(master)

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

    @contextmanager
    def averaged(self) -> Iterator[nn.Module]:
        """The model with the moving average in it, for sampling on the way; afterwards training goes on unchanged."""
        kept = [p.detach().clone() for p in self.parameters]
        try:
            yield self.load_ema()
        finally:
            with torch.no_grad():
                for p, value in zip(self.parameters, kept, strict=True):
                    p.copy_(value)
            self.model.train()

    def save(self) -> None:
        """Write the state beside the old one, then swap: a kill leaves one of the two whole.

        Raises OSError where there is no room for it; the last checkpoint stays as it is.
        """
        if self.processes.is_main_process:
            tensors = {f"model.{k}": v for k, v in self.model.state_dict().items()}
            for name, w in zip(self.names, self.weights, strict=True):
                tensors |= {f"model.{name}": w, f"ema.{name}": self.ema[name]}
                # Tables are cloned: bitsandbytes hands one to all weights, and safetensors stores nothing twice.
                moments = [(k, v) for k, v in self.optimizer.state.get(w, {}).items() if isinstance(v, Tensor)]
                tensors |= {f"{k}.{name}": v.clone() if "qmap" in k else v for k, v in moments if k != "step"}
            self._write({k: v.detach().contiguous() for k, v in tensors.items()})
            if self.after_save is not None:
                self.after_save(self)

    def _write(self, tensors: dict[str, Tensor]) -> None:
        unfinished = self.state_path.with_suffix(".unfinished")
        try:
            save_file(tensors, unfinished, {"step": str(self.step)})
        except (OSError, SafetensorError) as error:
            unfinished.unlink(missing_ok=True)
            needed = sum(v.nbytes for v in tensors.values()) / 1e9
            raise OSError(
                f"the checkpoint of step {self.step} could not be written ({error}); it needs {needed:.2f} GB in "
                f"{self.folder}: make room and run the command again, it goes on from the last good checkpoint"
            ) from error
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
        moments = sorted({key.partition(".")[0] for key in state} - {"model", "ema"})
        for name, w in zip(self.names, self.weights, strict=True):
            with torch.no_grad():
                w.copy_(state[f"model.{name}"])
            found = {key: state[f"{key}.{name}"].to(w.device) for key in moments if f"{key}.{name}" in state}
            if found:
                step = self.step if self.settings.optimizer == "adamw8bit" else torch.tensor(float(self.step))
                self.optimizer.state[w] = {"step": step, **found}
        self._write_back()
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
