"""The colour segmenter against labels that are known, under shading, blur and colours that are not the gripper's."""

import numpy as np
import pytest
from perception_scene import LITE, gripper_pose, render, shell_camera, table
from scipy import ndimage

from geo4d_lite.geometry.labels import GRIPPER
from geo4d_lite.perception import ColourSegmenter


@pytest.fixture(scope="module")
def scene():
    both = table().add_box((0.1, 0.1, 0.15), (0.1, 0.0, 0.08), (0.45, 0.55, 0.55))
    both.add_gripper(0, gripper_pose((0.0, 0.15, 0.2), 0.4, 0.3), 0.12)
    both.add_gripper(1, gripper_pose((0.05, -0.15, 0.18), -0.5, 0.2), 0.06)
    return render(both, shell_camera(), LITE)


def iou(found: np.ndarray, true: np.ndarray) -> float:
    return np.count_nonzero((found == true) & (true > 0)) / np.count_nonzero((found > 0) | (true > 0))


def test_finds_every_part_of_both_grippers_and_nothing_else(scene):
    view, label = scene
    true = np.where(np.isin(label, GRIPPER), label, 0)
    found = ColourSegmenter().segment(view.rgb)
    assert found.dtype == np.uint8
    assert iou(found, true) > 0.98
    assert set(np.unique(found)) == {0, *map(int, GRIPPER)}


@pytest.mark.parametrize("brightness", [0.4, 0.7, 1.2])
def test_does_not_depend_on_the_brightness_of_the_light(scene, brightness):
    view, label = scene
    true = np.where(np.isin(label, GRIPPER), label, 0)
    rgb = np.clip(view.rgb * brightness, 0, 255).astype(np.uint8)
    assert iou(ColourSegmenter().segment(rgb), true) > 0.9


def test_holds_on_blurred_images_such_as_a_model_generates(scene):
    view, label = scene
    true = np.where(np.isin(label, GRIPPER), label, 0)
    blurred = ndimage.gaussian_filter(view.rgb.astype(float), (0.8, 0.8, 0))
    noisy = blurred + np.random.default_rng(0).normal(0, 4, blurred.shape)
    assert iou(ColourSegmenter().segment(np.clip(noisy, 0, 255).astype(np.uint8)), true) > 0.75


def test_drops_specks_but_keeps_parts(scene):
    view, _ = scene
    speckled = view.rgb.copy()
    speckled[5, 5] = speckled[100, 150] = (242, 140, 13)  # single pixels in the colour of a finger
    found = ColourSegmenter().segment(speckled)
    assert found[5, 5] == 0 and found[100, 150] == 0
    assert np.count_nonzero(found) > 300


@pytest.mark.parametrize("grey", [0, 15, 128, 255])
def test_finds_nothing_in_a_blank_image(grey):
    assert not ColourSegmenter().segment(np.full((64, 80, 3), grey, np.uint8)).any()


def test_names_the_shape_and_type_it_cannot_use():
    with pytest.raises(ValueError, match=r"\(H, W, 3\) uint8"):
        ColourSegmenter().segment(np.zeros((4, 4, 3)))
