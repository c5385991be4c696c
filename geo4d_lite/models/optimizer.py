"""AdamW, with moments of 32 or of 8 bits."""

import torch
from torch import nn


def by_pace(names: list[str], weights: list[nn.Parameter], pace: dict[str, float]) -> list[dict]:
    """Parameter groups with their "pace", a share of the learning rate, the fastest first.

    `pace`: by the beginning of a weight's name; all others have the full rate.
    """
    pace_of = [next((share for start, share in pace.items() if name.startswith(start)), 1.0) for name in names]
    return [
        {"params": [w for w, p in zip(weights, pace_of, strict=True) if p == share], "pace": share}
        for share in sorted(set(pace_of), reverse=True)
    ]


def make_optimizer(kind: str, groups: list[dict], learning_rate: float, weight_decay: float) -> torch.optim.Optimizer:
    """`kind` "adamw" or "adamw8bit". Raises ModuleNotFoundError that says what to install."""
    options = {"lr": learning_rate, "betas": (0.9, 0.99), "weight_decay": weight_decay}
    if kind == "adamw":
        return torch.optim.AdamW(groups, **options)
    try:
        from bitsandbytes.optim import AdamW8bit
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError('8-bit AdamW is bitsandbytes: pip install "geo4d-lite[gpu]"') from error
    return AdamW8bit(groups, **options)
