"""What sites see of the grippers' boxes: the tracker's own ray caster is the judge; and how trained weights take it."""

import dataclasses

import numpy as np
import pytest
import synthetic
import torch
from test_models_draft import TINY
from test_models_hand_rays import K, draw, motion, path_of

from geo4d_lite.commands.train import Train
from geo4d_lite.commands.train import main as train
from geo4d_lite.geometry.gripper_model import PARTS, load_gripper
from geo4d_lite.models import BEST, DualBranchUNet, Geo4DPipeline, LiteAutoencoder
from geo4d_lite.models.frame_tokens import HAND_MAPS
from geo4d_lite.models.frames import RANGE
from geo4d_lite.models.hand_image import IMAGE_CHANNELS, LINES, finer_lines, hand_image
from geo4d_lite.models.hand_rays import sight_lines
from geo4d_lite.models.start import begun_from, check_start
from geo4d_lite.models.variant import Variant
from geo4d_lite.models.weights import export_pipeline, shipped
from geo4d_lite.perception.gripper_surface import NO_PART, GripperSurface

HEIGHT, WIDTH = 16, 20  # sites
SWITCHES = {"frame_tokens": True, "draft": True, "hand_rays": True}


@pytest.fixture(scope="module")
def pose() -> torch.Tensor:
    """A hand 60 cm before the camera, turned at random."""
    X = motion(3)
    X[:3, 3] = torch.tensor([0.05, -0.03, 0.6])
    return X


def seen(
    X_nG: torch.Tensor, X_nC: torch.Tensor, opening: float, other: torch.Tensor | None = None, arm: int = 0
) -> torch.Tensor:
    """The numbers of each line (12, 64, 80): the hand of `arm` at X_nG, the other one behind or at `other`."""
    behind = motion(5)
    behind[:3, 3] = X_nC[:3, 3] - 2 * X_nC[:3, 2]
    hands = [path_of(X_nG, opening), path_of(behind if other is None else other, 0.3)]
    hands = hands[::-1] if arm else hands
    rays = sight_lines(K, X_nC, HEIGHT, WIDTH).expand(1, 2, -1, -1, -1)
    image = hand_image(torch.stack(hands).expand(1, 2, 1, 2, 10), rays)
    assert image.shape == (1, 2, 1, IMAGE_CHANNELS, HEIGHT, WIDTH) and torch.equal(image[:, 0], image[:, 1])
    return torch.nn.functional.pixel_shuffle(image[0, 0, 0], LINES)


def before_the_first_sites() -> torch.Tensor:
    """A hand that the upper left 8 x 8 sites see."""
    X = motion(3)
    X[:3, 3] = torch.tensor([-0.15, -0.12, 0.6])
    return X


def pixel_rays() -> np.ndarray:
    """Rays (64 * 80, 3) with z = 1 through the middle of each line's 2 x 2 pixels."""
    v, u = np.meshgrid(2 * np.arange(LINES * HEIGHT) + 0.5, 2 * np.arange(LINES * WIDTH) + 0.5, indexing="ij")
    return np.stack([u, v, np.ones_like(u)], axis=-1).reshape(-1, 3) @ np.linalg.inv(K.numpy()).T


def test_finer_lines_look_through_their_own_pixels():
    lines = finer_lines(sight_lines(K, torch.eye(4), HEIGHT, WIDTH)[None])[0]
    d = lines[3:].permute(1, 2, 0).reshape(-1, 3)
    torch.testing.assert_close(d.norm(dim=1), torch.ones(len(d)))
    np.testing.assert_allclose(d[:, :2] / d[:, 2:], pixel_rays()[:, :2], atol=5e-4)


@pytest.mark.parametrize(("opening", "arm"), [(0.3, 0), (1.2, 1)])
def test_parts_and_points_are_those_that_the_trackers_ray_caster_meets(pose, opening, arm):
    image = seen(pose, torch.eye(4), opening, arm=arm)
    depth, part = GripperSurface(load_gripper()).render(pose.double().numpy(), opening / 10, pixel_rays())
    part, depth = part.reshape(image.shape[1:]), depth.reshape(image.shape[1:])
    expected = np.where(part == NO_PART, NO_PART, part + arm * len(PARTS))
    told = torch.where(image[:6].sum(dim=0) > 0, image[:6].argmax(dim=0), NO_PART).numpy()
    hit = part != NO_PART
    assert hit.sum() > 200 and (told == expected)[hit].mean() > 0.97 and (told != NO_PART)[~hit].mean() < 0.01
    agree = hit & (told == expected)
    points = RANGE.decode(image[6:9]).permute(1, 2, 0).numpy()[agree]
    assert np.median(np.abs(points[:, 2] - depth[agree])) < 2e-4
    assert (image[:, ~(told != NO_PART)] == 0).all(), "nothing is said where nothing is met"


@pytest.mark.parametrize("arm", [0, 1])
def test_faces_are_turned_as_the_hand_is(pose, arm):
    other = motion(11)
    other[:3, 3] = torch.tensor([-0.15, 0.05, 0.7])
    image = seen(pose, torch.eye(4), 0.8, other, arm)
    met = image[3 * arm : 3 * arm + 3].sum(dim=0) > 0
    normal, d = image[9:12, met].T, finer_lines(sight_lines(K, torch.eye(4), HEIGHT, WIDTH)[None])[0, 3:, met].T
    assert met.sum() > 200 and ((normal * d).sum(dim=1) < 0).all(), "a face that is seen looks towards the camera"
    along = (normal @ pose[:3, :3]).abs()
    torch.testing.assert_close(along.amax(dim=1), torch.ones(len(along)))
    boxes = {box.part: box for box in load_gripper().closed_boxes}
    points = RANGE.decode(image[6:9])
    for part, side in (("finger_left", 0.04), ("finger_right", -0.04)):
        of_part = image[3 * arm + PARTS.index(part)] > 0
        p_G = (points[:, of_part].T - pose[:3, 3]) @ pose[:3, :3]
        center = torch.tensor(boxes[part].center_G).float() + torch.tensor([0.0, side, 0.0])
        face = (image[9:12, of_part].T @ pose[:3, :3]).round()
        on_face = ((p_G - center) * face).sum(dim=1)
        half = (torch.tensor(boxes[part].size_m).float() / 2 * face.abs()).sum(dim=1)
        torch.testing.assert_close(on_face, half, atol=1e-4, rtol=0)


def test_hands_and_camera_moved_together_look_the_same(pose):
    X = motion(7)
    here, there = seen(pose, torch.eye(4), 0.8), seen(X @ pose, X, 0.8)
    same = (here[:6] == there[:6]).all(dim=0)
    assert same.float().mean() > 0.999
    met = same & (here[:6].sum(dim=0) > 0)
    p, moved = (RANGE.decode(image[6:9, met]).T for image in (here, there))
    torch.testing.assert_close(moved, p @ X[:3, :3].T + X[:3, 3], atol=2e-4, rtol=0)
    normal, turned = (image[9:12, met].T for image in (here, there))
    assert ((turned - normal @ X[:3, :3].T).abs().amax(dim=1) < 1e-3).float().mean() > 0.99


def test_half_precision_of_the_networks_does_not_round_the_geometry():
    encoder = DualBranchUNet(TINY, **SWITCHES, hand_image=True).eval().frame_encoder
    rays = sight_lines(K, torch.eye(4), 8, 8).expand(1, 2, -1, -1, -1)
    condition = torch.cat([draw(1, 2, 8, 8, 8, seed=1), rays], dim=2)
    path, images = path_of(before_the_first_sites(), 0.8).expand(1, 10, 2, 10), []
    hook = encoder.hands.register_forward_pre_hook(lambda _, inputs: images.append(inputs[0]))
    with torch.no_grad():
        tokens = encoder(condition)
        for coarse in (False, True):
            with torch.autocast("cpu", torch.bfloat16, enabled=coarse):
                encoder.draft(tokens, condition, path)
    hook.remove()
    exact = hand_image(path[:, None].expand(-1, 2, -1, -1, -1), rays).flatten(0, 2)
    assert exact.any() and all(torch.equal(image, exact) for image in images)


def test_the_nearer_hand_hides_the_other(pose):
    nearer = pose.clone()
    nearer[:3, 3] *= 0.5
    alone, both = seen(pose, torch.eye(4), 0.8), seen(pose, torch.eye(4), 0.8, other=nearer)
    hidden = (alone[:3].sum(dim=0) > 0) & (both[3:6].sum(dim=0) > 0)
    assert hidden.sum() > 100 and (both[:3, hidden] == 0).all()


def test_trained_weights_answer_as_before_until_the_new_inputs_are_learned():
    torch.manual_seed(0)
    trained = DualBranchUNet(TINY, **SWITCHES).eval()
    torch.nn.init.normal_(trained.frame_encoder.where.bias, std=0.1)
    torch.manual_seed(1)
    fresh = DualBranchUNet(TINY, **SWITCHES, hand_image=True).eval()
    fresh.load_state_dict(begun_from(trained.state_dict(), fresh))
    torch.nn.init.constant_(fresh.frame_encoder.paste.trust[-1].bias, -30.0)  # places are pasted from the beginning
    rays = sight_lines(K, torch.eye(4), 8, 8).expand(1, 2, -1, -1, -1)
    noisy, condition = draw(1, 2, 10, 8, 8, 8), torch.cat([draw(1, 2, 8, 8, 8, seed=1), rays], dim=2)
    path = path_of(before_the_first_sites(), 0.8).expand(1, 10, 2, 10)
    with torch.no_grad():
        before, after = (unet(noisy, condition, torch.zeros(1), path=path) for unet in (trained, fresh))
        torch.testing.assert_close(after, before, atol=1e-5, rtol=1e-5)
        for layer, new in ((fresh.conv_in, HAND_MAPS), (fresh.frame_encoder.drafter.hand[0], IMAGE_CHANNELS)):
            kept = layer.weight.clone()
            layer.weight[:, -new:].normal_(std=0.1)
            assert (fresh(noisy, condition, torch.zeros(1), path=path) - before).abs().max() > 1e-4
            layer.weight.copy_(kept)


def test_a_site_that_a_hand_fills_has_the_place_that_its_lines_meet():
    encoder = DualBranchUNet(TINY, **SWITCHES, hand_image=True).eval().frame_encoder
    rays = sight_lines(K, torch.eye(4), 8, 8).expand(1, 2, -1, -1, -1)
    condition, path = torch.cat([draw(1, 2, 8, 8, 8), rays], dim=2), path_of(before_the_first_sites(), 0.8)
    path, paste = path.expand(1, 10, 2, 10), encoder.paste
    for name, value in {"mean": [0.1, 0.2, 0.3], "std": [0.5, 0.6, 0.7], "change_scale": 0.85}.items():
        getattr(paste, name).copy_(torch.tensor(value))
    image = hand_image(path[:, None].expand(-1, 2, -1, -1, -1), rays).unflatten(3, (-1, LINES**2))
    share, point = image[:, :, :, :6].sum(dim=3).mean(dim=3), image[:, :, :, 6:9].mean(dim=4)
    filled, empty = share > 0.999, share == 0
    assert filled.sum() > 20 and empty.any() and not torch.equal(filled, ~empty)
    drafts = []
    with torch.no_grad():
        for bias in (30.0, -30.0):
            torch.nn.init.constant_(paste.trust[-1].bias, bias)
            drafts.append(encoder.draft(encoder(condition), condition, path))
    trusted, own = drafts
    place = (point - paste.mean[:, None, None]) / paste.std[:, None, None]
    expected = (place - condition[:, :, None, 4:7]) / 0.85
    torch.testing.assert_close(trusted[:, :, :, 4:7].movedim(3, -1)[filled], expected.movedim(3, -1)[filled])
    assert torch.equal(trusted.movedim(3, -1)[empty], own.movedim(3, -1)[empty])
    assert torch.equal(trusted[:, :, :, [0, 1, 2, 3, 7]], own[:, :, :, [0, 1, 2, 3, 7]])


def test_training_goes_on_from_trained_weights(tmp_path):
    data = synthetic.make_dataset(tmp_path / "demos", train=1, test=1, frames=14, cameras=5, hz=2, width=64, height=32)
    still = {"draft_learning_rate": 0.0, "unet_learning_rate": 0.0, "draft_steps": 1, "unet_steps": 1}
    begun, recipe = Geo4DPipeline.from_pretrained(shipped()), dataclasses.replace(BEST, hand_image=False)
    begun = Geo4DPipeline(begun.rgb_autoencoder, begun.pointmap_autoencoder, Variant(recipe).build(0), recipe=recipe)
    export_pipeline(begun, tmp_path / "begun")
    begun = Geo4DPipeline.from_pretrained(tmp_path / "begun")
    options = {"start_from": tmp_path / "begun", "samples": False, "export": tmp_path / "done"}
    train(Train(data, tmp_path / "out", **still, **options))
    ended = Geo4DPipeline.from_pretrained(tmp_path / "done")
    assert ended.recipe == dataclasses.replace(begun.recipe, hand_image=True)
    for name, part in begun.parts.items():
        state = ended.parts[name].state_dict()
        for weight, before in part.state_dict().items():
            kept = state[weight] if state[weight].shape == before.shape else state[weight][:, : before.shape[1]]
            assert torch.equal(kept, before), f"{name}.{weight}"
    assert not list((tmp_path / "out").rglob("frame_tokens/state.safetensors")), "they are taken as they are"
    paste, autoencoder = ended.unet.frame_encoder.paste, begun.pointmap_autoencoder
    torch.testing.assert_close(paste.mean, autoencoder.latent_mean[:3], rtol=0.01, atol=0)
    torch.testing.assert_close(paste.std, autoencoder.latent_std[:3], rtol=0.01, atol=0)


def test_weights_of_another_network_are_no_start():
    small, large = torch.nn.Linear(3, 2), torch.nn.Linear(5, 2)
    before = large.weight.detach().clone()
    begun = begun_from(small.state_dict(), large)
    assert torch.equal(large.weight, before), "only what is loaded changes a network"
    assert torch.equal(begun["weight"][:, :3], small.weight) and (begun["weight"][:, 3:] == 0).all()
    with pytest.raises(ValueError, match="weight of shape"):
        begun_from(large.state_dict(), small)
    with pytest.raises(ValueError, match="parts that this network has not: .'bias'"):
        begun_from(small.state_dict(), torch.nn.Linear(3, 2, bias=False))


def test_training_starts_only_from_what_it_can_go_on_from(tmp_path):
    start = Geo4DPipeline.from_pretrained(shipped())
    name = check_start(
        start, dataclasses.replace(start.recipe, path_weight=5.0, gripper_strength=1.0), tmp_path, "long"
    )
    assert name.startswith("long_from_") and name != check_start(start, start.recipe, tmp_path, "")
    with pytest.raises(ValueError, match="another last_frame_skip, change_mask"):
        check_start(start, dataclasses.replace(start.recipe, last_frame_skip=False, change_mask=False), tmp_path, "")
    LiteAutoencoder("rgb", width=8).save_pretrained(tmp_path / "rgb_autoencoder")
    with pytest.raises(ValueError, match="rgb_autoencoder is not of the weights to start from; give another --out"):
        check_start(start, start.recipe, tmp_path, "")
    with pytest.raises(ValueError, match="preset paper starts from --svd"):
        train(Train(tmp_path, tmp_path, "paper", start_from=shipped()))


def test_the_image_of_hands_needs_their_lines_of_sight():
    with pytest.raises(ValueError, match="needs hand_rays, last_frame_skip and pointmaps"):
        dataclasses.replace(BEST, hand_rays=False, hand_image=True)
    with pytest.raises(ValueError, match="needs both"):
        DualBranchUNet(TINY, frame_tokens=True, draft=True, hand_image=True)
