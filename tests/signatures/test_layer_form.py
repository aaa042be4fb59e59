"""The form of a layer in words, and what a varying number of tokens becomes."""

import dataclasses

import pytest
import torch

from lightning_robust.signatures import LayerForm


@pytest.mark.parametrize(
    ("kind", "pool", "words"),
    [
        ("vector", "mean", "768 features"),
        ("vector", "tokens", "768 features"),
        ("tokens", "mean", "768 features, mean over 50 tokens"),
        ("tokens", "first", "768 features, first of 50 tokens"),
        ("tokens", "tokens", "768 features, each of 50 tokens a row"),
        ("map", "mean", "768 features, mean over 50 positions"),
        ("map", "tokens", "768 features, each of 50 positions a row"),
    ],
)
def test_words(kind, pool, words):
    assert LayerForm("blocks.1", kind, 50, 768, pool).words == words


def test_frozen_and_about_features():
    form = LayerForm("fc:input", "vector", 1, 8, "mean")
    assert form.axis == "features"
    with pytest.raises(dataclasses.FrozenInstanceError):
        form.d = 3


def test_of_an_output():
    tokens = LayerForm.of("b", torch.zeros(2, 5, 8), "first", "t n d")
    assert tokens == LayerForm("b", "tokens", 5, 8, "first", "t n d")
    assert LayerForm.of("c", torch.zeros(2, 8, 3, 4), "mean", "n c h w") == LayerForm(
        "c", "map", 12, 8, "mean", "n c h w"
    )
    assert LayerForm.of("d", torch.zeros(2, 8), "mean", "n d") == LayerForm("d", "vector", 1, 8, "mean")


def test_a_varying_number_of_tokens():
    form = None
    for tokens in (5, 7, 7):
        form = LayerForm.of("b", torch.zeros(2, tokens, 8), "mean", "n t d", form)
    assert form.positions is None, "it has varied, whatever the last two were"
    assert form.words == "8 features, mean over a varying number of tokens"


def test_an_empty_batch_has_a_form():
    assert LayerForm.of("b", torch.zeros(0, 5, 8), "mean", "n t d").positions == 5
