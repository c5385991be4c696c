"""Figures: they carry alt text, mark invalid depth, and the 3D pages are small, repeatable and need no network."""

import json
import re
from base64 import b64decode
from io import BytesIO

import matplotlib
import numpy as np
import pytest
import quickjs
from matplotlib import pyplot as plt
from scipy.spatial.transform import Rotation

from geo4d_lite import figures
from geo4d_lite.figures import look, viewers
from geo4d_lite.geometry import Intrinsics, Label, load_gripper, sample_camera_poses

matplotlib.use("Agg")
K = Intrinsics.from_fov(20, 16, 0.7)


@pytest.fixture
def shown(monkeypatch):
    images = []
    monkeypatch.setattr(look, "display", images.append)
    return images


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("GEO4D_VIEWERS", str(tmp_path / "viewers"))
    return tmp_path / "viewers"


def test_a_strip_is_one_png_with_its_alt_text_and_leaves_no_figure_open(shown):
    rng = np.random.default_rng(0)
    rows = [
        figures.Row("view n", rng.integers(0, 255, (3, 16, 20, 3), np.uint8), "n"),
        figures.Row("depth", rng.uniform(0, 2, (3, 16, 20))),
        figures.Row("mask", rng.random((3, 16, 20)) < 0.5),
    ]
    figures.show_strip(rows, ["0 s", "1 s", "2 s"], alt="three frames of noise")
    figures.show_depth({"a": rows[1].images[0]}, alt="depth noise")
    assert [image.alt for image in shown] == ["three frames of noise", "depth noise"]
    assert all(image.data.startswith(b"\x89PNG") for image in shown)
    assert plt.get_fignums() == []


def test_the_same_figure_is_the_same_file(shown):
    for _ in range(2):
        figures.show_depth({"a": np.full((16, 20), 0.9)}, alt="flat")
    assert shown[0].data == shown[1].data


def test_a_figure_without_alt_text_is_refused():
    with pytest.raises(ValueError, match="alt is empty"):
        figures.show(plt.figure(), " ")


def test_invalid_depth_is_drawn_as_nothing():
    axes = plt.figure().add_subplot()
    figures.draw_image(axes, np.array([[0.0, np.nan, 5.0, 0.9]]))
    assert axes.images[0].get_array().mask.tolist() == [[True, True, True, False]]
    plt.close()


def test_every_label_has_its_own_colour_and_fingers_look_as_in_rgb():
    colours = figures.label_image(np.array(list(Label), np.uint8))
    assert len(np.unique(colours, axis=0)) == len(Label)
    left = load_gripper().colours["left"]
    for label, part in ((Label.LEFT_ARM_FINGER_LEFT, "finger_left"), (Label.LEFT_ARM_FINGER_RIGHT, "finger_right")):
        np.testing.assert_allclose(colours[label], 255 * np.array(left[part]), atol=1)


def test_a_frame_is_drawn_red_green_blue_from_its_projected_origin():
    axes, X_CF = plt.figure().add_subplot(), np.eye(4)
    X_CF[:3, 3] = (0.1, -0.05, 0.8)
    figures.draw_frame(axes, X_CF, K.matrix)
    assert [line.get_color() for line in axes.lines] == list(figures.AXIS_COLOURS.values())
    origin = [K.fx * 0.1 / 0.8 + K.cx, K.fy * -0.05 / 0.8 + K.cy]
    for line in axes.lines:
        np.testing.assert_allclose(line.get_xydata()[0], origin)
    assert axes.lines[0].get_xdata()[1] > origin[0] and axes.lines[1].get_ydata()[1] > origin[1]  # x right, y down
    plt.close()


def test_a_fingerprint_counts_and_measures_only_what_is_valid(capsys):
    figures.fingerprint("depth", np.array([[0.0, 1.0], [2.0, 3.0]]), np.array([[False, True], [True, True]]))
    figures.fingerprint("nothing", np.array([np.nan]))
    assert capsys.readouterr().out.splitlines() == [
        "depth: (2, 2) float64 · valid 0.7500 · min, quartiles, max 1.000 1.500 2.000 2.500 3.000",
        "nothing: (1,) float64 · finite 0.0000",
    ]


def some_views():
    points = np.random.default_rng(0).uniform(-1, 1, (20_000, 3)).astype(np.float32)
    clouds = {"view n": (points, np.full((20_000, 3), 7, np.uint8)), "view m": (points, "#C8553D")}
    X_WC = sample_camera_poses(8, np.random.default_rng(0))
    yield figures.pointmap_view(clouds, "camera n", {"n": (np.eye(4), K), "m": (X_WC[0], K)})
    yield figures.camera_shell_view(X_WC, K, ["train"] * 6 + ["test"] * 2)


@pytest.mark.parametrize("which", [0, 1])
def test_a_viewer_needs_no_network_says_what_it_shows_and_is_the_same_every_time(folder, which):
    pages = []
    for _ in range(2):
        frame = figures.write_viewer(list(some_views())[which], "some_view", 'cameras "over" a table')
        pages.append((folder / "some_view.html").read_text())
    assert pages[0] == pages[1]
    assert re.findall(r'(?:src|href)="([^"]*)"', pages[0]) == [viewers.PLOTLY, f"/static/{viewers.PLOTLY}"]
    assert "http" not in pages[0]
    assert (folder / viewers.PLOTLY).read_bytes() == (viewers.VIEWERS / viewers.PLOTLY).read_bytes()
    assert 'aria-label="cameras &quot;over&quot; a table. Arrow keys turn it, plus and minus zoom."' in pages[0]
    assert repr(frame) == '<cameras "over" a table>'  # the same in every run, unlike an address
    shown = frame._repr_html_()
    assert 'src="viewers/some_view.html"' in shown
    assert 'title="cameras &quot;over&quot; a table"' in shown and 'loading="lazy"' in shown


def test_a_pointmap_viewer_is_thinned_and_small(folder):
    figure = next(some_views())
    assert sum(len(trace.x) for trace in figure.data if trace.mode == "markers") == viewers.MAX_POINTS
    figures.write_viewer(figure, "cloud", "a cloud")
    assert (folder / "cloud.html").stat().st_size < 400_000


def test_the_data_of_a_viewer_is_json_with_the_frame_in_its_axis_titles(folder):
    figures.write_viewer(next(some_views()), "cloud", "a cloud")
    content = re.search(r'newPlot\("plot", (.*)\);', (folder / "cloud.html").read_text()).group(1)
    scene = json.loads(content)["layout"]["scene"]
    assert scene["zaxis"]["title"]["text"] == "z in m (camera n)"


def test_cameras_of_the_shell_stand_where_their_poses_say():
    figure = list(some_views())[1]
    X_WC = sample_camera_poses(8, np.random.default_rng(0))
    pyramids = [trace for trace in figure.data if trace.name == "train cameras"]
    apexes = [[trace.x[0], trace.y[0], trace.z[0]] for trace in pyramids]
    np.testing.assert_allclose(apexes, X_WC[:6, :3, 3], atol=1e-6)
    assert [trace.showlegend for trace in pyramids] == [True] + [False] * 5


@pytest.mark.parametrize("up", [(0.0, 0.0, 1.0), (0.0, -1.0, 0.0), (0.3, -0.2, 0.9)])
def test_the_keys_walk_the_eye_around_what_is_up(folder, up):
    figures.write_viewer(next(some_views()), "cloud", "a cloud")
    context = quickjs.Context()
    context.eval(re.search(r'<script id="turning">(.*?)</script>', (folder / "cloud.html").read_text(), re.DOTALL)[1])
    eye, axis = np.array([1.0, -0.8, 0.7]), np.array(up) / np.linalg.norm(up)

    def turned(angle, rise, zoom):
        camera = {name: dict(zip("xyz", map(float, p), strict=True)) for name, p in (("eye", eye), ("up", up))}
        text = context.eval(f"JSON.stringify(turned({json.dumps(camera)}, {angle}, {rise}, {zoom}))")
        return np.array([json.loads(text)[axis] for axis in "xyz"])

    around = Rotation.from_rotvec(0.4 * axis).apply(eye)
    np.testing.assert_allclose(turned(0.4, 0, 1), around, atol=1e-9)
    np.testing.assert_allclose(turned(0, 0, 1.15), 1.15 * eye, atol=1e-9)
    risen, far = turned(0, 0.1, 1), np.linalg.norm(eye)
    np.testing.assert_allclose(np.arcsin(risen @ axis / far), np.arcsin(eye @ axis / far) + 0.1)
    np.testing.assert_allclose(np.linalg.norm(risen), far)
    assert turned(0, 9, 1) @ axis < far, "it never passes over the pole"


def test_a_page_of_another_kind_gets_the_figures_title(folder):
    figures.write_page("<html><title>Drake MeshCat</title><body></body></html>", "other", "a <robot>")
    assert "<title>a &lt;robot&gt;</title>" in (folder / "other.html").read_text()


def test_depth_stays_smooth_beside_photographs_where_a_picture_has_few_colours():
    photographs = np.random.default_rng(0).integers(0, 256, (300, 400, 3), dtype=np.uint8)
    ramp = (255 * plt.get_cmap(look.DEPTH_CMAP)(np.linspace(0, 1, 400))[:, :3]).astype(np.uint8)
    picture, file = np.concatenate([photographs, np.broadcast_to(ramp, (20, 400, 3))]), BytesIO()
    plt.imsave(file, picture)
    small = plt.imread(BytesIO(look.in_fewer_colours(file.getvalue())))[..., :3]
    half_step = np.abs(np.diff(plt.get_cmap(look.DEPTH_CMAP)(np.linspace(0, 1, 64))[:, :3], axis=0)).max() / 2
    assert np.abs(255 * small[-1] - ramp).max() <= 255 * half_step + 1  # and a level of rounding; an octree alone: 8


def test_the_meshcat_of_recordings_is_kept_once_beside_them_and_run_where_it_stood(folder):
    meshcat = '<script type="text/javascript">/*! For license information please see it */\nvar MeshCat = 1;</script>'
    for name in ("first", "second"):
        figures.write_page(f"<title></title><i>before</i>{meshcat}<script>MeshCat</script>", name, name)
        page = (folder / f"{name}.html").read_text()
        sources = re.findall(r'<script src="([^"]*)"', page)
        assert sources == [viewers.MESHCAT, f"/static/{viewers.MESHCAT}"] and f"viewers/{name}.html" in page
        assert page.index("before") < page.index(sources[0]) < page.index("<script>MeshCat")
        assert "var MeshCat" not in page
    assert "var MeshCat = 1;" in (folder / viewers.MESHCAT).read_text()


def test_a_gallery_holds_the_image_of_every_camera_beside_the_pyramids_in_their_order(folder):
    figure, colours = list(some_views())[1], ["#5A5A5A"] * 6 + ["#B8860B"] * 2
    images = {f'camera "{i}"': (np.full((16, 20, 3), 30 * i, np.uint8), colour) for i, colour in enumerate(colours)}
    figures.write_viewer(figure, "shell", "a shell", images)
    page = (folder / "shell.html").read_text()
    shown = re.findall(r'<img src="data:image/jpeg;base64,([^"]*)" alt="camera &quot;(\d)&quot;"[^>]*: (#\w+)"', page)
    assert [int(number) for _, number, _ in shown] == list(range(8)) and [colour for *_, colour in shown] == colours
    means = [plt.imread(BytesIO(b64decode(data)), "jpg").mean() for data, *_ in shown]
    np.testing.assert_allclose(means, 30 * np.arange(8), atol=2)
    assert [trace.meta for trace in figure.data if trace.meta is not None] == list(range(8))
