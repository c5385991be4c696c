"""The labs of the browser: their formulas are the package's, their pages need nothing else and are up to date.

The formulas run in QuickJS, taken from the committed pages; a browser is asked for too where one is installed.
"""

import json
import re
import subprocess
from itertools import pairwise

import numpy as np
import pytest
import quickjs
import torch
from bs4 import BeautifulSoup
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from book.tools.browser import find_chromium
from book.tools.build import ROOT
from book.tools.labs import pages, recorded
from book.tools.labs.recorded import X_WN, K
from geo4d_lite.geometry import PAPER_SHELL, invert, look_at, project, relative_pose, transform, unproject
from geo4d_lite.models import diffusion
from geo4d_lite.models.recipe import BEST, PLAIN

LABS = ("camera", "noise")
BROWSER = find_chromium()
M_PLACE = {"azimuth": 45, "elevation": 64, "distance": 0.96}
SIGMAS = diffusion.log_uniform_grid(0.002, 700.0, 25).double()
LOG_SIGMAS = SIGMAS.log().numpy()


class Formulas:
    """The formulas of a committed page, called with and answering in what JSON can say."""

    def __init__(self, lab: str):
        soup = BeautifulSoup((pages.LABS / f"{lab}.html").read_text(), "html.parser")
        self.data = json.loads(soup.find(id="data").text)
        self.context = quickjs.Context()
        self.context.eval(soup.find(id="formulas").text)
        self.context.eval(f"const data = {json.dumps(self.data)}")

    def __call__(self, expression: str, **values):
        """The value of a JavaScript expression in which `values` are known by their names."""
        known = json.dumps({name: np.asarray(value).tolist() for name, value in values.items()})
        call = f"(() => {{ const {{ {', '.join(values)} }} = {known}; return JSON.stringify({expression}) }})()"
        return json.loads(self.context.eval(call))

    def depth(self, X_WC: np.ndarray) -> np.ndarray:
        """The depth image (H, W) in metres that the page draws for a camera at X_WC."""
        scene = recorded.read_scene()
        depth = self(
            "Array.from(renderDepth({ vertices, triangles }, X_WC, data.K).depth)",
            vertices=scene.vertices, triangles=scene.triangles, X_WC=X_WC,
        )  # fmt: skip
        return np.array(depth).reshape(K.height, K.width)


@pytest.fixture(scope="module")
def camera() -> Formulas:
    return Formulas("camera")


@pytest.fixture(scope="module")
def noise() -> Formulas:
    return Formulas("noise")


@pytest.fixture(scope="module")
def X_WM() -> np.ndarray:
    """Camera m as the lab shows it at first."""
    return look_at(recorded.place_on_dome(**M_PLACE), PAPER_SHELL.target)


def test_the_committed_pages_are_what_the_command_writes(tmp_path):
    assert [path.name for path in pages.write_labs(tmp_path)] == [f"{lab}.html" for lab in LABS]
    for lab in LABS:
        committed, fresh = ((folder / f"{lab}.html").read_text() for folder in (pages.LABS, tmp_path))
        assert committed == fresh, f"book/labs/{lab}.html is out of date: run `python -m book.tools.labs`"


@pytest.mark.parametrize("lab", LABS)
def test_a_lab_is_one_small_page_that_loads_nothing(lab):
    text = (pages.LABS / f"{lab}.html").read_text()
    soup = BeautifulSoup(text, "html.parser")
    assert len(text.encode()) <= 400_000
    assert "http" not in text and not re.search(r"@import|url\(|fetch\(|import\(|\bsrc\b|\bhref\b", text)
    assert soup.html["lang"] == "en" and soup.title.text == pages.TITLES[lab]
    assert "needs JavaScript" in soup.noscript.text


@pytest.mark.parametrize("lab", LABS)
def test_everything_a_reader_can_set_or_see_in_a_lab_has_a_name(lab):
    soup = BeautifulSoup((pages.LABS / f"{lab}.html").read_text(), "html.parser")
    labelled = {label["for"] for label in soup.find_all("label") if label.get("for")}
    controls = soup.find_all("input")
    assert controls and all(c.get("id") in labelled or c.find_parent("label") for c in controls)
    assert all(picture.get("aria-label") for picture in soup.find_all(["canvas", "svg"]))


def test_the_book_embeds_both_labs_and_names_their_numbers():
    text = (ROOT / "book" / "labs.md").read_text()
    frames = BeautifulSoup(text, "html.parser").find_all("iframe")
    assert [frame["src"] for frame in frames] == [f"labs/{lab}.html" for lab in LABS]
    assert all(frame["loading"] == "lazy" and frame["title"] for frame in frames)
    place = recorded.N_PLACE
    solution = f"azimuth −{-place['azimuth']}°, elevation {place['elevation']}°, distance {place['distance']} m"
    assert solution in text
    for recipe in (PLAIN, BEST):
        mean = recipe.log_sigma_mean
        assert f"$e^{{{mean:g}}} \\approx {np.exp(mean):.1f}$" in text, "where each recipe draws most"


# -- move a camera ---------------------------------------------------------------------------------------------------

angles = st.tuples(st.floats(-68, 68), st.floats(36, 80), st.floats(0.75, 1.2))


@given(angles)
def test_a_slider_places_and_turns_the_camera_as_the_package_does(camera, place):
    eye = recorded.place_on_dome(*place)
    np.testing.assert_allclose(camera("placeOnDome(...place)", place=place), eye, atol=1e-12)
    X_WC = camera("lookAt(eye, data.target)", eye=eye)
    np.testing.assert_allclose(X_WC, look_at(eye, PAPER_SHELL.target), atol=1e-12)
    assert camera("insideShell(eye, data.shell)", eye=eye) == bool(PAPER_SHELL.contains(eye))


def test_the_shell_has_its_walls_where_the_package_has_them(camera):
    for p in [(0.3, 0.0, 0.8), (0.19, 0.0, 0.9), (0.3, 0.51, 0.8), (0.3, 0.0, 1.17), (0.6, 0.5, 0.9), (0.3, 0, 0.69)]:
        assert camera("insideShell(p, data.shell)", p=p) == bool(PAPER_SHELL.contains(p)), p
    assert {bool(PAPER_SHELL.contains(p)) for p in [(0.3, 0.0, 0.8), (0.3, 0.0, 1.17)]} == {True, False}


@given(angles, angles, st.tuples(*[st.floats(-1, 1)] * 3))
def test_poses_are_inverted_joined_and_applied_as_in_the_package(camera, place_a, place_b, p):
    X_WA, X_WB = (look_at(recorded.place_on_dome(*place), PAPER_SHELL.target) for place in (place_a, place_b))
    given = {"A": X_WA, "B": X_WB, "p": p}
    np.testing.assert_allclose(camera("invert(A)", **given), invert(X_WA), atol=1e-12)
    np.testing.assert_allclose(camera("relativePose(A, B)", **given), relative_pose(X_WA, X_WB), atol=1e-12)
    np.testing.assert_allclose(camera("transform(A, p)", **given), transform(X_WA, np.array(p)), atol=1e-12)


def test_a_pixel_becomes_a_point_and_a_point_a_pixel_as_in_the_package(camera):
    _, depth_m = recorded.read_frame()
    points, valid = unproject(depth_m, K.matrix)
    rows, columns = (index[::997] for index in np.nonzero(valid))
    z = depth_m[rows, columns]
    given = {"u": columns, "v": rows, "z": z}
    found = np.array(camera("u.map((_, i) => unproject(u[i], v[i], z[i], data.K))", **given))
    np.testing.assert_allclose(found, points[rows, columns], atol=1e-12)
    pixels = camera("p.map(point => project(point, data.K))", p=points[rows, columns])
    np.testing.assert_allclose(pixels, project(points[rows, columns], K.matrix)[0], atol=1e-9)


def test_the_ringed_point_is_the_apple_that_camera_n_measured(camera):
    rgb, depth_m = recorded.read_frame()
    p_n = transform(invert(X_WN), np.array(camera.data["p_W"]))
    pixel, z = project(p_n, K.matrix)
    u, v = np.round(pixel).astype(int)
    assert z == pytest.approx(depth_m[v, u], abs=1e-9)
    assert rgb[v, u, 1] > rgb[v, u, 0] > rgb[v, u, 2], "the apple is green"


def test_the_page_draws_the_depth_that_the_simulator_recorded(camera):
    _, recorded_m = recorded.read_frame()
    drawn_m = camera.depth(X_WN)
    assert np.mean((drawn_m > 0) == (recorded_m > 0)) > 0.995
    assert np.mean(np.abs(drawn_m - recorded_m) < 0.005) > 0.98


def test_what_crosses_the_image_plane_is_clipped_and_not_smeared(camera):
    """A floor 1 m below a level camera reaches behind it; its pixels have the depth of the plane, the sky has none."""
    floor = {"vertices": [(-99, 1, -99), (99, 1, -99), (99, 1, 99), (-99, 1, 99)], "triangles": [(0, 1, 2), (0, 2, 3)]}
    depth = camera("Array.from(renderDepth({ vertices, triangles }, X, data.K).depth)", X=np.eye(4), **floor)
    depth = np.array(depth).reshape(K.height, K.width)
    v = np.arange(K.height)
    expected = np.where(v > K.cy + K.fy / 99, K.fy / np.maximum(v - K.cy, 0.1), 0)
    np.testing.assert_allclose(depth, np.broadcast_to(expected[:, None], depth.shape), rtol=1e-9)


def gaps_by_hand(points, depth_m) -> list[float]:
    """Gaps of points (N, 3) in the frame of n to the depth that n measured, one after the other."""
    gaps = []
    for p in points:
        (u, v), z = project(p, K.matrix)
        if z > 0 and -0.5 < u < K.width - 0.5 and -0.5 < v < K.height - 0.5 and depth_m[round(v), round(u)] > 0:
            gaps.append(abs(z - depth_m[round(v), round(u)]))
    return gaps


def things(camera, X_WC) -> np.ndarray:
    """Every third point in both directions, (N, 3) in its own frame, that a camera sees of what stands on the table."""
    points, valid = unproject(camera.depth(X_WC), K.matrix)
    valid &= transform(X_WC, points)[..., 2] > 0.004
    return points[1::3, 1::3][valid[1::3, 1::3]]


def test_the_verdict_tells_agreement_in_one_frame_from_disagreement_in_two(camera, X_WM):
    depth_n, points = camera.depth(X_WN), things(camera, X_WM)
    medians = {}
    for name, moved in (("own", points), ("n", transform(relative_pose(X_WN, X_WM), points))):
        call = "[gapsToDepth(points, depth_n, data.K), median(gapsToDepth(points, depth_n, data.K))]"
        gaps, medians[name] = camera(call, points=moved, depth_n=depth_n.ravel())
        np.testing.assert_allclose(gaps, gaps_by_hand(moved, depth_n), atol=1e-12)
        assert medians[name] == pytest.approx(np.median(gaps), abs=1e-12)
    assert medians["n"] < 0.005 and medians["own"] > 0.2


def test_the_book_names_the_gap_ten_degrees_beside_camera_n(camera):
    place = recorded.N_PLACE | {"azimuth": recorded.N_PLACE["azimuth"] + 10}
    X_WM = look_at(recorded.place_on_dome(**place), PAPER_SHELL.target)
    gap_m = np.median(gaps_by_hand(things(camera, X_WM), camera.depth(X_WN)))
    sentence = f"At azimuth −{-place['azimuth']}° what stands on the table misses by {100 * gap_m:.1f} cm"
    assert sentence in (ROOT / "book" / "labs.md").read_text()


@pytest.mark.slow
def test_the_recorded_scene_is_the_simulators_from_another_camera_too(camera, X_WM):
    from book.tools.labs import scene

    station = scene.make_moment()
    fresh = station.render(X_WM, K).depth_m
    drawn = camera.depth(X_WM)
    assert np.mean(np.abs(drawn - fresh) < 0.005) > 0.98
    assert np.mean(np.abs(station.render(X_WN, K).depth_m - recorded.read_frame()[1]) < 0.002) > 0.99


# -- slide the noise -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["c_skip", "c_out", "c_in", "c_noise"])
def test_a_coefficient_is_the_packages(noise, name):
    javascript = name.replace("_s", "S").replace("_o", "O").replace("_i", "I").replace("_n", "N")
    expected = getattr(diffusion, name)(SIGMAS)
    np.testing.assert_allclose(noise(f"sigmas.map({javascript})", sigmas=SIGMAS), expected, rtol=1e-12)


def test_the_weight_is_that_of_the_loss_where_there_is_no_gripper(noise):
    expected = diffusion.GripperWeighting("paper")(SIGMAS, torch.zeros(len(SIGMAS)))
    np.testing.assert_allclose(noise("sigmas.map(lossWeight)", sigmas=SIGMAS), expected, rtol=1e-12)


@pytest.mark.parametrize("sigma", [0.002, 0.3, 1.0, 20.0, 700.0])
def test_a_network_that_answers_what_the_page_asks_for_makes_the_package_return_the_clean_image(noise, sigma):
    rng = torch.Generator().manual_seed(0)
    x, e = (torch.randn(2, 1, 1, 1, 1, 40, generator=rng, dtype=torch.float64) for _ in range(2))
    s = torch.full((2,), sigma, dtype=torch.float64)
    given, asked, told = [], [], []

    def network(value, condition, c_noise, context):
        given.append(value)
        told.append(c_noise)
        call = {"x": x.flatten(), "e": e.flatten(), "sigma": sigma}
        answer = noise("networkTarget(x, addNoise(x, e, sigma), sigma)", **call)
        asked.append(torch.tensor(answer, dtype=torch.float64).view_as(x))
        np.testing.assert_allclose(
            noise("networkInput(addNoise(x, e, sigma), sigma)", **call), value.flatten(), rtol=1e-9
        )
        return asked[0]

    clean = diffusion.denoise(network, x + sigma * e, x[..., 0], s)
    torch.testing.assert_close(clean, x, rtol=0, atol=1e-4)  # the package takes answers in single precision
    torch.testing.assert_close(asked[0], (e - sigma * x) / (sigma**2 + 1) ** 0.5, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(
        torch.tensor(noise("cNoise(sigma)", sigma=sigma), dtype=torch.float64), told[0][0].flatten()[0]
    )
    back = noise("denoised(noisy, F, sigma)", noisy=(x + sigma * e).flatten(), F=asked[0].flatten(), sigma=sigma)
    np.testing.assert_allclose(back, x.flatten(), atol=1e-9)


def test_question_and_answer_have_mean_square_one_and_exchange_their_shares(noise):
    rng = np.random.default_rng(0)
    given = {"x": rng.normal(size=5000), "e": rng.normal(size=5000)}
    for sigma in (0.01, 0.5, 1.0, 4.0, 300.0):
        for call in ("networkInput(noisy, sigma)", "networkTarget(x, noisy, sigma)"):
            power = noise(f"(noisy => meanSquare({call}))(addNoise(x, e, sigma))", sigma=sigma, **given)
            assert power == pytest.approx(1, abs=0.06)
        in_input, in_target = noise("[noiseInInput(sigma), noiseInTarget(sigma)]", sigma=sigma)
        s = torch.tensor(sigma, dtype=torch.float64)
        assert in_input == pytest.approx(float((sigma * diffusion.c_in(s)) ** 2))
        assert in_target == pytest.approx(float((diffusion.c_skip(s) * sigma / diffusion.c_out(s)) ** 2))
        assert in_input + in_target == pytest.approx(1)


@pytest.mark.parametrize(("name", "recipe"), [("plain", PLAIN), ("best", BEST)])
def test_the_noise_levels_of_training_are_drawn_as_the_recipe_says(noise, name, recipe):
    law = noise.data["recipes"][name]
    assert law == {"mean": recipe.log_sigma_mean, "std": recipe.log_sigma_std}
    normal = stats.norm(law["mean"], law["std"])
    call = f"sigmas.map(sigma => [density(sigma, data.recipes.{name}), shareNoisier(sigma, data.recipes.{name})])"
    density, noisier = np.transpose(noise(call, sigmas=SIGMAS))
    np.testing.assert_allclose(density, normal.pdf(LOG_SIGMAS), atol=1e-12)
    np.testing.assert_allclose(noisier, normal.sf(LOG_SIGMAS), atol=1e-7)
    drawn = diffusion.NoiseDistribution(**law).sample(20_000, torch.Generator().manual_seed(0)).double()
    np.testing.assert_allclose(noisier, (drawn[:, None] > SIGMAS).double().mean(0), atol=0.015)


def test_the_slider_covers_the_noise_levels_of_the_sampler(noise):
    scheduler = diffusion.make_scheduler()
    scheduler.set_timesteps(25)
    levels = scheduler.sigmas[:-1]
    assert noise.data["sigma_max"] == pytest.approx(float(levels[0])) and noise.data["sigma_min"] == pytest.approx(
        float(levels[-1]), rel=1e-4
    )


def test_the_pages_noise_is_standard_normal_repeatable_and_new_for_a_new_seed(noise):
    drawn = [np.array(noise(f"Array.from(normalNoise(20000, {seed}))")) for seed in (1, 1, 2)]
    assert np.array_equal(drawn[0], drawn[1])
    for sample in (drawn[0], drawn[2]):
        assert stats.kstest(sample, "norm").pvalue > 0.01
    pairs = [drawn[0][:-1], drawn[0][1:]], [drawn[0], drawn[2]]
    assert all(abs(np.corrcoef(pair)[0, 1]) < 0.03 for pair in pairs)


# -- in a browser ----------------------------------------------------------------------------------------------------


def opened(path, tmp_path) -> BeautifulSoup:
    """A page after a browser ran it."""
    if not BROWSER:
        pytest.skip("no Chromium on this machine: the labs' formulas are tested without, their drawing is not")
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=4000", "--window-size=740,900"]
    command = [BROWSER, *flags, f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", path]
    run = subprocess.run(command, capture_output=True, text=True, timeout=240)
    return BeautifulSoup(run.stdout, "html.parser")


def numbers(text: str) -> list[float]:
    return [float(number) for number in re.findall(r"-?\d+\.?\d*", text.replace("−", "-"))]


def test_the_camera_lab_shows_the_packages_numbers_in_a_browser(camera, tmp_path):
    place = {"azimuth": 30, "elevation": 50, "distance": 0.8}
    settings = "&".join(f"{name}={value}" for name, value in place.items())
    soup = opened(f"{(pages.LABS / 'camera.html').as_uri()}#{settings}&frame=n", tmp_path)
    X_WM = look_at(recorded.place_on_dome(**place), PAPER_SHELL.target)
    p_m = transform(invert(X_WM), np.array(camera.data["p_W"]))
    X_nm = relative_pose(X_WN, X_WM)
    shown = {id: numbers(soup.find(id=id).text) for id in ("pixel", "p_m", "p_n")}
    np.testing.assert_allclose(shown["pixel"], project(p_m, K.matrix)[0], atol=0.051)
    np.testing.assert_allclose(shown["p_m"], p_m, atol=6e-4)
    np.testing.assert_allclose(shown["p_n"], transform(X_nm, p_m), atol=6e-4)
    rows = [[numbers(cell.text)[0] for cell in row.find_all("td")] for row in soup.find(id="X_nm").find_all("tr")]
    np.testing.assert_allclose(rows, X_nm[:3], atol=6e-4)
    assert "They agree" in soup.find(id="verdict").text and "outside" in soup.find(id="shell").text


def test_the_noise_lab_shows_the_packages_numbers_in_a_browser(noise, tmp_path):
    soup = opened(f"{(pages.LABS / 'noise.html').as_uri()}#lnsigma=0.7&show=depth", tmp_path)
    s = torch.tensor(0.7, dtype=torch.float64).exp()
    for id in ("c_in", "c_noise", "c_skip", "c_out"):
        assert numbers(soup.find(id=id).text) == [pytest.approx(float(getattr(diffusion, id)(s)), rel=5e-3)]
    assert [numbers(soup.find(id=f"{name}_share").text)[0] for name in ("plain", "best")] == [
        round(100 * stats.norm.sf(0.7, recipe.log_sigma_mean, recipe.log_sigma_std)) for recipe in (PLAIN, BEST)
    ]
    clean, noisy, given, asked = (float(mark.text) for mark in soup.find_all(class_="power"))
    assert clean == 1 and noisy == pytest.approx(1 + float(s) ** 2, rel=0.03)
    assert given == pytest.approx(1, abs=0.03) and asked == pytest.approx(1, abs=0.03)


def test_a_lab_in_the_book_takes_the_height_it_needs(tmp_path):
    text = (ROOT / "book" / "labs.md").read_text()
    frame, script = re.search(r"<iframe.*?</iframe>", text)[0], re.search(r"<script>.*?</script>", text, re.DOTALL)[0]
    heights = []
    for width in (720, 360):
        shown = frame.replace("labs/", f"{pages.LABS.as_uri()}/").replace('loading="lazy"', f'style="width: {width}px"')
        (tmp_path / "book.html").write_text(
            f'<!DOCTYPE html><html data-theme="dark"><body>{shown}{script}</body></html>'
        )
        style = opened((tmp_path / "book.html").as_uri(), tmp_path).iframe["style"]
        heights.append(float(re.search(r"height: (\d+)px", style)[1]))
    assert all(500 < low < high < 2500 for low, high in pairwise(heights)), "narrower pages are longer"
