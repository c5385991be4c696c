"""Wrong answers to assignment 1, cameras and pointmaps, and the cells that each must lose."""

from book.tools.course.mutants.mutant import mutants_of

MUTANTS = mutants_of(
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
)
