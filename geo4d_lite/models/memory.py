"""How much memory a training step needs, by calculation: the model is walked through without a single number in it.

On PyTorch's meta device tensors have shapes and no content, so the paper's 2.4 billion weights fit on a laptop. What
the backward pass would keep is counted as it is handed over to it. A plan, not a measurement: a real card adds what its
kernels use on the way and what its allocator cannot reuse.
"""

from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from geo4d_lite.models.training import TrainingSettings
from geo4d_lite.models.unet import DualBranchUNet

GIGABYTE = 1e9
BYTES = {"float32": 4, "bfloat16": 2}
MOMENT_BYTES = {"adamw": 8, "adamw8bit": 2, "muon": 4}  # of all moments together, a weight; nearly all are in matrices


@dataclass(frozen=True)
class MemoryPlan:
    """Gigabytes, by what they hold and where. `activations`: kept from the forward for the backward pass."""

    weights: float
    gradients: float
    optimizer: float
    average: float
    activations: float
    offload: bool

    @property
    def card(self) -> float:
        """Gigabytes on the graphics card."""
        moved = 0.0 if self.offload else self.optimizer + self.average
        return self.weights + self.gradients + self.activations + moved

    @property
    def processor(self) -> float:
        """Gigabytes kept in the processor's memory. During a step the gradients come on top, in float32."""
        return self.optimizer + self.average if self.offload else 0.0


def training_memory(
    preset: str, settings: TrainingSettings, batch: int, latent_size: tuple[int, int], frames: int = 10, **switches
) -> MemoryPlan:
    """Memory of a U-Net's training step on `batch` windows of latents of `latent_size` (height, width).

    `switches`: of `DualBranchUNet.from_preset`.
    """
    with torch.device("meta"):
        unet = DualBranchUNet.from_preset(preset, **switches)
    unet = nn.Module.to(unet, "meta", getattr(torch, settings.weights))  # a few small tensors ignore the context
    count = sum(p.numel() for p in unet.parameters()) / GIGABYTE
    has_copy = settings.weights != "float32" or settings.offload
    return MemoryPlan(
        weights=count * BYTES[settings.weights],
        gradients=count * BYTES[settings.weights],
        optimizer=count * (MOMENT_BYTES[settings.optimizer] + (4 if has_copy else 0)),
        average=count * 4,
        activations=activation_bytes(unet, batch, frames, latent_size, settings.gradient_checkpointing) / GIGABYTE,
        offload=settings.offload,
    )


def activation_bytes(
    unet: DualBranchUNet, batch: int, frames: int, latent_size: tuple[int, int], checkpointing: bool
) -> int:
    """Bytes kept from a forward pass of a model on the meta device.

    With gradient checkpointing, the inputs of every layer, and all that the greediest single layer keeps while it is
    computed again.
    """
    config, dtype = unet.config, unet.dtype
    channels = config["size"]["latent_channels"] * len(config["modalities"])
    shape = (batch, 2, frames, channels, *latent_size)
    with torch.device("meta"):
        noisy, condition = torch.empty(shape, dtype=dtype), torch.empty(batch, 2, channels, *latent_size, dtype=dtype)
        token = torch.empty(batch, 2, 1, config["size"]["context_dim"], dtype=dtype)
        c_noise = torch.empty(batch, dtype=dtype)
    layers = [layer for name, layer in unet.named_modules() if is_layer(name)]
    counting = counted(layers, set(map(storage, unet.parameters())))
    with torch.enable_grad(), torch.device("meta"), counting as count:  # a caller without gradients keeps nothing
        unet(noisy, condition, c_noise, token)
    if not checkpointing:
        return sum(count.kept.values())
    return sum(count.inputs.values()) + max(sum(kept.values()) for kept in count.of_layer.values())


def is_layer(name: str) -> bool:
    """Whether a module is computed again as a whole: residual blocks, transformers and cross-view attentions."""
    *_, parent, last = ("", *name.split("."))
    return parent in ("resnets", "attentions", "view_attention") and last.isdigit()


@dataclass(frozen=True)
class Count:
    """Bytes by storage, so that a tensor kept twice counts once: in all, as inputs of layers, and layer by layer."""

    kept: dict[int, int]
    inputs: dict[int, int]
    of_layer: dict[nn.Module, dict[int, int]]


@contextmanager
def counted(layers: list[nn.Module], leave_out: set[int]):
    """Count what the forward passes within keep; `leave_out`: storages of the weights themselves."""
    count, inside, alive = Count({}, {}, {layer: {} for layer in layers}), [], []

    def note(into: dict[int, int], tensor: Tensor) -> None:
        if storage(tensor) not in leave_out:
            alive.append(tensor)  # a storage that is freed could lend its place to another
            into[storage(tensor)] = tensor.untyped_storage().nbytes()

    def keep(tensor: Tensor) -> Tensor:
        note(count.kept, tensor)
        if inside:
            note(count.of_layer[inside[-1]], tensor)
        return tensor

    def enter(layer: nn.Module, inputs: tuple) -> None:
        inside.append(layer)
        for tensor in inputs:
            if isinstance(tensor, Tensor):
                note(count.inputs, tensor)

    def leave(layer: nn.Module, inputs: tuple, output) -> None:
        inside.pop()

    hooks = [layer.register_forward_pre_hook(enter) for layer in layers]
    hooks += [layer.register_forward_hook(leave) for layer in layers]
    try:
        with saved_tensors_hooks(keep, lambda tensor: tensor):
            yield count
    finally:
        for hook in hooks:
            hook.remove()


def storage(tensor: Tensor) -> int:
    """What tells storages apart, also on the meta device, where all addresses are zero."""
    return tensor.untyped_storage()._cdata
