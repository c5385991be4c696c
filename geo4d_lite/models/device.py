"""What the machine at hand can do: bfloat16 or not, graphics card or processor, one process or several."""

import torch
from accelerate import PartialState


def has_bf16(device: str = "cpu") -> bool:
    """Whether the device multiplies bfloat16 in hardware; emulated it is slower than float32."""
    if device == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


def autocast(device: str = "cpu", weights: torch.dtype = torch.float32) -> torch.autocast:
    """bfloat16 for matrix products and convolutions where the hardware has it, otherwise nothing.

    Where the `weights` are kept in bfloat16, emulated if need be: their products know no other kind.
    """
    return torch.autocast(device, dtype=torch.bfloat16, enabled=has_bf16(device) or weights == torch.bfloat16)


def best_device() -> str:
    """The graphics card, "cuda", where there is one, otherwise "cpu"."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def processes() -> PartialState:
    """All processes of this training, on graphics cards or, without one, on processor cores."""
    return PartialState(cpu=best_device() == "cpu")
