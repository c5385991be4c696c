"""SAM 2's adapter on a small network of its classes with random weights: the contract, not the quality."""

import numpy as np
import pytest
import torch
from perception_scene import LITE, gripper_pose, render, shell_camera, table
from transformers import Sam2VideoConfig, Sam2VideoModel

from geo4d_lite.geometry.labels import GRIPPER
from geo4d_lite.perception import PerceptionError, Sam2Segmenter

PIXELS, HIDDEN = 128, 128


def small_sam2() -> Sam2VideoModel:
    """All of SAM 2's parts at a thousandth of its size."""
    torch.manual_seed(0)
    vision = {
        "backbone_config": {
            "hidden_size": 16,
            "blocks_per_stage": [1, 1, 2, 1],
            "embed_dim_per_stage": [16, 32, 64, 128],
            "num_attention_heads_per_stage": [1, 2, 4, 8],
            "window_size_per_stage": [8, 4, 4, 4],
            "global_attention_blocks": [3],
            "image_size": [PIXELS, PIXELS],
            "model_type": "sam2_hiera_det_model",
        },
        "backbone_channel_list": [128, 64, 32, 16],
        "backbone_feature_sizes": [[32, 32], [16, 16], [8, 8]],
        "fpn_hidden_size": HIDDEN,
        "model_type": "sam2_vision_model",
    }
    prompt = {"hidden_size": HIDDEN, "image_size": PIXELS}
    decoder = {"hidden_size": HIDDEN, "mlp_dim": 64, "iou_head_hidden_dim": 64}
    config = Sam2VideoConfig(
        vision_config=vision,
        prompt_encoder_config=prompt,
        mask_decoder_config=decoder,
        image_size=PIXELS,
        memory_attention_hidden_size=HIDDEN,
        memory_attention_num_layers=1,
        memory_attention_feed_forward_hidden_size=64,
        memory_attention_rope_feat_sizes=[8, 8],
        memory_encoder_hidden_size=HIDDEN,
        memory_encoder_output_channels=64,
        mask_downsampler_embed_dim=HIDDEN,
        memory_fuser_embed_dim=HIDDEN,
        memory_fuser_intermediate_dim=64,
    )
    model = Sam2VideoModel(config)
    for weights in model.parameters():  # as large as trained ones, so that every part has an effect
        torch.nn.init.normal_(weights, std=(weights.shape[-1] if weights.ndim > 1 else 100) ** -0.5)
    torch.nn.init.constant_(model.mask_decoder.pred_obj_score_head.proj_out.bias, 100.0)  # "it is in the image"
    return model


@pytest.fixture(scope="module")
def video():
    """Four frames of a moving gripper and the labels of the first."""
    camera = shell_camera(0.3)
    shots = [
        render(table().add_gripper(0, gripper_pose((0.0, y, 0.2)), 0.12), camera, LITE) for y in (0.1, 0.08, 0.06, 0.04)
    ]
    return [view.rgb for view, _ in shots], np.where(np.isin(shots[0][1], GRIPPER), shots[0][1], 0).astype(np.uint8)


@pytest.fixture(scope="module")
def segmenter():
    return Sam2Segmenter(small_sam2())


def test_every_frame_gets_labels_that_were_pointed_out(segmenter, video):
    frames, labels = video
    found = [segmenter.start(frames[0], labels), *(segmenter.segment(frame) for frame in frames[1:])]
    for image, answer in zip(frames, found, strict=True):
        assert answer.shape == image.shape[:2] and answer.dtype == np.uint8
        assert set(np.unique(answer)) <= {0, *np.unique(labels)}


def test_the_first_frame_shows_what_was_pointed_out(segmenter, video):
    """SAM 2 takes a given mask as it is, whatever its weights; so this part holds for random ones as well."""
    frames, labels = video
    first = segmenter.start(frames[0], labels) > 0
    agreement = np.count_nonzero(first & (labels > 0)) / np.count_nonzero(first | (labels > 0))
    assert agreement > 0.7


def test_the_past_counts(segmenter, video):
    """The same second frame after another first one is labelled differently: the memory is used."""
    frames, labels = video
    logits = []
    for mask in (labels, labels, np.roll(labels, 40, axis=1)):
        segmenter.start(frames[0], mask)
        with torch.no_grad():
            logits.append(segmenter.model(segmenter._session, frame=segmenter._pixels(frames[1])).pred_masks)
    assert torch.equal(logits[0], logits[1])
    assert (logits[0] - logits[2]).abs().max() > 1e-3


def test_it_says_what_it_needs(video):
    frames, labels = video
    fresh = Sam2Segmenter(small_sam2())
    with pytest.raises(PerceptionError, match=r"call start\(rgb, labels\) on the first image"):
        fresh.segment(frames[0])
    with pytest.raises(PerceptionError, match="no labelled part"):
        fresh.start(frames[0], np.zeros_like(labels))
    with pytest.raises(FileNotFoundError, match="no SAM 2 at"):
        Sam2Segmenter.from_pretrained("no/such-model")
