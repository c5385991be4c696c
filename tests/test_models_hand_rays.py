"""Lines of sight, and what they are to a hand: the same wherever both are."""

import dataclasses

import numpy as np
import pytest
import synthetic
import torch
from test_models_draft import TINY

from geo4d_lite.data import WindowDataset, open_dataset
from geo4d_lite.models import BEST, PLAIN, DualBranchUNet, Geo4DPipeline, LiteAutoencoder
from geo4d_lite.models.hand_rays import HAND_CHANNELS, RAY_CHANNELS, hand_coordinates, sight_lines
from geo4d_lite.models.latents import LatentSet
from geo4d_lite.models.recipe import base_latents, condition_latents, training_pair

K = torch.tensor([[166.7, 0.0, 79.5], [0.0, 166.7, 63.5], [0.0, 0.0, 1.0]])


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    root = tmp_path_factory.mktemp("set") / "demos"
    return open_dataset(synthetic.make_dataset(root, train=1, test=1, frames=14, cameras=5, hz=2, width=64, height=32))


@pytest.fixture(scope="module")
def autoencoders():
    torch.manual_seed(0)
    return tuple(LiteAutoencoder(kind, width=16).eval() for kind in ("rgb", "pointmap"))


@pytest.fixture(scope="module")
def latents(dataset, autoencoders, tmp_path_factory):
    return LatentSet.build(dataset, "train", *autoencoders, tmp_path_factory.mktemp("latents"), pairs=3)


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def motion(seed: int) -> torch.Tensor:
    """A rigid transform (4, 4), drawn at random."""
    X, q = torch.eye(4), torch.linalg.qr(draw(3, 3, seed=seed))[0]
    X[:3, :3], X[:3, 3] = q * torch.linalg.det(q), draw(3, seed=seed + 1)
    return X


def path_of(X_nG: torch.Tensor, opening: float) -> torch.Tensor:
    """The ten numbers of a hand at X_nG, as `latents.path_in_n` writes them."""
    return torch.cat([X_nG[:3, 3], 0.1 * X_nG[:3, 2], 0.1 * X_nG[:3, 1], torch.tensor([opening])])


def coordinates(X_nG: torch.Tensor, X_nC: torch.Tensor, opening: float = 0.8) -> torch.Tensor:
    """Of one hand seen by one camera, (C, H, W)."""
    path = path_of(X_nG, opening).expand(1, 2, 1, 2, 10)
    rays = sight_lines(K, X_nC, 16, 20).expand(1, 2, RAY_CHANNELS, 16, 20)
    return hand_coordinates(path, rays)[0, 0, 0, :HAND_CHANNELS]


def test_a_site_looks_through_the_middle_of_its_pixels():
    lines = sight_lines(K, torch.eye(4), 16, 20)
    assert lines.shape == (RAY_CHANNELS, 16, 20) and (lines[:3] == 0).all()
    torch.testing.assert_close(lines[3:].norm(dim=0), torch.ones(16, 20))
    pixels = torch.einsum("ij,jhw->ihw", K, lines[3:])
    pixels = pixels[:2] / pixels[2]
    torch.testing.assert_close(pixels[0, 5], 8 * torch.arange(20) + 3.5)  # columns 8 j to 8 j + 7
    torch.testing.assert_close(pixels[1, :, 5], 8 * torch.arange(16) + 3.5)


def test_lines_of_sight_move_with_their_camera():
    X = motion(3)
    lines, moved = sight_lines(K, torch.eye(4), 4, 5), sight_lines(K, X, 4, 5)
    torch.testing.assert_close(moved[:3], X[:3, 3].view(3, 1, 1).expand(3, 4, 5))
    torch.testing.assert_close(moved[3:], torch.einsum("ij,jhw->ihw", X[:3, :3], lines[3:]))


def test_hand_and_camera_moved_together_look_the_same():
    X_nC, X_nG, X = motion(0), motion(0), motion(7)
    X_nG[:3, 3] += X_nC[:3, 2]  # a metre before the camera
    here = coordinates(X_nG, X_nC)
    assert here[0].max() > 0.9
    torch.testing.assert_close(coordinates(X @ X_nG, X @ X_nC), here, atol=2e-4, rtol=0)
    assert (coordinates(X @ X_nG, X_nC) - here).abs().max() > 0.1


def test_what_a_line_through_the_hand_is_told():
    X_nG = torch.eye(4)
    X_nG[:3, 3] = 1.3 * sight_lines(K, torch.eye(4), 16, 20)[3:, 6, 9]  # on the line of site (6, 9), 1.3 m away
    told = coordinates(X_nG, torch.eye(4), opening=0.8)
    one, near, direction, along, opening = (told[i, 6, 9] for i in (0, slice(1, 4), slice(16, 19), 19, 20))
    torch.testing.assert_close(torch.stack([one, along, opening]), torch.tensor([1.0, 0.3, -0.2]), atol=1e-5, rtol=0)
    torch.testing.assert_close(near, torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(direction, X_nG[:3, 3] / 1.3)
    assert told[:, 0, 0].abs().max() < 1e-2, "a line that passes far from the hand is told nothing"
    beside = coordinates(X_nG, torch.eye(4))[1:4, 6, 10] / told[0, 6, 10]
    assert 0.3 < beside.norm() < 0.8, "the next site looks some centimetres past it"


def test_directions_that_are_not_quite_orthonormal_are_made_so():
    X_nG = motion(4)
    path = path_of(X_nG, 0.8).expand(1, 2, 1, 2, 10)
    askew = path.clone()
    askew[..., 3:6] *= 1.3
    askew[..., 6:9] += 0.4 * path[..., 3:6]
    rays = sight_lines(K, torch.eye(4), 16, 20).expand(1, 2, RAY_CHANNELS, 16, 20)
    torch.testing.assert_close(hand_coordinates(askew, rays), hand_coordinates(path, rays), atol=1e-4, rtol=0)


def test_points_of_both_views_lie_on_their_lines_of_sight(dataset, latents):
    item = WindowDataset(dataset, "train")[0]
    rays = torch.stack(
        [
            sight_lines(torch.from_numpy(item["K"][i]).float(), torch.from_numpy(X).float(), 4, 8)
            for i, X in enumerate((np.eye(4), item["X_nm"]))
        ]
    )
    middle = [slice(3, None, 8), slice(4, None, 8)]  # one of the four pixels about a site's centre
    points = torch.from_numpy(item["pointmap"][:, 0, middle[0], middle[1]]).movedim(-1, 1)
    towards = torch.nn.functional.normalize(points - rays[:, :3], dim=1)
    cosine = (towards * rays[:, 3:]).sum(dim=1)[torch.from_numpy(item["valid"][:, 0, middle[0], middle[1]])]
    assert len(cosine) > 20 and torch.rad2deg(cosine.clamp(-1, 1).acos()).max() < 1.5
    e = latents.windows([(0, 0, 0)])
    assert e.rays.shape == (1, 2, RAY_CHANNELS, 4, 8) and (e.rays[:, 0, :3] == 0).all()


def test_the_pipeline_sees_along_the_lines_that_were_trained(dataset, autoencoders, latents):
    cameras = latents.episodes[0]["pairs"][0].tolist()
    item = next(
        item
        for item in WindowDataset(dataset, "train")
        if torch.allclose(
            torch.from_numpy(item["X_nm"]).float(),
            latents.episodes[0]["X_CW"][cameras[0]] @ latents.episodes[0]["X_CW"][cameras[1]].inverse(),
            atol=1e-5,
        )
    )
    pipeline = Geo4DPipeline(*autoencoders, DualBranchUNet(TINY), recipe=BEST)
    points, valid = (np.asarray(item[name][:, 0]) for name in ("pointmap", "valid"))
    with torch.no_grad():
        condition = pipeline.encode(item["K"], item["X_nm"], item["rgb"][:, 0], points, valid)
    torch.testing.assert_close(condition[:, :, -RAY_CHANNELS:], latents.windows([(0, 0, 0)]).rays, atol=1e-4, rtol=0)


def test_lines_of_sight_ride_behind_the_condition_and_are_not_drawn_upon(latents):
    batch = latents.batch(2, torch.Generator().manual_seed(0))
    without = dataclasses.replace(BEST, hand_rays=False)
    (clean, condition, *_), (same, bare, *_) = (training_pair(batch, recipe) for recipe in (BEST, without))
    assert torch.equal(clean, same) and torch.equal(condition[:, :, :-RAY_CHANNELS], bare)
    assert torch.equal(condition[:, :, -RAY_CHANNELS:], batch.rays)
    assert torch.equal(base_latents(condition, BEST), base_latents(bare, without))


def test_a_draft_draws_hands_by_their_lines_of_sight():
    torch.manual_seed(0)
    unet = DualBranchUNet(TINY, frame_tokens=True, draft=True, hand_rays=True).eval()
    noisy, bare, rays = draw(1, 2, 10, 8, 8, 8), draw(1, 2, 8, 8, 8, seed=1), sight_lines(K, torch.eye(4), 8, 8)
    unet.frame_encoder.where.bias.data = path_of(torch.eye(4), 0.8).repeat(2)
    unet.frame_encoder.where.bias.data[[2, 12]] = 1.0  # before the camera
    condition, other = (torch.cat([bare, r.expand(1, 2, -1, -1, -1)], dim=2) for r in (rays, rays.flip(2)))
    with torch.no_grad():
        tokens = unet.tokens(condition)
        assert torch.equal(tokens, unet.tokens(other))
        answer, changed = (unet(noisy, c, torch.zeros(1)) for c in (condition, other))
    assert answer.shape == noisy.shape and (answer - changed).abs().max() > 1e-4


def test_hands_are_drawn_along_the_path_given_and_elsewhere_as_said():
    torch.manual_seed(0)
    encoder = DualBranchUNet(TINY, frame_tokens=True, draft=True, hand_rays=True).eval().frame_encoder
    rays = sight_lines(K, torch.eye(4), 8, 8).expand(1, 2, -1, -1, -1)
    condition = torch.cat([draw(1, 2, 8, 8, 8), rays], dim=2)
    tokens = encoder(condition).detach().requires_grad_()
    said = encoder.said(tokens).detach()[:, 0]
    path = path_of(torch.eye(4), 0.8).expand(1, 10, 2, 10).clone()
    path[..., 2] = 1.0  # before the camera
    path[:, 6:] = torch.nan  # not recorded
    drawn = encoder.draft(tokens, condition, path)
    both_said = encoder.draft(tokens, condition)
    differs = (drawn - both_said).abs().amax(dim=(1, 3, 4, 5))[0]
    assert (differs[:6] > 1e-5).all()
    one = torch.where(path.isnan(), said, path)
    torch.testing.assert_close(encoder.draft(tokens, condition, one)[:, 0], drawn[:, 0])
    (gradient,) = torch.autograd.grad(both_said.sum(), encoder.where.weight, allow_unused=True)
    assert gradient is None, "where the hands go is learned from their path, not from the picture"


def test_hand_rays_need_a_draft_a_registration_and_intrinsics():
    for missing in ({"draft": False}, {"register_m": False}):
        with pytest.raises(ValueError, match="draft and register_m"):
            dataclasses.replace(BEST, **missing)
    rgb, pointmap = draw(1, 2, 4, 2, 2), draw(1, 4, 2, 2)
    with pytest.raises(ValueError, match="intrinsics"):
        condition_latents(rgb, pointmap, pointmap, pointmap, BEST)
    assert condition_latents(rgb, pointmap, pointmap, pointmap, PLAIN).shape == (1, 2, 8, 2, 2)
