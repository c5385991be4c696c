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
    *mutants_of(
        "3_attention_and_consistency",
        (
            "query and key swapped",
            "attention_weights",
            "q = (h_m @ W_q)",
            "h_m, h_n = h_n, h_m\n    q = (h_m @ W_q)",
            "hidden_attention_weights",
        ),
        ("no division by the root of d", "attention_weights", " / np.sqrt(HEAD_DIM)", "", "hidden_attention_weights"),
        (
            "softmax over the places of m",
            "attention_weights",
            "weights.sum(axis=-1, keepdims=True)",
            "weights.sum(axis=-2, keepdims=True)",
            "test_attention_weights hidden_attention_weights hidden_attention_weights_large",
        ),
        (
            "scores that overflow",
            "attention_weights",
            "scores - scores.max(axis=-1, keepdims=True)",
            "scores",
            "hidden_attention_weights_large",
        ),
        ("what m had is forgotten", "look_over", "map_m + (mixed", "(mixed", "test_look_over hidden_look_over"),
        ("values from m", "look_over", "v = (h_n @ W_v)", "v = (h_m @ W_v)", "hidden_look_over"),
        (
            "rows for columns",
            "mean_place",
            "[weights @ u, weights @ v]",
            "[weights @ v, weights @ u]",
            "test_mean_place hidden_mean_place",
        ),
        (
            "counted from 1",
            "mean_place",
            "weights @ u, weights @ v",
            "weights @ u + 1, weights @ v + 1",
            "test_mean_place hidden_mean_place",
        ),
        (
            "swapped extrinsics",
            "carry_labels",
            "p_n[valid_n] @ X_mn[:3, :3].T + X_mn[:3, 3]",
            "(p_n[valid_n] - X_mn[:3, 3]) @ X_mn[:3, :3]",
            "test_carry_labels hidden_carry_labels",
        ),
        (
            "missing K",
            "carry_labels",
            " @ K_m.T)",
            ")",
            "test_carry_labels hidden_carry_labels hidden_carry_labels_nearest",
        ),
        (
            "the last point wins",
            "carry_labels",
            'np.argsort(-p_m[inside, 2], kind="stable")',
            "np.arange(inside.sum())",
            "hidden_carry_labels_nearest",
        ),
        (
            "label 0 hides nothing",
            "carry_labels",
            "front = p_m[:, 2] > 0",
            "front = (p_m[:, 2] > 0) & (label > 0)",
            "hidden_carry_labels_nearest",
        ),
        (
            "wrong union",
            "film_iou",
            "(masks_a | masks_b).sum(axis=(1, 2))",
            "masks_a.sum(axis=(1, 2)) + masks_b.sum(axis=(1, 2))",
            "test_film_iou hidden_film_iou",
        ),
        (
            "empty frames agree",
            "film_iou",
            "return float((both[seen] / either[seen]).mean()) if seen.any() else None",
            "return float(np.where(seen, both / np.maximum(either, 1), 1.0).mean())",
            "hidden_film_iou",
        ),
        (
            "two-sided",
            "sign_flip_p",
            "means >= np.mean(differences) - 1e-12",
            "abs(means) >= abs(np.mean(differences)) - 1e-12",
            "test_sign_flip_p hidden_sign_flip_p",
        ),
        (
            "the way observed not counted",
            "sign_flip_p",
            ">= np.mean(differences) - 1e-12",
            "> np.mean(differences) + 1e-12",
            "test_sign_flip_p hidden_sign_flip_p",
        ),
        ("one head for all", "count_multiplications", "INNER", "HEAD_DIM", "hidden_count_multiplications"),
    ),
    *mutants_of(
        "4_video_to_action",
        ("the inverse pose", "fit_pose", "return X_AB", "return np.linalg.inv(X_AB)", "test_fit_pose hidden_fit_pose"),
        ("a mirror image", "fit_pose", "U[:, 2] *= np.linalg.det(U @ Vt)", "pass", "hidden_fit_pose_flat"),
        (
            "the means forgotten",
            "fit_pose",
            "(p_A - mean_A).T @ (p_B - mean_B)",
            "p_A.T @ p_B",
            "hidden_fit_pose",
        ),
        (
            "median for midpoint",
            "middle_and_width",
            "(centroids[0] + centroids[1]) / 2",
            "np.nanmedian(np.concatenate([left, right]), axis=0)",
            "hidden_middle_and_width",
        ),
        (
            "strays and all",
            "middle_and_width",
            "points[near].mean(axis=0)",
            "points.mean(axis=0)",
            "hidden_middle_and_width",
        ),
        (
            "half the width",
            "middle_and_width",
            "float(np.linalg.norm(centroids[0] - centroids[1]))",
            "float(np.linalg.norm(centroids[0] - centroids[1])) / 2",
            "test_middle_and_width hidden_middle_and_width",
        ),
        ("no margin", "open_or_closed", "MARGIN_M", "0", "hidden_open_or_closed"),
        (
            "a hidden finger closes",
            "open_or_closed",
            "elif width < THRESHOLD_M - MARGIN_M",
            "elif not width >= THRESHOLD_M - MARGIN_M",
            "hidden_open_or_closed",
        ),
        (
            "narrow for wide",
            "open_or_closed",
            "width > THRESHOLD_M + MARGIN_M",
            "width < THRESHOLD_M + MARGIN_M",
            "test_open_or_closed hidden_open_or_closed",
        ),
        (
            "the less confident view",
            "believe",
            "score[1, t] > score[0, t]",
            "score[1, t] < score[0, t]",
            "test_believe hidden_believe",
        ),
        (
            "the present pose held for ever",
            "believe",
            "last = X[view, t]",
            "last = X[view, t]\n        if view < 0:\n            last = present",
            "hidden_believe",
        ),
        ("doubtful poses followed", "believe", "MIN_SCORE", "-1.0", "hidden_believe"),
        (
            "swapped extrinsics",
            "bounded_step",
            "X_WC @ X_CG",
            "np.linalg.inv(X_WC) @ X_CG",
            "hidden_bounded_step_camera",
        ),
        (
            "each coordinate limited by itself",
            "bounded_step",
            "shift *= min(1.0, MAX_SPEED * STEP_S / max(np.linalg.norm(shift), 1e-12))",
            "shift = np.clip(shift, -MAX_SPEED * STEP_S, MAX_SPEED * STEP_S)",
            "hidden_bounded_step",
        ),
        (
            "a limit a second for a limit a step",
            "bounded_step",
            "MAX_SPEED * STEP_S",
            "MAX_SPEED",
            "test_bounded_step hidden_bounded_step",
        ),
        (
            "degrees for radians",
            "bounded_step",
            "MAX_TURN * STEP_S",
            "np.rad2deg(MAX_TURN * STEP_S)",
            "hidden_bounded_step",
        ),
        (
            "a turn on the wrong side",
            "bounded_step",
            "Rotation.from_rotvec(turn).as_matrix() @ X_WG[:3, :3]",
            "X_WG[:3, :3] @ Rotation.from_rotvec(turn).as_matrix()",
            "hidden_bounded_step hidden_bounded_step_camera",
        ),
        ("all ten frames acted", "time_of_a_task", "40 / 4", "40 / 10", "hidden_time_of_a_task"),
    ),
]
