"""How sure are we? Intervals for rates and means, and the distance between two clouds of features."""

import numpy as np
from scipy.special import ndtri


def wilson_interval(successes: int, trials: int, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval (low, high) of a success rate (Wilson 1927). It stays in [0, 1] and is honest at 0 and n.

    Raises ValueError unless 0 <= successes <= trials and trials > 0.
    """
    if not 0 <= successes <= trials or trials == 0:
        raise ValueError(
            f"{successes} successes of {trials} trials; expected 0 <= successes <= trials, at least one trial"
        )
    z = float(ndtri(0.5 + confidence / 2))
    rate = successes / trials
    centre = rate + z**2 / (2 * trials)
    spread = z * np.sqrt(rate * (1 - rate) / trials + z**2 / (4 * trials**2))
    scale = 1 + z**2 / trials
    return float(max(0.0, (centre - spread) / scale)), float(min(1.0, (centre + spread) / scale))


def mean_rate_interval(rates: np.ndarray, intervals: np.ndarray) -> tuple[float, float]:
    """Interval (low, high) of the plain mean of independent `rates` (N,) whose own `intervals` are (N, 2).

    The distances from each rate to the ends of its interval add in squares, downwards and upwards apart, so each rate
    counts with as many trials as it has (MOVER; Zou, Huang and Zhang, "A note on confidence interval estimation for a
    linear function of binomial proportions", 2009). Raises ValueError for shapes other than these.
    """
    rates, intervals = np.asarray(rates, dtype=np.float64), np.asarray(intervals, dtype=np.float64)
    if rates.ndim != 1 or intervals.shape != (len(rates), 2) or len(rates) == 0:
        raise ValueError(f"rates have shape {rates.shape} and intervals {intervals.shape}; expected (N,) and (N, 2)")
    below, above = np.linalg.norm(rates[:, None] - intervals, axis=0) / len(rates)
    return float(rates.mean() - below), float(rates.mean() + above)


def bootstrap_interval(
    values: np.ndarray, episodes: np.ndarray, confidence: float = 0.95, draws: int = 2000, seed: int = 0
) -> tuple[float, float]:
    """Interval (low, high) of the mean of `values` (N,) when whole `episodes` (N,) are drawn again with replacement.

    Windows of one episode look alike, so they are drawn together; drawing windows would claim too much. NaN values are
    left out. For a paired comparison give the differences. With one episode there is nothing to draw: (nan, nan).
    """
    values, episodes = np.asarray(values, dtype=np.float64), np.asarray(episodes)
    known = np.isfinite(values)
    names = np.unique(episodes[known])
    if len(names) < 2:
        return float("nan"), float("nan")
    sums = np.array([values[known & (episodes == name)].sum() for name in names])
    counts = np.array([(known & (episodes == name)).sum() for name in names])
    drawn = np.random.default_rng(seed).integers(len(names), size=(draws, len(names)))
    means = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    low, high = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def frechet_distance(features_a: np.ndarray, features_b: np.ndarray) -> float:
    """Squared Frechet distance between Gaussian fits of two sets of features (N, D) and (M, D).

    |mean_a - mean_b|^2 + tr(A) + tr(B) - 2 tr((A B)^(1/2)), with covariances A and B (Dowson and Landau 1982; FVD,
    Unterthiner et al. 2018, if the features are of videos). tr((A B)^(1/2)) is the sum of singular values of F_A F_B^T
    for any factors with F^T F the covariance, and the centred features are such factors: no matrix root is needed, no
    imaginary part appears, and fewer samples than dimensions are fine. Raises ValueError for other shapes, fewer than
    two samples, or values that are not finite.
    """
    a, b = (np.asarray(features, dtype=np.float64) for features in (features_a, features_b))
    for features in (a, b):
        if features.ndim != 2 or features.shape[1] != a.shape[1] or len(features) < 2:
            raise ValueError(f"features have shapes {a.shape} and {b.shape}; expected (N, D) and (M, D) with N, M >= 2")
        if not np.isfinite(features).all():
            raise ValueError("features hold NaN or infinity; find the clip they came from")
    mean_a, mean_b = a.mean(axis=0), b.mean(axis=0)
    # F^T F = A; the triangle of a QR is such a factor as well, and has no more rows than columns
    factor_a = np.linalg.qr((a - mean_a) / np.sqrt(len(a) - 1), mode="r")
    factor_b = np.linalg.qr((b - mean_b) / np.sqrt(len(b) - 1), mode="r")
    cross = np.linalg.svd(factor_a @ factor_b.T, compute_uv=False).sum()
    distance = np.sum((mean_a - mean_b) ** 2) + np.sum(factor_a**2) + np.sum(factor_b**2) - 2 * cross
    return float(max(distance, 0.0))
