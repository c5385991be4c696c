"""Training: it learns, it resumes to the same bits, it stops on nonsense; the pipeline keeps what it is given."""

import dataclasses
import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import synthetic
import torch
from diffusers.models.attention_processor import Attention, AttnProcessor, AttnProcessor2_0
from safetensors.torch import load_file, save_file
from torch import nn

from geo4d_lite.commands import train as train_command
from geo4d_lite.commands.train import Train, variant_of
from geo4d_lite.data import EpisodeError, WindowDataset, open_dataset
from geo4d_lite.geometry import RGBD
from geo4d_lite.models import (
    BEST,
    PLAIN,
    DualBranchUNet,
    Geo4DPipeline,
    LiteAutoencoder,
    Trainer,
    TrainingSettings,
    training,
)
from geo4d_lite.models.autoencoders import autoencoder_loss, pinned_channels
from geo4d_lite.models.device import best_device
from geo4d_lite.models.frames import FrameSampler, pointmap_input, pointmap_output
from geo4d_lite.models.latents import LatentSet
from geo4d_lite.models.recipe import base_latents, from_change, to_change, training_pair
from geo4d_lite.models.stages import Variant, unet_name, unet_trainer
from geo4d_lite.models.unet import PRESETS
from geo4d_lite.models.weights import export_pipeline, load_pipeline, shipped

NO_TOKENS = {"frame_tokens": False, "draft": False, "hand_rays": False, "hand_image": False}
NO_LITE_SWITCHES = {"change_mask": False, "context_tokens": 1, "token_maps": 0, "views_agree": False}


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


def regression(seed: int = 0, folder=None, steps: int = 30, pace=None, **settings) -> Trainer:
    torch.manual_seed(seed)

    def loss(model, generator):
        x = torch.randn(16, 4, generator=generator)
        return {"loss": ((model(x)[:, 0] - x.sum(dim=1)) ** 2).mean()}

    model = nn.Sequential(nn.Linear(4, 8), nn.SiLU(), nn.Linear(8, 1))
    return Trainer(model, loss, TrainingSettings(steps, **settings), folder, pace=pace)


def test_weights_of_another_pace_learn_at_their_share_of_the_rate():
    trainer = regression(pace={"0.": 0.1, "2.bias": 0.0}, warmup_steps=1, weight_decay=0.0)
    before = [p.detach().clone() for p in trainer.parameters]
    trainer.advance()
    first, _, last, bias = ((p - b).abs().max().item() for p, b in zip(trainer.parameters, before, strict=True))
    rate = trainer.settings.learning_rate  # the size of AdamW's first step
    assert last == pytest.approx(rate, rel=0.01)
    assert first == pytest.approx(0.1 * rate, rel=0.01)
    assert bias == 0.0


def test_killed_and_resumed_training_ends_in_the_same_bits(tmp_path):
    whole = regression(folder=tmp_path / "whole")
    whole.run(report=None)
    first = regression(folder=tmp_path / "parts")
    first.run(until=11, report=None)
    first.advance()  # a step after the checkpoint that the kill loses
    second = regression(seed=99, folder=tmp_path / "parts")
    assert second.step == 11
    second.run(report=None)
    for name, tensor in whole.model.state_dict().items():
        assert torch.equal(tensor, second.model.state_dict()[name]), name
        assert torch.equal(whole.ema[name], second.ema[name]), name


def many_small_steps(weights: str, folder=None, until: int | None = None) -> Trainer:
    """400 steps at a learning rate at which a step is a tenth of the distance between bfloat16 numbers."""

    def loss(model, generator):
        return {"loss": (model.weight * torch.randn((), generator=generator).abs()).sum()}

    layer = nn.Linear(8, 1, bias=False)
    nn.init.ones_(layer.weight)
    settings = TrainingSettings(
        400, 4e-4, warmup_steps=1, weight_decay=0.0, weights=weights, offload=weights != "float32"
    )
    trainer = Trainer(layer, loss, settings, folder)
    trainer.run(until, report=None)
    return trainer


def test_small_steps_do_not_vanish_in_bfloat16():
    whole, half = (many_small_steps(weights).model.weight.detach() for weights in ("float32", "bfloat16"))
    assert half.dtype == torch.bfloat16 and whole.max() < 0.9
    torch.testing.assert_close(half.float(), whole, rtol=0, atol=2**-8)
    naive = torch.ones(8, dtype=torch.bfloat16)
    for _ in range(400):
        naive -= 4e-4
    assert (naive == 1).all(), "without master weights nothing would have moved"


def test_master_weights_are_resumed_to_the_same_bits(tmp_path):
    whole = many_small_steps("bfloat16")
    many_small_steps("bfloat16", tmp_path, until=150)
    parts = many_small_steps("bfloat16", tmp_path)
    assert torch.equal(whole.weights[0], parts.weights[0]) and torch.equal(whole.model.weight, parts.model.weight)
    assert torch.equal(whole.ema["weight"], parts.ema["weight"])


def test_a_full_disk_stops_training_and_keeps_the_checkpoint(tmp_path, monkeypatch):
    trainer = regression(folder=tmp_path)
    trainer.run(until=5, report=None)
    before = trainer.state_path.read_bytes()

    def full(tensors, path, metadata):
        Path(path).write_bytes(b"half of it")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("geo4d_lite.models.training.save_file", full)
    with pytest.raises(OSError, match="checkpoint of step 30 could not be written .*No space left.* make room"):
        trainer.run(report=None)
    assert trainer.state_path.read_bytes() == before and not list(tmp_path.glob("*.unfinished"))


def test_samples_on_the_way_change_nothing(tmp_path):
    def sample(trainer):
        with trainer.averaged() as model, torch.no_grad():
            torch.testing.assert_close(model[0].weight, trainer.ema["0.weight"])
            drawn.append(model(torch.randn(2, 4, generator=torch.Generator().manual_seed(0))))

    drawn, plain, sampled = [], regression(), regression(folder=tmp_path)
    sampled.after_save = sample
    plain.run(report=None)
    for until in (10, 20, 30):
        sampled.run(until, report=None)
    assert len(drawn) == 3 and all(map(torch.equal, plain.weights, sampled.weights))


def test_8_bit_adamw_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    monkeypatch.setitem(sys.modules, "bitsandbytes.optim", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install \"geo4d-lite\[gpu\]\""):
        Trainer(nn.Linear(2, 2), lambda *_: {}, TrainingSettings(optimizer="adamw8bit"))


def test_a_log_says_every_step_once_though_killed_steps_were_taken_twice(tmp_path):
    trainer = regression(folder=tmp_path)
    trainer.settings = dataclasses.replace(trainer.settings, log_every=5)
    trainer.run(until=10, report=None)
    kept = trainer.state_path.read_bytes()
    trainer.run(until=20, report=None)
    trainer.state_path.write_bytes(kept)  # killed after step 20, before the checkpoint that would have followed
    again = regression(folder=tmp_path)
    again.settings = trainer.settings
    again.run(report=None)
    steps = [int(line.split(",")[0]) for line in (tmp_path / "log.csv").read_text().splitlines()[1:]]
    assert steps == [5, 10, 15, 20, 25, 30]


def in_processes(count: int, folder: Path, until: int) -> dict[str, torch.Tensor]:
    """The state after training in `count` processes of this machine."""
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(count)]
    script = [str(Path(__file__).parent / "train_in_processes.py"), str(count), str(folder), str(until)]
    one_thread = os.environ | {"OMP_NUM_THREADS": "1"}
    run = subprocess.run(launch + script, capture_output=True, text=True, timeout=300, env=one_thread)
    assert run.returncode == 0, run.stderr
    return load_file(folder / "state.safetensors")


def test_two_processes_take_the_step_of_their_mean_gradient_and_resume_to_the_same_bits(tmp_path):
    whole, alone = in_processes(2, tmp_path / "two", 30), in_processes(1, tmp_path / "one", 30)
    for name, tensor in whole.items():
        torch.testing.assert_close(tensor, alone[name], rtol=1e-4, atol=1e-5)
    in_processes(2, tmp_path / "parts", 11)
    parts = in_processes(2, tmp_path / "parts", 30)
    assert all(torch.equal(tensor, parts[name]) for name, tensor in whole.items())
    steps = [int(line.split(",")[0]) for line in (tmp_path / "two" / "log.csv").read_text().splitlines()[1:]]
    assert steps == [5, 10, 15, 20, 25, 30]  # one process writes


def test_a_checkpoint_of_another_model_is_refused(tmp_path):
    regression(folder=tmp_path).run(report=None)
    other = nn.Linear(3, 3)
    with pytest.raises(ValueError, match="is of another model than the one to train"):
        Trainer(other, lambda *_: {}, TrainingSettings(), tmp_path)


def test_a_loss_that_is_not_finite_stops_training_and_keeps_the_checkpoint(tmp_path):
    trainer = regression(folder=tmp_path)
    trainer.run(until=5, report=None)
    before = (tmp_path / "state.safetensors").read_bytes()
    trainer.loss_function = lambda model, generator: {"loss": next(model.parameters()).sum() * float("nan")}
    with pytest.raises(FloatingPointError, match="the loss is nan at step 5"):
        trainer.run(report=None)
    assert (tmp_path / "state.safetensors").read_bytes() == before


def test_autoencoder_learns_a_batch(dataset):
    torch.manual_seed(0)
    model = LiteAutoencoder("pointmap", width=16)
    x, gripper = FrameSampler(dataset).pointmap(4, torch.Generator().manual_seed(0))
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    losses = []
    for _ in range(60):
        loss = autoencoder_loss(model, x, gripper, torch.zeros(4, 5, 4, 8))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.6 * losses[0]


def test_pinned_channels_average_valid_pixels_only():
    p, valid = np.full((1, 8, 8, 3), 0.5), np.zeros((1, 8, 8), bool)
    valid[0, :2] = True
    p[0, 2:] = 0.0
    x = pointmap_input(p, valid)
    assert pinned_channels(x).flatten().tolist() == pytest.approx([0.0] * 3, abs=1e-6)  # 0.5 m: mid-range


def test_points_survive_the_way_in_and_out():
    rng = np.random.default_rng(0)
    p, valid = rng.uniform(-1, 2, (2, 8, 8, 3)).astype(np.float32), rng.random((2, 8, 8)) > 0.3
    x = pointmap_input(p, valid)
    x[:, 3] = x[:, 3] * 2 - 1  # a logit
    back, ok = pointmap_output(x)
    assert (ok == valid).all()
    np.testing.assert_allclose(back[valid], p[valid], atol=1e-6)


def test_latents_of_view_m_are_of_its_points_moved_into_the_frame_of_n(dataset, autoencoders, latents):
    episode = latents.episodes[0]
    n, m = (int(i) for i in episode["pairs"][1])
    window = next(w for w in WindowDataset(dataset, "train").windows if (w.n, w.m, w.start) == (n, m, 2))
    item = WindowDataset(dataset, "train").load(window)
    with torch.no_grad():
        expected = autoencoders[1].encode(pointmap_input(item["pointmap"][1], item["valid"][1]))
    actual = latents.windows([(0, 2, 1)])
    torch.testing.assert_close(actual.pointmap[0, 1], expected, rtol=0, atol=0.01)
    assert actual.rgb.shape == (1, 2, 11, 8, 4, 8)


@pytest.mark.parametrize("recipe", [PLAIN, BEST, dataclasses.replace(PLAIN, last_frame_skip=True)])
def test_change_and_back_is_the_identity(latents, recipe):
    batch = latents.batch(2, torch.Generator().manual_seed(0))
    clean, condition, site_valid, gripper = training_pair(batch, recipe)
    base = base_latents(condition, recipe)
    restored = from_change(clean, base, recipe)
    torch.testing.assert_close(restored[:, :, :, :8], batch.rgb[:, :, 1:])
    torch.testing.assert_close(restored[:, :, :, 8:], batch.pointmap[:, :, 1:])
    torch.testing.assert_close(to_change(restored, base, recipe), clean)
    assert site_valid.shape == clean.shape
    assert gripper.shape == (2, 2, 10, 1, 4, 8)
    if not recipe.register_m:
        assert torch.equal(condition[:, 1, 8:], batch.own_m)


def test_unet_overfits_one_batch(latents, monkeypatch):
    batch = latents.batch(1, torch.Generator().manual_seed(0))
    monkeypatch.setattr(latents, "batch", lambda count, generator: batch)
    settings = TrainingSettings(steps=60, learning_rate=2e-3, warmup_steps=5, decay_share=0.01)
    trainer = unet_trainer(Variant(PLAIN), latents, settings, 1, None)

    @torch.no_grad()
    def loss() -> float:  # on noise and noise levels that training never draws
        seeds = range(1000, 1008)
        return np.mean(
            [trainer.loss_function(trainer.model, torch.Generator().manual_seed(s))["loss"].item() for s in seeds]
        )

    before = loss()
    trainer.run(report=None)
    assert loss() < 0.6 * before


@pytest.fixture(scope="module")
def pipeline(autoencoders):
    torch.manual_seed(0)
    return Geo4DPipeline(*autoencoders, DualBranchUNet.from_preset("lite"), recipe=PLAIN)


@pytest.fixture(scope="module")
def views(dataset):
    item = WindowDataset(dataset, "test")[0]
    return tuple(RGBD(item["rgb"][i, 0], item["depth_m"][i, 0], item["K"][i]) for i in (0, 1))


def test_pipeline_saves_and_loads_the_same_video(pipeline, views, tmp_path):
    pipeline.save_pretrained(tmp_path / "whole")
    again = Geo4DPipeline.from_pretrained(tmp_path / "whole")
    videos = [p(*views, num_inference_steps=2, generator=torch.Generator().manual_seed(3)) for p in (pipeline, again)]
    assert videos[0].rgb.shape == (2, 10, 32, 64, 3)
    assert videos[0].pointmap.shape == (2, 10, 32, 64, 3)
    assert videos[0].valid.dtype == bool
    assert (videos[0].rgb == videos[1].rgb).all()
    assert (videos[0].pointmap == videos[1].pointmap).all()
    assert again.recipe == PLAIN


def test_on_another_device_attention_takes_the_kernel_that_suits_it(pipeline, tmp_path):
    pipeline.save_pretrained(tmp_path)
    moved = Geo4DPipeline.from_pretrained(tmp_path)
    layers = [module for module in moved.unet.modules() if isinstance(module, Attention)]
    for device, kernel in (("cpu", AttnProcessor), ("meta", AttnProcessor2_0)):
        moved.to(device)
        assert layers and {type(layer.processor) for layer in layers} == {kernel}, device


def test_commands_load_their_pipeline_onto_the_best_device(pipeline, tmp_path, monkeypatch):
    pipeline.save_pretrained(tmp_path)
    assert load_pipeline(tmp_path).device.type == best_device()
    monkeypatch.setattr("geo4d_lite.models.weights.best_device", lambda: "meta")  # a card that every machine has
    moved = load_pipeline(tmp_path)
    assert {(part.device.type, part.dtype) for part in moved.parts.values()} == {("meta", torch.float32)}


def test_export_is_half_the_size(pipeline, tmp_path):
    pipeline.save_pretrained(tmp_path / "whole")
    export_pipeline(pipeline, tmp_path / "small")
    size = {
        name: sum(f.stat().st_size for f in (tmp_path / name).rglob("*.safetensors")) for name in ("whole", "small")
    }
    assert size["small"] == pytest.approx(size["whole"] / 2, rel=0.02)
    assert next(pipeline.unet.parameters()).dtype == torch.float32


def test_an_export_does_not_tell_where_its_parts_came_from(pipeline, tmp_path):
    pipeline.save_pretrained(tmp_path / "trained_here")
    export_pipeline(Geo4DPipeline.from_pretrained(tmp_path / "trained_here"), tmp_path / "small")
    for config in (tmp_path / "small").rglob("*.json"):
        assert "trained_here" not in config.read_text(), config
    for config in shipped().rglob("*.json"):
        assert '"/' not in config.read_text(), f"{config} holds a path"


def test_wrong_checkpoints_are_named(pipeline, tmp_path):
    with pytest.raises(FileNotFoundError, match="neither a folder nor a repository"):
        Geo4DPipeline.from_pretrained("no/such-model")
    with pytest.raises(ValueError, match="has no recipe.json"):
        Geo4DPipeline.from_pretrained(tmp_path)
    pipeline.save_pretrained(tmp_path)
    config = tmp_path / "unet" / "config.json"
    wrong = json.loads(config.read_text())
    wrong["size"]["widths"] = [32, 32, 32]
    config.write_text(json.dumps(wrong))
    with pytest.raises(ValueError, match="does not hold a DualBranchUNet"):
        Geo4DPipeline.from_pretrained(tmp_path)


def test_weights_that_lack_a_part_are_refused(pipeline, tmp_path):
    pipeline.save_pretrained(tmp_path)
    file = tmp_path / "unet" / "diffusion_pytorch_model.safetensors"
    weights = load_file(file)
    lost = sorted(weights)[-1]
    del weights[lost]
    save_file(weights, file, metadata={"format": "pt"})
    with pytest.raises(ValueError, match=f"lack {lost}"):
        Geo4DPipeline.from_pretrained(tmp_path)


def test_views_of_different_size_are_refused(pipeline, views):
    half = RGBD(views[1].rgb[:, :32], views[1].depth_m[:, :32], views[1].K)
    with pytest.raises(ValueError, match="expected the same size"):
        pipeline(views[0], half)


def test_variants_have_names_of_their_own():
    names = {unet_name(Variant(r, a)) for r in (PLAIN, BEST) for a in (True, False)}
    assert len(names) == 4
    assert unet_name(Variant(PLAIN)) == "unet_plain" and unet_name(Variant(BEST)) == "unet_best"
    changed = dataclasses.replace(BEST, hand_image=False, gripper_strength=1.0)
    assert unet_name(Variant(changed)) == "unet_best_gripper_strength=1.0_hand_image=False"
    assert unet_name(Variant(PLAIN), seed=2) == "unet_plain_seed=2"
    assert unet_name(Variant(PLAIN), name="short") == "unet_short_plain"


@pytest.mark.parametrize(
    ("switch", "of_recipe", "of_model"),
    [
        ({"cross_view_attention": False}, {}, {"cross_view_attention": False}),
        ({"shared_decoder": True}, {}, {"shared_decoder": True}),
        ({"modalities": "rgb"}, {"modalities": ("rgb",), "hand_image": False, "place_weight": 0.0}, {}),
        ({"hand_image": "none"}, {"hand_image": False}, {}),
        ({"place_weight": 0.5}, {"place_weight": 0.5}, {}),
        ({"gripper_weighting": "none"}, {"gripper_weighting": "none"}, {}),
        ({"frame_tokens": "none"}, NO_TOKENS, {}),
        ({"preset": "paper"}, NO_TOKENS | NO_LITE_SWITCHES | {"place_weight": 0.0}, {}),
        ({"validity_mask": False}, {"validity_mask": False}, {}),
    ],
)
def test_every_ablation_is_a_switch_of_the_command(switch, of_recipe, of_model):
    assert variant_of(Train(Path("data"))) == Variant(BEST)
    expected = Variant(dataclasses.replace(BEST, **of_recipe), **of_model)
    assert variant_of(Train(Path("data"), **switch)) == expected


def test_without_the_validity_mask_every_site_counts(latents):
    batch = latents.batch(2, torch.Generator().manual_seed(0))
    batch.valid[0, 0, 1, 0, 0, 0] = 0.0
    masked = training_pair(batch, PLAIN)[2]
    everything = training_pair(batch, dataclasses.replace(PLAIN, validity_mask=False))[2]
    assert masked[0, 0, 0, 8:, 0, 0].sum() == 0
    assert bool((everything == 1).all())


def test_lite_unet_fits_its_share_of_the_size_limit():
    model = DualBranchUNet.from_preset("lite")
    assert 2 * sum(p.numel() for p in model.parameters()) < 14e6  # bytes in bfloat16
    assert PRESETS["lite"].latent_channels == LiteAutoencoder().config.latent_channels


def test_between_steps_no_memory_is_held_by_gradients_that_were_handed_over():
    trainer = many_small_steps("bfloat16", until=2)
    assert all(weight.grad is None for weight in (*trainer.weights, *trainer.parameters))


def test_a_checkpoint_copies_nothing_in_memory(tmp_path, monkeypatch):
    """At paper scale weights, average and moments are 38 GB; a copy of the moments alone would be 19 more."""
    written = {}
    monkeypatch.setattr(training, "save_file", lambda tensors, *_: written.update(tensors))
    monkeypatch.setattr(training.os, "replace", lambda *_: None)
    trainer = regression(folder=tmp_path)
    trainer.advance()
    trainer.save()
    for name, weight in zip(trainer.names, trainer.weights, strict=True):
        moments = trainer.optimizer.state[weight]
        kept = {"model": weight, "ema": trainer.ema[name], "exp_avg": moments["exp_avg"]}
        for kind, tensor in (kept | {"exp_avg_sq": moments["exp_avg_sq"]}).items():
            assert written[f"{kind}.{name}"].data_ptr() == tensor.data_ptr(), (kind, name)


@pytest.mark.parametrize(
    ("options", "minutes"), [({}, 3.0), ({"preset": "paper"}, 30.0), ({"checkpoint_minutes": 7.0}, 7.0)]
)
def test_how_often_a_checkpoint_is_written_reaches_every_stage(options, minutes, monkeypatch):
    stages = {}
    monkeypatch.setattr("geo4d_lite.models.stages.train_all", lambda *args, **_: stages.update(args[3]))
    monkeypatch.setattr("geo4d_lite.data.open_dataset", lambda root: root)
    train_command.main(Train(Path("data"), samples=False, **options))
    assert {settings.checkpoint_minutes for settings in stages.values()} == {minutes}
    assert stages.keys() == {"rgb", "pointmap", "frame_tokens", "draft", "unet"}


def test_latents_of_other_autoencoders_are_not_taken_for_these(dataset, autoencoders, tmp_path):
    LatentSet.build(dataset, "train", *autoencoders, tmp_path, pairs=2)
    others = tuple(LiteAutoencoder(kind, width=16).eval() for kind in ("rgb", "pointmap"))
    with pytest.raises(EpisodeError, match="latents of other autoencoders; delete"):
        LatentSet.build(dataset, "train", *others, tmp_path, pairs=2)


def test_a_table_that_all_weights_share_does_not_stop_a_checkpoint(tmp_path):
    trainer = regression(folder=tmp_path)
    trainer.advance()
    table = torch.arange(256.0)
    for weight in trainer.weights:
        trainer.optimizer.state[weight]["qmap1"] = table  # as bitsandbytes' 8-bit AdamW does
    trainer.save()
    assert trainer.state_path.exists()
