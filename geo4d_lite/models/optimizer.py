"""AdamW, with moments of 32 or of 8 bits, and Muon."""

import torch
from torch import Tensor, nn

MOMENTUM = 0.95
MATCHED_RMS = 0.2  # of Muon's step, about that of AdamW's, so that both take the same learning rate (Liu et al. 2025)
QUINTIC = (3.4445, -4.7750, 2.0315)  # drives singular values towards 1 in five rounds (Jordan et al. 2024)


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
    """`kind` "adamw", "adamw8bit" or "muon". Raises ModuleNotFoundError that says what to install."""
    options = {"lr": learning_rate, "betas": (0.9, 0.99), "weight_decay": weight_decay}
    if kind != "adamw8bit":
        return {"adamw": torch.optim.AdamW, "muon": Muon}[kind](groups, **options)
    try:
        from bitsandbytes.optim import AdamW8bit
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError('8-bit AdamW is bitsandbytes: pip install "geo4d-lite[gpu]"') from error
    return AdamW8bit(groups, **options)


class Muon(torch.optim.AdamW):
    """Muon for every weight that is a matrix or a kernel, AdamW for the others (Jordan et al. 2024).

    AdamW divides each number of a gradient by its own size; Muon takes the whole matrix of the momentum and replaces
    its singular values by 1, so that rare directions are learned as fast as common ones. torch.optim.Muon does the
    same, but knows matrices only, and no kernels of convolutions: here a kernel is the matrix of its output channels by
    all that goes into each. Its momentum has the name of AdamW's, `exp_avg`, so a training can change from one to the
    other.
    """

    @torch.no_grad()
    def step(self) -> None:
        """One step; the gradients of matrices are consumed."""
        for group in self.param_groups:
            matrices = [w for w in group["params"] if w.ndim >= 2 and w.grad is not None]
            if not matrices:
                continue
            directions = orthogonal_all(self._momentum_ahead(matrices))
            scales = [-group["lr"] * MATCHED_RMS * max(direction.shape) ** 0.5 for direction in directions]
            steps = [direction.view_as(w) for direction, w in zip(directions, matrices, strict=True)]
            torch._foreach_mul_(matrices, 1 - group["lr"] * group["weight_decay"])
            torch._foreach_add_(matrices, torch._foreach_mul(steps, scales))
            for weight in matrices:
                weight.grad = None  # AdamW passes over it
        super().step()

    def _momentum_ahead(self, weights: list[nn.Parameter]) -> list[Tensor]:
        """Nesterov's momentum of each weight as a matrix, the new gradients taken in."""
        momenta = [self.state[w].setdefault("exp_avg", torch.zeros_like(w)) for w in weights]
        gradients = [w.grad for w in weights]
        torch._foreach_lerp_(momenta, gradients, 1 - MOMENTUM)
        return [ahead.flatten(1) for ahead in torch._foreach_lerp(gradients, momenta, MOMENTUM)]


def orthogonal_all(matrices: list[Tensor]) -> list[Tensor]:
    """`orthogonal` of each; those of one shape go together, which is faster for many small ones."""
    of_shape: dict[torch.Size, list[int]] = {}
    for i, matrix in enumerate(matrices):
        of_shape.setdefault(matrix.shape, []).append(i)
    answers = list(matrices)
    for same in of_shape.values():
        for i, answer in zip(same, orthogonal(torch.stack([matrices[i] for i in same])), strict=True):
            answers[i] = answer
    return answers


def orthogonal(matrices: Tensor, rounds: int = 5) -> Tensor:
    """Matrices (N, R, C) -> with the same singular vectors and singular values near 1, by Newton and Schulz's steps."""
    wide = matrices if matrices.shape[1] <= matrices.shape[2] else matrices.mT
    x = wide / (wide.norm(dim=(1, 2), keepdim=True) + 1e-7)
    a, b, c = QUINTIC
    for _ in range(rounds):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x if matrices.shape[1] <= matrices.shape[2] else x.mT
