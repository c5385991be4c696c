"""Both grippers as one row of numbers: what a policy that predicts actions directly is told and what it answers.

A state is (position, first two columns of the rotation, width) of the left arm, then of the right one: 2 x (3 + 6 + 1).
Two columns say all of a rotation, and without jumps (Zhou et al., "On the Continuity of Rotation Representations in
Neural Networks", CVPR 2019). An action is the state to be in one recorded frame later.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np

from geo4d_lite.geometry.arrays import Array, like

ARM_NUMBERS = 10
STATE_NUMBERS = 2 * ARM_NUMBERS
IS_ROTATION = np.tile(np.repeat([False, True, False], [3, 6, 1]), 2)
LEAST_HALF_RANGE_M = 0.01  # a coordinate that never changes in the data is not blown up to [-1, 1]


def encode_states(X_WG: np.ndarray, width_m: np.ndarray) -> np.ndarray:
    """Poses (..., 2, 4, 4) in the world and widths (..., 2), metres -> states (..., 20)."""
    columns = np.swapaxes(X_WG[..., :3, :2], -1, -2).reshape(*X_WG.shape[:-2], 6)
    arms = np.concatenate([X_WG[..., :3, 3], columns, width_m[..., None]], axis=-1)
    return arms.reshape(*arms.shape[:-2], STATE_NUMBERS)


def decode_states(states: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """States (..., 20) -> poses X_WG (..., 2, 4, 4) and widths (..., 2).

    Numbers a network made up need not be two orthogonal columns of length one: Gram-Schmidt makes them so, keeping the
    direction of the first. Raises ValueError for another number of numbers.
    """
    if states.shape[-1] != STATE_NUMBERS:
        raise ValueError(f"states have shape {states.shape}; expected (..., {STATE_NUMBERS})")
    arms = states.astype(np.float64).reshape(*states.shape[:-1], 2, ARM_NUMBERS)
    x = _unit(arms[..., 3:6])
    y = _unit(arms[..., 6:9] - (x * arms[..., 6:9]).sum(axis=-1, keepdims=True) * x)
    X_WG = np.zeros((*arms.shape[:-1], 4, 4))
    X_WG[..., :3, :3] = np.stack([x, y, np.cross(x, y)], axis=-1)
    X_WG[..., :3, 3], X_WG[..., 3, 3] = arms[..., :3], 1.0
    return X_WG, arms[..., 9]


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True).clip(1e-9)


@dataclass(frozen=True)
class StateRange:
    """Where the states of the data lie: positions and widths are mapped to [-1, 1], rotations are there already."""

    low: tuple[float, ...]
    high: tuple[float, ...]

    @classmethod
    def of(cls, states: np.ndarray) -> Self:
        """The range of states (N, 20)."""
        low, high = states.min(axis=0), states.max(axis=0)
        middle, half = (low + high) / 2, np.maximum((high - low) / 2, LEAST_HALF_RANGE_M)
        low, high = np.where(IS_ROTATION, -1.0, middle - half), np.where(IS_ROTATION, 1.0, middle + half)
        return cls(tuple(low.tolist()), tuple(high.tolist()))

    def encode(self, states: Array) -> Array:
        """States (..., 20), an array or a tensor -> the same in [-1, 1]."""
        low, high = self._ends(states)
        return 2 * (states - low) / (high - low) - 1

    def decode(self, x: Array) -> Array:
        """The inverse of `encode`."""
        low, high = self._ends(x)
        return (x + 1) * (high - low) / 2 + low

    def _ends(self, reference: Array) -> tuple[Array, Array]:
        return like(np.array(self.low), reference), like(np.array(self.high), reference)
