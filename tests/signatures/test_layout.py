"""Which dimension is the batch, which the features: the cases that shapes alone decide, and those that they do not."""

import pytest
import torch
from torch import nn

from lightning_robust.signatures.layers import Layer, find_layer
from lightning_robust.signatures.layout import layout_of, map_layout, runs_batch_second, token_layout

PLAIN = find_layer(nn.Identity(), "")
SECOND = find_layer(nn.Sequential(nn.TransformerEncoderLayer(8, 2, 16)), "0")


@pytest.mark.parametrize(
    ("shape", "layer", "images", "before", "layout"),
    [
        ((4, 7, 8), PLAIN, 4, None, "n t d"),
        ((7, 4, 8), PLAIN, 4, None, "t n d"),
        ((4, 4, 8), PLAIN, 4, None, "n t d"),
        ((7, 4, 8), PLAIN, None, None, "n t d"),
        ((4, 7, 8), SECOND, 4, None, "n t d"),
        ((7, 4, 8), SECOND, 4, None, "t n d"),
        ((4, 4, 8), SECOND, 4, "t n d", "t n d"),
        ((4, 4, 8), SECOND, 4, "n t d", "n t d"),
        ((1, 1, 8), SECOND, 1, None, "n t d"),  # either way the same numbers
        ((7, 1, 8), SECOND, 1, None, "t n d"),
    ],
)
def test_tokens(shape, layer, images, before, layout):
    assert token_layout(shape, layer, images, before) == layout


@pytest.mark.parametrize(
    ("shape", "layer", "images", "before", "message"),
    [
        ((7, 5, 8), PLAIN, 4, None, r"gave 7 rows for 4 images \(shape \(7, 5, 8\)\); its first dimension is not"),
        ((7, 4, 8), PLAIN, 4, "n t d", r"its dimensions were \(n t d\) before"),
        ((4, 7, 8), PLAIN, 4, "t n d", r"its dimensions were \(t n d\) before"),
        ((4, 4, 8), SECOND, 4, None, "tokens and images cannot be told apart"),
        ((7, 4, 8), SECOND, None, None, r"say how many images there are with expect\(images\)"),
    ],
)
def test_tokens_refused(shape, layer, images, before, message):
    with pytest.raises(ValueError, match=message):
        token_layout(shape, layer, images, before)


def test_who_runs_with_the_batch_second():
    class Block(nn.Module):
        def __init__(self, batch_first):
            super().__init__()
            self.attn = nn.MultiheadAttention(8, 2, batch_first=batch_first)
            self.mlp = nn.Sequential(nn.Linear(8, 8))

    class Tower(nn.Module):
        def __init__(self):
            super().__init__()
            self.old, self.new, self.head = Block(False), Block(True), nn.Linear(8, 2)

    tower = Tower()
    names = ["", "old", "old.attn", "old.mlp", "old.mlp.0", "new", "new.attn", "new.mlp.0", "head"]
    second = [name for name in names if runs_batch_second(find_layer(tower, name))]
    assert second == ["", "old", "old.attn", "old.mlp", "old.mlp.0"]


class LayerNorm2d(nn.LayerNorm):
    """As torchvision and timm have it: normalises maps (n, c, h, w), by permuting them inside."""


SWIN_LIKE = nn.Sequential(nn.LayerNorm(8), nn.Linear(8, 32), nn.GELU(), nn.Linear(32, 8))
CONVNEXT_LIKE = nn.Sequential(nn.Conv2d(8, 8, 3), nn.LayerNorm(8), nn.Linear(8, 32), nn.Linear(32, 8))


@pytest.mark.parametrize(
    ("shape", "module", "layout"),
    [
        # a layer that works on a known dimension itself
        ((2, 8, 8, 4), nn.Conv2d(8, 8, 1), "n c h w"),
        ((2, 8, 8, 4), nn.BatchNorm2d(8), "n c h w"),
        ((2, 8, 8, 4), nn.GroupNorm(2, 8), "n c h w"),
        ((2, 8, 8, 4), LayerNorm2d(8), "n c h w"),
        ((2, 8, 4, 4), nn.Linear(3, 4), "n h w c"),
        ((2, 8, 4, 4), nn.LayerNorm(4), "n h w c"),
        # the width of the last layer
        ((2, 4, 6, 8), SWIN_LIKE, "n h w c"),
        ((2, 8, 6, 4), CONVNEXT_LIKE, "n c h w"),
        ((2, 8, 8, 4), nn.Sequential(nn.Conv2d(3, 8, 1)), "n c h w"),  # as many channels as rows
        # squares, where the width says nothing
        ((2, 5, 5, 9), SWIN_LIKE, "n h w c"),
        ((2, 9, 5, 5), SWIN_LIKE, "n c h w"),
        ((2, 5, 5, 9), nn.Identity(), "n h w c"),
        ((2, 9, 5, 5), nn.Identity(), "n c h w"),
        # nothing left but the kind of the last layer, or the custom
        ((2, 8, 8, 8), SWIN_LIKE, "n h w c"),
        ((2, 8, 8, 8), nn.Sequential(nn.Conv2d(8, 8, 1)), "n c h w"),
        ((2, 4, 5, 6), nn.ReLU(), "n c h w"),
    ],
)
def test_maps(shape, module, layout):
    assert map_layout(shape, find_layer(module, "")) == layout


@pytest.mark.parametrize("shape", [(2, 8, 8, 8), (2, 8, 4, 8)])
def test_maps_that_could_be_either(shape):
    with pytest.raises(ValueError, match=r"'blocks' gives .*: features may stand second or last"):
        map_layout(shape, Layer("blocks", CONVNEXT_LIKE, False))


def test_maps_that_are_read():
    mixed = nn.Sequential(nn.Linear(4, 8), nn.Conv2d(6, 3, 1))
    assert map_layout((2, 6, 5, 4), find_layer(mixed, ":input")) == "n h w c"
    assert map_layout((2, 3, 5, 4), find_layer(mixed, "")) == "n c h w"


def test_first_dimension_of_vectors_and_maps():
    assert layout_of(torch.zeros(4, 8), PLAIN, 4, None) == "n d"
    assert layout_of(torch.zeros(4, 8, 2, 2), PLAIN, 4, None) == "n c h w"
    for shape in [(8, 8), (8, 8, 2, 2)]:
        with pytest.raises(ValueError, match="gave 8 rows for 4 images"):
            layout_of(torch.zeros(shape), PLAIN, 4, None)
    with pytest.raises(ValueError, match="gave no rows for 4 images"):
        layout_of(torch.tensor(3.0), PLAIN, 4, None)


def test_an_earlier_batch_decides_for_maps():
    assert layout_of(torch.zeros(4, 5, 5, 5), PLAIN, 4, "n h w c") == "n h w c"


def test_nested_tensors_are_refused():
    nested = torch.nested.nested_tensor([torch.zeros(2, 3), torch.zeros(4, 3)], layout=torch.jagged)
    with pytest.raises(ValueError, match="nested tensor"):
        layout_of(nested, PLAIN, 2, None)
