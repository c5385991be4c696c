"""The path model: clouds and their frames, a place that it must learn to point at, and its part in the pipeline."""

import dataclasses

import numpy as np
import pytest
import synthetic
import torch
from test_geometry_registration import COLOURS, boxes_on_table, view
from test_models_unet import TINY

from data_scripts.train_path import TrainPath, main
from geo4d_lite.data import EpisodeError, WindowDataset, open_dataset
from geo4d_lite.geometry import RGBD, invert, relative_pose, sample_camera_poses, transform
from geo4d_lite.models import BEST, DualBranchUNet, Geo4DPipeline, LiteAutoencoder
from geo4d_lite.models.latents import path_in_n
from geo4d_lite.models.path_model import (
    CANDIDATES,
    HEIGHTS_M,
    POINTS,
    VOXEL_M,
    PathModel,
    drawn,
    moved_path,
    network_input,
    planar_motion,
    scene_cloud,
)
from geo4d_lite.models.path_windows import PathWindows

CAMERAS = sample_camera_poses(2, np.random.default_rng(5))


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp("data") / "task"
    return synthetic.make_dataset(root, 2, 1, frames=16, cameras=5, hz=2, width=128, height=96)


def two_views() -> list[RGBD]:
    return [view(X_WC, boxes_on_table(1)) for X_WC in CAMERAS]


def random_path(seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    turns = torch.linalg.qr(torch.randn(4, 10, 2, 3, 3, generator=generator))[0]
    X_WG = torch.eye(4).repeat(4, 10, 2, 1, 1)
    X_WG[..., :3, :3], X_WG[..., :3, 3] = turns, torch.randn(4, 10, 2, 3, generator=generator)
    return X_WG


def test_a_cloud_holds_what_stands_on_the_table_once_in_a_cube():
    points, colours = scene_cloud(two_views(), list(CAMERAS))
    assert 300 < len(points) <= CANDIDATES and points.shape == colours.shape
    assert points[:, 2].min() > HEIGHTS_M[0] and points[:, 2].max() < HEIGHTS_M[1]
    assert len(np.unique(np.floor(points / VOXEL_M), axis=0)) == len(points)
    boxes = np.array([X_WB[:2, 3] for X_WB, *_ in boxes_on_table(1)])
    assert np.linalg.norm(points[:, None, :2] - boxes, axis=-1).min(axis=1).max() < 0.10
    known = np.round(np.array(COLOURS) * 255)
    assert np.abs(colours[:, None].astype(float) - known).max(axis=-1).min(axis=1).max() <= 1


def test_a_cloud_of_nothing_is_empty():
    points, colours = scene_cloud([view(X_WC, []) for X_WC in CAMERAS], list(CAMERAS))
    assert len(points) == len(colours) == 0


def test_a_path_moves_as_its_grippers_do():
    X_WG, width_m = random_path(), torch.rand(4, 10, 2)
    X_AW = planar_motion(
        torch.tensor([0.3, 2.0, -1.0, 4.0]), torch.randn(4, 2, generator=torch.Generator().manual_seed(1))
    )
    told = moved_path(path_in_n(torch.eye(4).expand(4, 4, 4), X_WG, width_m), X_AW)
    torch.testing.assert_close(told, path_in_n(X_AW, X_WG, width_m), atol=1e-5, rtol=0)


def test_a_motion_along_the_table_shifts_first_and_keeps_heights():
    X_AT = planar_motion(torch.tensor([torch.pi / 2]), torch.tensor([[1.0, 0.0]]))[0]
    torch.testing.assert_close(X_AT @ torch.tensor([1.0, 0, 3, 1]), torch.tensor([0.0, 2, 3, 1]), atol=1e-6, rtol=0)


def test_the_network_is_shown_the_points_of_the_cloud_in_decimetres():
    points, colours = (torch.from_numpy(x)[None] for x in scene_cloud(two_views(), list(CAMERAS)))
    X_AT = planar_motion(torch.tensor([0.7]), torch.tensor([[0.1, -0.2]]))
    seen, colour = network_input(points, colours, X_AT)
    assert seen.shape == colour.shape == points.shape and colour.abs().max() <= 1
    torch.testing.assert_close(transform(torch.linalg.inv(X_AT[0]), seen[0] / 10), points[0], atol=1e-5, rtol=0)


def test_it_learns_from_some_points_drawn_anew_each_time():
    points, colours = (torch.from_numpy(x)[None] for x in scene_cloud(two_views(), list(CAMERAS)))
    generator = torch.Generator().manual_seed(0)
    first, second = (drawn(points, colours, generator) for _ in range(2))
    for some, their_colours in (first, second):
        assert some.shape == their_colours.shape == (1, POINTS, 3)
        which = torch.cdist(some[0], points[0]).argmin(dim=1)
        assert torch.equal(some[0], points[0, which]) and torch.equal(their_colours[0], colours[0, which])
    assert not torch.equal(first[0], second[0])


class Middle(PathModel):
    """Answers with the middle of the points that it is shown, and a hand that points up and closes along their x."""

    def forward(self, points, colours):
        path = torch.zeros(len(points), 10, 2, 10)
        path[..., :3] = points.mean(dim=1)[:, None, None] / 10
        path[..., 5], path[..., 6], path[..., 9] = 0.1, 0.1, 0.8
        return path


def test_an_answer_comes_out_in_the_frame_of_n():
    views, X_nm = two_views(), relative_pose(*CAMERAS)
    path = Middle().predict(*views, X_nm)
    assert path.shape == (1, 10, 2, 10)
    points, _ = scene_cloud(views, list(CAMERAS))
    middle = transform(invert(CAMERAS[0]), points.mean(axis=0))
    assert np.linalg.norm(path[0, 0, 0, :3].numpy() - middle) < 0.02  # random points, and whose table was fitted
    up = 0.1 * CAMERAS[0][:3, :3].T @ [0, 0, 1]
    assert np.linalg.norm(path[0, 3, 1, 3:6].numpy() - up) < 0.1 * np.sin(np.deg2rad(1))
    assert path[0, 0, 0, 6:9].norm() < 1e-5, "shown from all sides: what turns with the view averages out"
    torch.testing.assert_close(path[..., 9], torch.full((1, 10, 2), 0.8))


def test_a_view_without_a_table_or_with_nothing_on_it_tells_no_path():
    black = RGBD(np.zeros((64, 64, 3), np.uint8), np.zeros((64, 64), np.float32), two_views()[0].K)
    assert PathModel().predict(black, black, np.eye(4)) is None
    bare = view(CAMERAS[0], [])
    assert PathModel().predict(bare, bare, np.eye(4)) is None


def test_the_order_of_points_says_nothing():
    torch.manual_seed(0)
    model = PathModel().eval()
    points, colours = torch.randn(2, 40, 3), torch.randn(2, 40, 3)
    order = torch.randperm(40)
    torch.testing.assert_close(model(points[:, order], colours[:, order]), model(points, colours), atol=1e-5, rtol=0)


def test_it_learns_to_point_at_a_place_it_has_never_seen():
    """One cluster of red points among grey ones: the grippers go 5 cm above it, wherever it is."""
    torch.manual_seed(0)
    generator, model = torch.Generator().manual_seed(0), PathModel(width=32, keypoints=8)

    def draw(count: int, spread: float):
        points = 2 * torch.randn(count, 64, 3, generator=generator)
        place = spread * torch.randn(count, 1, 3, generator=generator)
        points[:, :16] = place + 0.2 * torch.randn(count, 16, 3, generator=generator)
        colours = -torch.ones(count, 64, 3)
        colours[:, :16, 0] = 1.0
        path = torch.zeros(count, 10, 2, 10)
        path[..., :3] = (place / 10 + torch.tensor([0, 0, 0.05]))[:, None]
        return points, colours, path

    optimizer = torch.optim.AdamW(model.parameters(), 2e-3)
    for _ in range(150):
        loss = model.loss(*draw(16, 1.0))["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        assert model.loss(*draw(64, 1.0))["cm"] < 2.0, "a spread of 10 cm in each direction"
        assert model.loss(*draw(64, 2.0))["cm"] < 5.0, "and twice as far as any place it was trained on"


def test_training_windows_show_the_gripper_where_its_path_begins(data, tmp_path):
    episodes = open_dataset(data).split("train")
    windows = PathWindows(episodes, tmp_path, pairs=3)
    points, colours, path = windows.batch(6, torch.Generator().manual_seed(0))
    assert points.shape == colours.shape == (6, POINTS, 3) and path.shape == (6, 10, 2, 10)
    from_hand = (points[:, :, None] / 10 - path[:, None, :, 0, :3]).norm(dim=-1).amin(dim=(1, 2))
    assert from_hand.max() < 0.05
    assert torch.allclose(path[..., 5], torch.tensor(-0.1)), "the hand points down, however the cloud is turned"
    assert path[:, 0, 0, 6:8].std(dim=0).min() > 0.02, "and closes in another direction in every window"
    kept = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    again = PathWindows(episodes, tmp_path, pairs=3).batch(6, torch.Generator().manual_seed(0))
    assert torch.equal(again[0], points) and kept == {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    with pytest.raises(EpisodeError, match="delete .* made again"):
        PathWindows(episodes, tmp_path, pairs=1)


def test_an_episode_too_short_for_a_window_is_one_that_stands_still_at_its_end(tmp_path):
    root = synthetic.make_dataset(tmp_path / "short", 1, 1, frames=4, cameras=5, hz=2, width=128, height=96)
    episodes = open_dataset(root).split("train")
    *_, path = PathWindows(episodes, tmp_path / "clouds", pairs=1).batch(2, torch.Generator().manual_seed(0))
    assert torch.equal(path[:, 2], path[:, 9]) and not torch.equal(path[:, 0], path[:, 2])


def test_what_the_script_trains_the_pipeline_draws_by(data, tmp_path):
    main(TrainPath(data, tmp_path / "weights", tmp_path / "run", steps=2, batch=2, pairs=1))
    torch.manual_seed(0)
    recipe = dataclasses.replace(BEST, token_maps=0, change_mask=False)
    sizes = TINY | {"latent_channels": 8}
    unet = DualBranchUNet(sizes, frame_tokens=True, context_tokens=4, draft=True, views_agree=True, hand_rays=True)
    pipeline = Geo4DPipeline(LiteAutoencoder("rgb"), LiteAutoencoder("pointmap"), unet, recipe=recipe)
    guided = pipeline.with_path_model(tmp_path / "weights")
    item = WindowDataset(open_dataset(data), "train")[0]
    views = [RGBD(item["rgb"][i, 0], item["depth_m"][i, 0], item["K"][i]) for i in (0, 1)]
    films = [p(*views, 1, torch.Generator().manual_seed(0)) for p in (pipeline, guided)]
    assert (films[0].pointmap != films[1].pointmap).any()
    guided.save_pretrained(tmp_path / "both")
    assert (tmp_path / "both" / "path_model").is_dir()
    again = Geo4DPipeline.from_pretrained(tmp_path / "both")(*views, 1, torch.Generator().manual_seed(0))
    np.testing.assert_array_equal(again.rgb, films[1].rgb)
    guided.to("cpu", torch.bfloat16)
    assert guided.unet.dtype == torch.bfloat16 and guided.path_model.dtype == torch.float32
    assert np.isfinite(guided(*views, 1, torch.Generator().manual_seed(0)).pointmap).all()
    with pytest.raises(ValueError, match="needs hand_rays"):
        Geo4DPipeline(*pipeline.parts.values(), path_model=guided.path_model)
