"""Mistakes in the package that the paper's release or an earlier self made, or nearly made: each must be noticed."""

import pytest

from tests.mutation.mutants import Mutant, assert_noticed, assert_sound, copy_repository, replace

POINTMAPS = "geo4d_lite/geometry/pointmaps.py"
WINDOWS = "geo4d_lite/data/windows.py"

MUTANTS = [
    Mutant(
        "a sign in unproject",
        POINTMAPS,
        replace("y = (v - K[..., 1, 2])", "y = (K[..., 1, 2] - v)"),
        ("tests/test_geometry_pointmaps.py::test_unproject_is_drakes_point_cloud",),
    ),
    Mutant(
        "rows and columns swapped",
        POINTMAPS,
        replace("height, width = depth_m.shape[-2:]", "width, height = depth_m.shape[-2:]"),
        ("tests/test_geometry_pointmaps.py::test_unproject_is_the_inverse_camera_matrix_pixel_by_pixel",),
    ),
    Mutant(
        "extrinsics inverted",
        POINTMAPS,
        replace("return invert(X_Wn) @ as_float(X_Wm)", "return invert(X_Wm) @ as_float(X_Wn)"),
        ("tests/test_data_windows.py::test_both_pointmaps_are_in_the_frame_of_n",),
    ),
    Mutant(
        "infinite depth counts as a measurement",
        POINTMAPS,
        replace("(depth_m > 0) & (depth_m <= max_depth_m)", "(depth_m > 0)"),
        ("tests/test_geometry_pointmaps.py::test_invalid_depth_never_becomes_a_point",),
    ),
    Mutant(
        "validity mask dropped for the second view, as in the paper's release",
        WINDOWS,
        replace("transform(X_nm, pointmap[1]) * valid[1, ..., None]", "transform(X_nm, pointmap[1])"),
        (
            "tests/test_data_windows.py::test_invalid_pixels_of_the_second_view_do_not_become_the_translation_between_cameras",
        ),
    ),
    Mutant(
        "held-out cameras leaked into training",
        WINDOWS,
        replace("episode.info.cameras(split)", "range(len(episode.info.camera_split))"),
        ("tests/test_data_windows.py::test_a_split_holds_out_both_cameras_and_episodes",),
    ),
    Mutant(
        "held-out episodes leaked into training",
        WINDOWS,
        replace("Windows(dataset.split(split), split, pad_frames)", "Windows(dataset.episodes, split, pad_frames)"),
        ("tests/test_data_windows.py::test_a_split_holds_out_both_cameras_and_episodes",),
    ),
    Mutant(
        "the two decoders are one, as in the paper's release",
        "geo4d_lite/models/unet.py",
        replace("Decoder(copy.deepcopy(svd), view_attention)", "Decoder(copy.copy(svd), view_attention)"),
        ("tests/test_models_unet.py::test_the_two_decoders_share_no_tensor",),
    ),
    Mutant(
        "view m never looks at view n",
        "geo4d_lite/models/unet.py",
        replace("of_view[1], other=features_n)", "of_view[1], other=None)"),
        ("tests/test_models_unet.py::test_view_n_never_sees_view_m_but_m_sees_n",),
    ),
    Mutant(
        "a sign in the preconditioning",
        "geo4d_lite/models/diffusion.py",
        replace("return -sigma / (sigma**2 + 1).sqrt()", "return sigma / (sigma**2 + 1).sqrt()"),
        ("tests/test_models_diffusion.py::test_sampler_arrives_at_what_a_perfect_network_denoises_to[4]",),
    ),
    Mutant(
        "invalid sites counted in the loss",
        "geo4d_lite/models/diffusion.py",
        replace("weight = weighting(s, gripper) * site_valid", "weight = weighting(s, gripper)"),
        ("tests/test_models_diffusion.py::test_invalid_sites_do_not_count",),
    ),
    Mutant(
        "depth errors relative to the prediction",
        "geo4d_lite/evaluation/metrics.py",
        replace("np.abs(predicted - true) / true", "np.abs(predicted - true) / predicted"),
        ("tests/test_evaluation_metrics.py::test_depth_metrics_by_hand",),
    ),
    Mutant(
        "a gripper that the video does not show is left out of the mean",
        "geo4d_lite/evaluation/held_out.py",
        replace("missed = 0.0 if", "missed = np.nan if"),
        ("tests/test_evaluation_held_out.py",),
    ),
    Mutant(
        "a box that is still held counts as stored",
        "geo4d_lite/simulation/tasks/cereal_box.py",
        replace("return is_stored(now) and released and", "return is_stored(now) and"),
        ("tests/test_simulation_tasks.py::test_an_object_that_is_held_or_moving_is_not_there_yet",),
    ),
    Mutant(
        "an apple that is moving counts as at rest",
        "geo4d_lite/simulation/tasks/apple.py",
        replace(' and now.speed["apple"] < 0.05', ""),
        ("tests/test_simulation_tasks.py::test_an_object_that_is_held_or_moving_is_not_there_yet",),
    ),
    Mutant(
        "the less confident view wins",
        "geo4d_lite/policies/video_policy.py",
        replace("view = int(np.argmax(", "view = int(np.argmin("),
        ("tests/test_policies_safety.py::test_the_other_view_takes_over_where_one_is_blank",),
    ),
    Mutant(
        "Drake known to the models' room",
        "geo4d_lite/models/__init__.py",
        lambda path: path.write_text(path.read_text() + "\nfrom pydrake.math import RigidTransform\n"),
        ("tests/test_architecture.py::test_simulation_never_knows_torch_and_models_never_know_drake",),
    ),
    Mutant(
        "a pin that pyproject.toml does not allow",
        "requirements.txt",
        replace("drake==1.51.1", "drake==1.50.0"),
        ("tests/test_environment.py::test_the_lock_satisfies_every_direct_requirement",),
    ),
]


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_mistake_in_the_package_is_noticed(mutant, tmp_path):
    assert_noticed(mutant, copy_repository(tmp_path))


def test_the_same_tests_pass_where_nothing_was_changed(tmp_path):
    assert_sound(MUTANTS, copy_repository(tmp_path))
