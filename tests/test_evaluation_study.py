"""The evaluation as a command: resumable, with FVD, for every kind of model, with a noisy sensor in front."""

import dataclasses
import json
from types import SimpleNamespace

import numpy as np
import pytest
import synthetic
import torch

from geo4d_lite.commands.evaluate import Evaluate, main
from geo4d_lite.data import D415, WindowDataset, open_dataset
from geo4d_lite.evaluation.fvd import FEWEST_CLIPS
from geo4d_lite.evaluation.held_out import NEAREST_M, Truth, compare, repeat_last_frame, true_future
from geo4d_lite.evaluation.statistics import frechet_distance
from geo4d_lite.evaluation.study import observations, record_window, recorded, summarise_records
from geo4d_lite.models import BEST, PLAIN, Geo4DPipeline, LiteAutoencoder
from geo4d_lite.models.gaussians4d import DeformationField
from geo4d_lite.models.variant import Variant
from geo4d_lite.models.video_encoder import VideoEncoder
from geo4d_lite.perception import ColourSegmenter


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("set") / "demos"
    return synthetic.make_dataset(root, train=1, test=3, frames=14, cameras=5, hz=2, width=64, height=32)


@pytest.fixture(scope="module")
def dataset(root):
    return WindowDataset(open_dataset(root), "test")


def pipeline(recipe) -> Geo4DPipeline:
    torch.manual_seed(0)
    autoencoders = (LiteAutoencoder(kind, width=16).eval() for kind in ("rgb", "pointmap"))
    return Geo4DPipeline(*autoencoders, Variant(recipe).build(0).eval(), recipe=recipe)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """One folder for each kind of method."""
    root = tmp_path_factory.mktemp("weights")
    pipeline(PLAIN).save_pretrained(root / "plain")
    pipeline(dataclasses.replace(BEST, modalities=("rgb",))).save_pretrained(root / "rgb")
    DeformationField(resolution=4, channels=4, width=8).save_pretrained(root / "gaussians")
    VideoEncoder(features=4, tasks=1, width=8).save_pretrained(root / "features")
    return root


@pytest.mark.parametrize("name", ["plain", "rgb", "gaussians"])
def test_every_method_is_evaluated_by_one_command(name, root, weights, tmp_path, capsys):
    options = Evaluate(
        root,
        weights / name,
        windows=FEWEST_CLIPS,
        steps=1,
        features=weights / "features",
        out=tmp_path / "records",
        result=tmp_path / "result.json",
    )
    main(options)
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["features"] == f"features of {weights / 'features'}" and result["episodes"] == 3
    model, truth = result["metrics"]["model"], result["metrics"]["truth"]
    assert model["fvd_n"]["value"] > 0 == pytest.approx(truth["fvd_n"]["value"], abs=1e-6)
    assert (model["abs_rel_n"]["value"] is None) == (name == "rgb"), "colours alone have no depth"
    assert ("autoencoders" in result["metrics"]) == (name != "gaussians")
    assert result["seconds_per_video"] > 0
    assert "fvd_n" in capsys.readouterr().out


def test_a_field_of_gaussians_draws_no_hands_along_a_path(root, weights, tmp_path):
    with pytest.raises(ValueError, match="is a 4D Gaussian field, which draws no hands along a path"):
        main(Evaluate(root, weights / "gaussians", windows=1, path_model=weights / "gaussians", out=tmp_path))


def test_a_killed_evaluation_goes_on_where_it_was(root, weights, tmp_path, monkeypatch):
    options = Evaluate(root, weights / "plain", windows=4, steps=1, out=tmp_path / "cut", result=tmp_path / "cut.json")
    whole = dataclasses.replace(options, out=tmp_path / "whole", result=tmp_path / "whole.json")
    main(whole)
    made = []

    def dies_at_the_third(*arguments):
        made.append(arguments[0])
        if len(made) == 3:
            raise KeyboardInterrupt
        return record_window(*arguments)

    monkeypatch.setattr("geo4d_lite.evaluation.study.record_window", dies_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        main(options)
    main(options)
    assert len(made) == 5, "two windows, the one it died at, and that one again with the last"
    cut, uncut = (json.loads(path.read_text()) for path in (options.result, whole.result))
    assert cut["metrics"] == uncut["metrics"]
    with pytest.raises(ValueError, match="begun with other settings .steps."):
        main(dataclasses.replace(options, steps=2))


def test_a_record_is_made_once(tmp_path):
    calls = []
    for _ in range(2):
        record = recorded(tmp_path / "window.json", lambda: calls.append(1) or {"a": [1.0, float("nan")]})
    assert record == {"a": [1.0, None]} and len(calls) == 1


def test_the_model_sees_the_sensors_noise_and_the_truth_stays(dataset):
    seen = []

    def model(views, item, seed):
        seen.append(views[0].depth_m)
        return true_future(item)

    record = record_window(0, dataset, model, ColourSegmenter(), sensor=D415, seed=3)
    item = dataset[0]
    known = item["depth_m"][0, 0] > 0
    assert np.abs(seen[0] - item["depth_m"][0, 0])[known].max() > 1e-4
    np.testing.assert_array_equal(seen[0], observations(item, D415, 3)[0].depth_m)
    assert observations(item, None, 3)[0].depth_m is not seen[0]
    assert np.nanmax(record["rows"]["model"]["abs_rel_n"]) == 0.0, "compared with the clean truth"


def test_forgotten_masks_count_as_in_the_release(dataset):
    """The truth has no error with fakes either; a video whose points are right only where there are any, neither."""
    item = dataset[0]
    item["valid"][1] = True
    item["valid"][1, :, :8] = False
    item["pointmap"][1, :, :8] = 0.0
    truth, real = Truth(item, ColourSegmenter()), true_future(item)
    assert np.nanmax(compare(real, truth)["with_fakes_abs_rel_m"]) == 0.0
    everywhere = SimpleNamespace(rgb=real.rgb, pointmap=real.pointmap.copy(), valid=np.ones_like(real.valid))
    everywhere.pointmap[1, :, :8] = [0.0, 0.0, 1.0]
    scores = compare(everywhere, truth)
    z = item["X_nm"][2, 3]
    assert np.nanmax(scores["abs_rel_m"]) == 0.0
    fakes = ~item["valid"][1, 1]
    counted = np.abs(np.where(fakes, z, item["pointmap"][1, 1, ..., 2])) > NEAREST_M
    expected = np.count_nonzero(fakes) / np.count_nonzero(counted) * abs(1 - z) / abs(z)
    assert scores["with_fakes_abs_rel_m"][0] == pytest.approx(expected, rel=1e-5)


def test_fvd_needs_a_set(dataset):
    def model(views, item, seed):
        return repeat_last_frame(item)

    records = [record_window(i, dataset, model, ColourSegmenter(), seed=i) for i in (0, 1)]
    assert "fvd_n" not in summarise_records(records)["metrics"]["model"]


def test_the_floor_is_how_far_the_true_films_of_the_two_views_are_apart(dataset):
    record = record_window(0, dataset, lambda views, item, seed: repeat_last_frame(item), ColourSegmenter())
    found = np.random.default_rng(0).normal(size=(FEWEST_CLIPS, 2, 3))
    found[:, 1] += 2.0
    records = [
        record | {"episode": f"episode {i % 4}", "features": {name: x.tolist() for name in record["rows"]}}
        for i, x in enumerate(found)
    ]
    truth = summarise_records(records)["metrics"]["truth"]
    assert truth["fvd_n"]["value"] == pytest.approx(0.0, abs=1e-9)
    assert truth["fvd_floor"]["value"] == pytest.approx(frechet_distance(found[:, 0], found[:, 1]))
    assert truth["fvd_floor"]["value"] > 5
