"""The memory plan of a training step: known sums, and what each switch saves."""

import dataclasses

import pytest
import torch
from torch import nn

from geo4d_lite.models import TrainingSettings
from geo4d_lite.models.memory import counted, storage, training_memory

PAPER = TrainingSettings(weights="bfloat16", offload=True, gradient_checkpointing=True)
SIZE = (32, 40)


@pytest.fixture(scope="module")
def plan():
    return training_memory("paper", PAPER, 1, SIZE)


def test_bytes_a_weight_are_those_of_the_settings(plan):
    count = 2.398792063
    assert plan.weights == plan.gradients == pytest.approx(2 * count, rel=1e-3)
    assert plan.optimizer == pytest.approx((4 + 8) * count, rel=1e-3)
    assert plan.processor == pytest.approx((4 + 8 + 4) * count, rel=1e-3)


def test_a_paper_sized_step_fits_into_24_gigabytes(plan):
    assert plan.card < 24
    on_card = training_memory("paper", dataclasses.replace(PAPER, offload=False), 1, SIZE)
    assert on_card.card > 40, "the copy, the moments and the average do not fit beside the weights"
    assert on_card.processor == 0


def test_checkpointing_keeps_a_fraction_of_the_activations(plan):
    all_kept = training_memory("paper", dataclasses.replace(PAPER, gradient_checkpointing=False), 1, SIZE)
    assert plan.activations < 0.5 * all_kept.activations
    twice = training_memory("paper", PAPER, 2, SIZE)
    assert twice.activations == pytest.approx(2 * plan.activations, rel=0.05)


def test_what_a_chain_of_layers_keeps_is_counted_by_hand():
    """y = relu(W x) keeps x for the gradient of W and y for the one of relu; the weights are there anyway."""
    with torch.device("meta"):
        layers = nn.ModuleList([nn.Sequential(nn.Linear(16, 16, bias=False), nn.ReLU()) for _ in range(3)])
        x = torch.empty(8, 16)
    with counted(list(layers), set(map(storage, layers.parameters()))) as count:
        for layer in layers:
            x = layer(x)
    image = 8 * 16 * 4
    assert sum(count.kept.values()) == 4 * image
    assert sum(count.inputs.values()) == 3 * image
    assert [sum(kept.values()) for kept in count.of_layer.values()] == [2 * image] * 3


@torch.no_grad()
def test_a_caller_without_gradients_gets_the_same_plan(plan):
    assert training_memory("paper", PAPER, 1, SIZE) == plan
