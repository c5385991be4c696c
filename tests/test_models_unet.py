"""The dual-branch U-Net: size at paper scale, independent decoders, what attention may and may not touch."""

import dataclasses

import pytest
import torch

from geo4d_lite.models.attention import CrossViewAttention
from geo4d_lite.models.unet import PRESETS, DualBranchUNet, plain_unet

TINY = dataclasses.asdict(
    dataclasses.replace(PRESETS["lite"], latent_channels=4, widths=(32, 32), attention=(False, True), heads=(2, 2))
)


def inputs(channels: int = 8, frames: int = 3) -> tuple[torch.Tensor, ...]:
    g = torch.Generator().manual_seed(0)
    noisy = torch.randn(2, 2, frames, channels, 8, 8, generator=g)
    condition = torch.randn(2, 2, channels, 8, 8, generator=g)
    return noisy, condition, torch.tensor([0.1, -0.4])


def tiny(**switches) -> DualBranchUNet:
    torch.manual_seed(0)
    return DualBranchUNet(TINY, **switches).eval()


def count(model: torch.nn.Module, part: str = "") -> int:
    return sum(p.numel() for name, p in model.named_parameters() if part in name)


@pytest.mark.parametrize(
    ("switches", "expected"),
    [
        ({}, 2_398_792_063),
        ({"cross_view_attention": False}, 2_377_154_623),
        ({"shared_decoder": True}, 1_543_636_522),
    ],
)
def test_paper_preset_has_the_papers_parameters(switches, expected):
    with torch.device("meta"):
        model = DualBranchUNet.from_preset("paper", **switches)
    assert abs(count(model) / expected - 1) < 1e-3
    attention = count(model, "view_attention")
    assert attention == (0 if switches.get("cross_view_attention") is False else 21_637_440)


def test_paper_preset_attends_after_each_of_twelve_layers():
    with torch.device("meta"):
        model = DualBranchUNet.from_preset("paper")
    assert [layer.to_q.in_features for layer in model.decoder_m.view_attention] == [1280] * 6 + [640] * 3 + [320] * 3


def test_the_two_decoders_share_no_tensor():
    model = DualBranchUNet.from_preset("lite")
    of_n, of_m = ({p.data_ptr() for p in decoder.parameters()} for decoder in (model.decoder_n, model.decoder_m))
    assert not of_n & of_m
    with torch.no_grad():
        for p in model.decoder_n.parameters():
            p.zero_()
    assert any(p.abs().sum() > 0 for p in model.decoder_m.conv_out.parameters())


def test_branch_n_is_the_plain_svd_unet():
    model = tiny()
    noisy, condition, c_noise = inputs()
    plain = plain_unet(PRESETS["lite"].__class__(**TINY), in_channels=16, out_channels=8)
    weights = {name.removeprefix("decoder_n."): tensor for name, tensor in model.state_dict().items()}
    missing, _ = plain.load_state_dict(weights, strict=False)
    assert missing == []

    # diffusers' own forward, with the fps and motion embedding that we dropped put back as zeros
    plain.add_time_proj = torch.nn.Identity()
    plain.add_embedding = lambda embedding: torch.zeros(len(embedding), 1)
    frames = noisy.shape[2]
    x = torch.cat([noisy[:, 0], condition[:, None, 0].expand(-1, frames, -1, -1, -1)], dim=2)
    with torch.no_grad():
        expected = plain.eval()(x, c_noise, model.image_token(condition[:, 0]), torch.zeros(2, 3)).sample
        actual = model(noisy, condition, c_noise)[:, 0]
    torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-5)


def test_a_fresh_cross_view_attention_changes_nothing():
    g = torch.Generator().manual_seed(0)
    h_m, h_n = torch.randn(2, 16, 4, 4, generator=g), torch.randn(2, 16, 4, 4, generator=g)
    torch.testing.assert_close(CrossViewAttention(16, 2, 8)(h_m, h_n), h_m)


def test_view_n_never_sees_view_m_but_m_sees_n():
    model = tiny()
    for layer in model.decoder_m.view_attention:
        torch.nn.init.normal_(layer.to_out.weight)
    noisy, condition, c_noise = inputs()
    with torch.no_grad():
        before = model(noisy, condition, c_noise)
        other_m, other_n = noisy.clone(), noisy.clone()
        other_m[:, 1] += 1
        other_n[:, 0] += 1
        changed_m, changed_n = model(other_m, condition, c_noise), model(other_n, condition, c_noise)
    torch.testing.assert_close(changed_m[:, 0], before[:, 0])
    assert (changed_n[:, 1] - before[:, 1]).abs().max() > 1e-3


def test_without_attention_the_views_are_independent():
    model = tiny(cross_view_attention=False)
    noisy, condition, c_noise = inputs()
    other = noisy.clone()
    other[:, 0] += 1
    with torch.no_grad():
        torch.testing.assert_close(model(other, condition, c_noise)[:, 1], model(noisy, condition, c_noise)[:, 1])


def test_attention_matches_a_loop_over_queries():
    torch.manual_seed(1)
    layer = CrossViewAttention(8, heads=2, head_dim=4)
    torch.nn.init.normal_(layer.to_out.weight)
    h_m, h_n = torch.randn(1, 8, 2, 3), torch.randn(1, 8, 2, 3)
    q, k, v = (
        proj(h[0].flatten(1).T).unflatten(-1, (2, 4))
        for proj, h in ((layer.to_q, h_m), (layer.to_k, h_n), (layer.to_v, h_n))
    )
    rows = []
    for i in range(6):
        heads = [torch.softmax(k[:, j] @ q[i, j] / 2, dim=0) @ v[:, j] for j in range(2)]
        rows.append(layer.to_out(torch.cat(heads)))
    expected = h_m + torch.stack(rows).T.reshape(1, 8, 2, 3)
    torch.testing.assert_close(layer(h_m, h_n), expected, rtol=1e-4, atol=1e-5)


def test_rgb_only_model_has_half_the_channels():
    noisy, condition, c_noise = inputs(channels=4)
    assert tiny(modalities=("rgb",))(noisy, condition, c_noise).shape == noisy.shape


def test_unknown_preset_is_named():
    with pytest.raises(ValueError, match="preset is 'huge'; expected one of"):
        DualBranchUNet.from_preset("huge")
