"""Moving pictures of a 4D video: nearest points win, what is written can be read back, as a video and as a page."""

import gzip
import json
from base64 import b64decode
from types import SimpleNamespace

import imageio.v3 as imageio
import numpy as np
import pytest

from geo4d_lite.figures.film import HELD_FRAMES, PAPER, seen_from, swayed, write_film
from geo4d_lite.figures.film_view import write_film_view
from geo4d_lite.geometry import Intrinsics, unproject

K = Intrinsics.from_fov(20, 16, 0.7).matrix
RED, BLUE = np.array([[255, 0, 0]], np.uint8), np.array([[0, 0, 255]], np.uint8)


def test_the_nearest_point_wins_whatever_the_order():
    near, far = np.array([[0.0, 0.0, 0.5]]), np.array([[0.0, 0.0, 0.9]])
    for points, colours in (((near, far), (RED, BLUE)), ((far, near), (BLUE, RED))):
        image = seen_from(np.concatenate(points), np.concatenate(colours), K, (16, 20), splat=3)
        middle = image[6:11, 8:12].reshape(-1, 3)
        assert (middle == RED).all(axis=1).sum() == 9 and not (image == BLUE).all(axis=-1).any()


def test_what_is_behind_or_beside_the_camera_or_nowhere_is_not_drawn():
    points = np.array([[0.0, 0.0, -0.5], [9.0, 0.0, 0.5], [np.nan, np.nan, np.nan]])
    assert (seen_from(points, np.zeros((3, 3), np.uint8), K, (16, 20)) == PAPER).all()


def test_a_full_depth_image_comes_back_as_itself():
    rng = np.random.default_rng(0)
    colours = rng.integers(0, 255, (16, 20, 3), dtype=np.uint8)
    points, _ = unproject(np.full((16, 20), 0.8), K)
    image = seen_from(points.reshape(-1, 3), colours.reshape(-1, 3), K, (16, 20), splat=1)
    np.testing.assert_array_equal(image, colours)


def test_swaying_turns_about_a_point_and_keeps_upright():
    points = np.random.default_rng(1).normal([0.0, 0.0, 0.8], 0.1, (101, 3))
    middle = np.median(points, axis=0)
    np.testing.assert_allclose(swayed(points, middle, 0.0), points, atol=1e-12)
    turned = swayed(points, middle, 0.4)
    np.testing.assert_allclose(np.linalg.norm(turned - middle, axis=1), np.linalg.norm(points - middle, axis=1))
    np.testing.assert_allclose(turned[:, 1], points[:, 1])
    assert np.abs(turned - points).max() > 0.02


def test_a_video_is_written_with_the_last_frame_held(tmp_path):
    rng = np.random.default_rng(2)
    true = rng.integers(0, 255, (2, 4, 16, 20, 3), dtype=np.uint8)
    points, valid = unproject(np.full((16, 20), 0.8), K)
    video = SimpleNamespace(
        rgb=true[:, 1:], pointmap=np.tile(points, (2, 3, 1, 1, 1)), valid=np.zeros((2, 3, 16, 20), bool)
    )
    write_film(tmp_path / "film.mp4", true, video, np.stack([points] * 2), np.stack([valid] * 2), K)
    frames = imageio.imread(tmp_path / "film.mp4")
    assert frames.shape == (4 + HELD_FRAMES, 336, 800, 3)
    cloud = frames[:, 60:280, 480:740].reshape(len(frames), -1, 3).astype(float)
    assert cloud[0].std() > 40 > 5 > cloud[1].std(), "the observed points are shown, then there are none"
    assert np.abs(cloud[4:] - cloud[3]).mean() < 2


@pytest.fixture
def film():
    """Colours, points and validity of three frames of two views; the upper half of view m has no points."""
    rgb = np.random.default_rng(3).integers(0, 255, (2, 3, 16, 20, 3), dtype=np.uint8)
    points, valid = (np.tile(array, (2, 3, *[1] * array.ndim)) for array in unproject(np.full((16, 20), 0.8), K))
    valid[1, :, :8] = False
    return rgb, points, valid


def test_the_page_holds_every_second_valid_point_with_its_colour(film, tmp_path, monkeypatch):
    monkeypatch.setenv("GEO4D_VIEWERS", str(tmp_path))
    path = np.array([[0.0, 0.1, 0.8], [np.nan] * 3, [0.1, 0.1, 0.7]])
    frame = write_film_view("film", "A <film>", {"generated": film, "happened": film}, K, {"hand": (path, "red")})
    page = (tmp_path / "film.html").read_text()
    assert "viewers/film.html" in frame.src and "A &lt;film&gt;" in page and "{{" not in page
    data = json.loads(page.split("const DATA = ")[1].split(";\n")[0])
    assert data["counts"] == [[[80, 40]] * 3] * 2
    assert data["paths"][0]["points"] == [[0.0, 0.1, 0.8], None, [0.1, 0.1, 0.7]]
    raw = gzip.decompress(b64decode(data["packed"]))
    assert len(raw) == 2 * 3 * 120 * 9
    xyz = np.frombuffer(raw, "<i2", 3 * 80).reshape(3, 80).T / 1000
    np.testing.assert_allclose(xyz, film[1][0, 0, 1::2, 1::2].reshape(-1, 3), atol=6e-4)
    colours = np.frombuffer(raw, np.uint8, 3 * 80, offset=6 * 80).reshape(3, 80).T
    np.testing.assert_array_equal(colours, film[0][0, 0, 1::2, 1::2].reshape(-1, 3))


def test_a_page_of_one_film_alone_is_refused(film):
    with pytest.raises(ValueError, match="expected generated and happened"):
        write_film_view("film", "A film", {"generated": film}, K)
