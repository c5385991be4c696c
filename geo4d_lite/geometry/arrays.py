"""One code for NumPy arrays and torch tensors. torch is never imported here: a tensor brings its own module along."""

import sys
from types import ModuleType
from typing import Any

import numpy as np

Array = Any  # np.ndarray or torch.Tensor


def namespace(array: Array) -> ModuleType:
    """The module whose functions fit `array`: torch for a tensor, NumPy for everything else."""
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(array, torch.Tensor):
        return torch
    return np


def as_float(array: Array) -> Array:
    """`array` as a floating array or tensor, in its own precision where it has one (lists become float64)."""
    xp = namespace(array)
    if xp is not np:
        return array if array.is_floating_point() else array.to(xp.get_default_dtype())
    array = np.asarray(array)
    return array if np.issubdtype(array.dtype, np.floating) else array.astype(np.float64)


def like(array: Array, reference: Array) -> Array:
    """`array` in the module, precision and device of the floating `reference`."""
    xp = namespace(reference)
    if xp is np:
        return np.asarray(array, dtype=reference.dtype)
    return xp.as_tensor(array, dtype=reference.dtype, device=reference.device)
