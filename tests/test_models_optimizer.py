"""Muon against PyTorch's own, and what it leaves to AdamW."""

import pytest
import torch
from test_models_training import regression
from torch import nn

from geo4d_lite.models.optimizer import make_optimizer, orthogonal, orthogonal_all

SHAPES = [(8, 8), (6, 20), (20, 6)]


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def steps(optimizer: torch.optim.Optimizer, weights: list[nn.Parameter], count: int = 3) -> list[torch.Tensor]:
    for k in range(count):
        for i, weight in enumerate(weights):
            weight.grad = draw(*weight.shape, seed=10 * k + i)
        optimizer.step()
    return [weight.detach() for weight in weights]


def muon(weights: list[nn.Parameter]) -> torch.optim.Optimizer:
    return make_optimizer("muon", [{"params": weights}], 0.1, 0.01)


@pytest.mark.parametrize("shape", SHAPES)
def test_orthogonal_keeps_singular_vectors_and_brings_singular_values_near_one(shape):
    matrix = draw(2, *shape)
    u, s, vh = torch.linalg.svd(matrix, full_matrices=False)
    of_answer = u.mT @ orthogonal(matrix) @ vh.mT  # diagonal, if the vectors are the same
    diagonal = of_answer.diagonal(dim1=1, dim2=2)
    assert (s.amax(1) / s.amin(1) > 1.5).all()
    assert diagonal.min() > 0.6 and diagonal.max() < 1.3
    torch.testing.assert_close(of_answer, torch.diag_embed(diagonal), rtol=0, atol=1e-4)


def test_many_at_once_are_each_alone():
    matrices = [draw(*shape, seed=i) for i, shape in enumerate(SHAPES * 2)]
    for matrix, answer in zip(matrices, orthogonal_all(matrices), strict=True):
        torch.testing.assert_close(answer, orthogonal(matrix[None])[0])


def test_matrices_move_as_by_pytorchs_muon():
    ours, theirs = ([nn.Parameter(draw(*shape, seed=5)) for shape in SHAPES] for _ in range(2))
    reference = torch.optim.Muon(theirs, lr=0.1, weight_decay=0.01, momentum=0.95, adjust_lr_fn="match_rms_adamw")
    start = [weight.detach().clone() for weight in ours]
    for before, moved, expected in zip(start, steps(muon(ours), ours), steps(reference, theirs), strict=True):
        assert (expected - before).abs().mean() > 0.01
        # PyTorch's rounds are in bfloat16
        assert (moved - expected).norm() < 0.03 * (expected - before).norm()


def test_a_kernel_is_the_matrix_of_its_output_channels():
    kernel, matrix = nn.Parameter(draw(4, 3, 2, 2)), nn.Parameter(draw(4, 3, 2, 2).flatten(1))
    for k in range(2):
        gradient = draw(4, 3, 2, 2, seed=k)
        for weight in (kernel, matrix):
            weight.grad = gradient.clone().view_as(weight)
            muon([weight]).step()
    torch.testing.assert_close(kernel.detach().flatten(1), matrix.detach())


def test_biases_move_as_by_adamw():
    ours, theirs = ([nn.Parameter(draw(7, seed=5))] for _ in range(2))
    reference = make_optimizer("adamw", [{"params": theirs}], 0.1, 0.01)
    assert torch.equal(steps(muon(ours), ours)[0], steps(reference, theirs)[0])


def test_a_weight_without_gradient_stays():
    weight = nn.Parameter(draw(3, 3))
    muon([weight]).step()
    assert torch.equal(weight.detach(), draw(3, 3))


def test_killed_and_resumed_training_by_muon_ends_in_the_same_bits(tmp_path):
    whole = regression(folder=tmp_path / "whole", optimizer="muon")
    log = whole.run(report=None)
    assert log[-1]["loss"] < regression().run(until=1, report=None)[0]["loss"]
    regression(folder=tmp_path / "parts", optimizer="muon").run(until=11, report=None)
    second = regression(seed=99, folder=tmp_path / "parts", optimizer="muon")
    assert second.step == 11
    second.run(report=None)
    for name, tensor in whole.model.state_dict().items():
        assert torch.equal(tensor, second.model.state_dict()[name]), name


def test_a_training_can_change_from_adamw_to_muon(tmp_path):
    regression(folder=tmp_path).run(until=11, report=None)
    changed = regression(folder=tmp_path, optimizer="muon")
    assert changed.step == 11
    changed.run(report=None)
    assert changed.step == 30
