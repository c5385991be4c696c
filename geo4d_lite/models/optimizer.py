"""AdamW, with moments of 32 or of 8 bits."""

import torch
from torch import nn


def make_optimizer(
    kind: str, weights: list[nn.Parameter] | list[dict], learning_rate: float, weight_decay: float
) -> torch.optim.Optimizer:
    """`kind` "adamw" or "adamw8bit". Raises ModuleNotFoundError that says what to install."""
    options = {"lr": learning_rate, "betas": (0.9, 0.99), "weight_decay": weight_decay}
    if kind == "adamw":
        return torch.optim.AdamW(weights, **options)
    try:
        from bitsandbytes.optim import AdamW8bit
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError('8-bit AdamW is bitsandbytes: pip install "geo4d-lite[gpu]"') from error
    return AdamW8bit(weights, **options)
