"""Wrong answers that students give, and exactly which graded cells each must lose."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Mutant:
    """The reference answer of the cell `task` with `old` replaced by `new`; it loses the cells in `loses`."""

    assignment: str
    fault: str
    task: str
    old: str
    new: str
    loses: frozenset[str]

    def __str__(self) -> str:
        return f"{self.assignment[0]}: {self.fault}"


def mutants_of(assignment: str, *rows: tuple[str, str, str, str, str]) -> list[Mutant]:
    """Rows of fault, task, old text, new text, lost cells (separated by blanks)."""
    return [Mutant(assignment, *row[:4], frozenset(row[4].split())) for row in rows]


MUTANTS = [
    *mutants_of(
        "1_cameras_and_pointmaps",
        (
            "the vertical size for a horizontal field of view",
            "calibration",
            "focal = width / 2",
            "focal = height / 2",
            "test_calibration hidden_calibration",
        ),
        (
            "the book's pixel centres",
            "calibration",
            " + PIXEL_CENTRE",
            "",
            "hidden_calibration",
        ),
        (
            "the principal point scaled as a centre",
            "crop_and_resize",
            "(K[:2, 2] - edge) * [scale_u, scale_v] + edge",
            "K[:2, 2] * [scale_u, scale_v]",
            "hidden_crop_and_resize",
        ),
        (
            "resized without a crop",
            "crop_and_resize",
            "K[:2, 2] -= [left, top]",
            "pass",
            "test_crop_and_resize hidden_crop_and_resize",
        ),
        (
            "missing K^-1",
            "range_to_points",
            "@ np.linalg.inv(K).T",
            "@ K.T",
            "test_range_to_points hidden_range_to_points",
        ),
        (
            "range for depth",
            "range_to_points",
            "rays /= np.linalg.norm(rays, axis=-1, keepdims=True)",
            "pass",
            "test_range_to_points hidden_range_to_points",
        ),
        (
            "the sensor trusted beyond its limit",
            "range_to_points",
            "(raw > 0) & (range_m <= MAX_RANGE_M)",
            "raw > 0",
            "hidden_range_to_points",
        ),
        (
            "swapped extrinsics",
            "to_reference",
            "np.linalg.inv(X_Wn) @ X_Wm",
            "np.linalg.inv(X_Wm) @ X_Wn",
            "test_to_reference hidden_to_reference",
        ),
        (
            "a rotation not transposed for rows",
            "to_reference",
            "X_nm[:3, :3].T",
            "X_nm[:3, :3]",
            "hidden_to_reference",
        ),
        (
            "no mask after the transform",
            "to_reference",
            "p_n * valid_m[..., None]",
            "p_n",
            "hidden_to_reference_mask",
        ),
        (
            "hidden and contradicting exchanged",
            "verdicts",
            "2, np.where(z < d - gap_m, 3, 1)",
            "3, np.where(z < d - gap_m, 2, 1)",
            "test_verdicts hidden_verdicts",
        ),
        (
            "points behind the camera projected",
            "verdicts",
            "usable = valid & (z > 0)",
            "usable = valid & (z != 0)",
            "hidden_verdicts_unknown",
        ),
        (
            "metres for millimetres",
            "shift_in_mm",
            "800 / FOCAL_PX",
            "0.8 / FOCAL_PX",
            "hidden_shift_in_mm",
        ),
    ),
    *mutants_of(
        "2_diffusion_and_sampling",
        ("sigma^2 for sigma", "noised", "sigma.reshape", "(sigma**2).reshape", "hidden_noised"),
        (
            "a level for each column",
            "noised",
            "sigma.reshape(-1, *[1] * (x.ndim - 1))",
            "sigma",
            "test_noised hidden_noised",
        ),
        ("no noise", "noised", " * noise", " * 0", "test_noised hidden_noised"),
        (
            "sigma for sigma^2",
            "best_denoiser",
            "(2 * sigma**2)",
            "(2 * sigma)",
            "test_best_denoiser hidden_best_denoiser hidden_best_denoiser_extremes",
        ),
        (
            "films equally likely",
            "best_denoiser",
            "np.log(shares) - distance2",
            "-distance2",
            "hidden_best_denoiser hidden_best_denoiser_extremes",
        ),
        (
            "exponents that overflow",
            "best_denoiser",
            "exponent -= exponent.max(axis=1, keepdims=True)",
            "pass",
            "hidden_best_denoiser_extremes",
        ),
        (
            "the skip of data with deviation 1",
            "network_question",
            "x - SIGMA_DATA**2 / total * z",
            "x - 1 / (sigma**2 + 1) * z",
            "test_network_question hidden_network_question",
        ),
        (
            "the other sign of c_out",
            "network_question",
            "(sigma * SIGMA_DATA / np.sqrt(total))",
            "(-sigma * SIGMA_DATA / np.sqrt(total))",
            "hidden_network_question",
        ),
        (
            "no level 0",
            "noise_levels",
            "np.append(np.linspace(HIGHEST ** (1 / RHO), LOWEST ** (1 / RHO), steps) ** RHO, 0.0)",
            "np.linspace(HIGHEST ** (1 / RHO), LOWEST ** (1 / RHO), steps) ** RHO",
            "test_noise_levels hidden_noise_levels",
        ),
        (
            "levels even in their logarithm",
            "noise_levels",
            "np.linspace(HIGHEST ** (1 / RHO), LOWEST ** (1 / RHO), steps) ** RHO",
            "np.geomspace(HIGHEST, LOWEST, steps)",
            "hidden_noise_levels",
        ),
        (
            "Euler step with the wrong sign",
            "euler_walk",
            "(after - now) * slope",
            "(now - after) * slope",
            "test_euler_walk hidden_euler_walk",
        ),
        (
            "the denoiser asked at the next level",
            "euler_walk",
            "denoiser(z, now)",
            "denoiser(z, after)",
            "hidden_euler_walk",
        ),
        (
            "Heun with the first slope only",
            "heun_step",
            "(slope + (guess - denoiser(guess, after)) / after) / 2",
            "slope",
            "hidden_heun_step",
        ),
        ("division by level 0", "heun_step", "if after == 0:", "if after < 0:", "test_heun_step"),
        ("sigma for sigma^2 by hand", "answer_in_numbers", "SIGMA_DATA**2", "SIGMA_DATA", "hidden_answer_in_numbers"),
    ),
]
