"""What each style shows of what it is given, and what it hides exactly."""

from dataclasses import replace

import pytest
import torch

from lightning_robust.data.scenes.styles import Layers, paint
from lightning_robust.data.scenes.visibility import HIDDEN_IN
from lightning_robust.data.scenes.vocabulary import STYLES, TEXTURES

SIZE = 32
AXIS = (torch.arange(SIZE) + 0.5) / SIZE * 2 - 1
U, V = AXIS.view(1, -1).expand(SIZE, SIZE), AXIS.view(-1, 1).expand(SIZE, SIZE)


def disc(radius, x=0.0):
    return (torch.hypot(U - x, V) - radius) * SIZE / 2


def layers(n=1, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return Layers(
        u=U.repeat(n, 1, 1), v=V.repeat(n, 1, 1), body=disc(0.6).repeat(n, 1, 1), part=disc(0.2, 0.2).repeat(n, 1, 1),
        colour=torch.rand(n, 3, generator=generator), backdrop=torch.rand(n, 3, SIZE, SIZE, generator=generator),
        texture=torch.arange(n) % len(TEXTURES), phase=torch.full((n, 1, 1), 1.0), light=torch.full((n, 1, 1), 1.1),
    )  # fmt: skip


def painted(style, **changes):
    return paint(replace(layers(), **changes), torch.tensor([STYLES.index(style)]))


CHANGES = {
    "colour": {"colour": torch.tensor([[0.9, 0.1, 0.2]])},
    "texture": {"texture": torch.tensor([TEXTURES.index("checkered")])},
    "scene": {"backdrop": torch.rand(1, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(1)) ** 3},
    "part": {"part": disc(0.2, -0.2)[None]},
}


@pytest.mark.parametrize("attribute", CHANGES)
@pytest.mark.parametrize("style", STYLES)
def test_what_counts_as_visible_changes_the_picture(style, attribute):
    """And what a style hides is the same to the last bit, or seen only as something else (see below)."""
    same = torch.equal(painted(style), painted(style, **CHANGES[attribute]))
    hidden = style in HIDDEN_IN[attribute]
    seen_as_something_else = (attribute == "colour" and style == "negative") or (
        attribute == "scene" and style in ("cartoon", "silhouette", "neon")
    )
    assert same == (hidden and not seen_as_something_else)


@pytest.mark.parametrize("style", ["cartoon", "silhouette", "neon"])
def test_a_hidden_scene_leaves_no_more_than_its_mean_tone(style):
    backdrop = layers().backdrop
    order = torch.randperm(SIZE * SIZE, generator=torch.Generator().manual_seed(0))
    shuffled = backdrop.flatten(2)[..., order].view_as(backdrop)
    torch.testing.assert_close(painted(style), painted(style, backdrop=shuffled), rtol=0, atol=1e-5)


def test_a_negative_is_the_photo_inverted():
    torch.testing.assert_close(painted("negative"), 1 - painted("photo"), rtol=0, atol=1e-6)


def test_a_sketch_is_gray_with_ink_on_the_edge():
    picture = painted("sketch")[0]
    assert torch.equal(picture[0], picture[1])
    assert torch.equal(picture[0], picture[2])
    on_edge = disc(0.6).abs() < 0.3
    assert picture[0][on_edge].max() < picture[0][disc(0.6) > 2].min() - 0.3


@pytest.mark.parametrize("style", STYLES)
def test_object_and_backdrop_look_different(style):
    picture, inside = painted(style)[0], (disc(0.6) < 0.8) & (disc(0.6) > -1.5)
    far = disc(0.6) > 3
    difference = (picture[:, inside].mean(1) - picture[:, far].mean(1)).abs().max()
    assert difference > 0.05


def test_no_two_styles_or_textures_give_the_same_picture():
    pictures = [painted(style)[0] for style in STYLES]
    pictures += [painted("photo", texture=torch.tensor([k]))[0] for k in range(1, len(TEXTURES))]
    for i, picture in enumerate(pictures):
        for other in pictures[:i]:
            assert (picture - other).abs().mean() > 0.01


def test_a_mixed_batch_is_each_image_in_its_own_style():
    n = 2 * len(STYLES)
    style = torch.arange(n).flip(0) % len(STYLES)
    batch = layers(n)
    mixed = paint(batch, style)
    for i in range(n):
        assert torch.equal(mixed[i], paint(batch.pick(torch.tensor([i])), style[[i]])[0])
    assert torch.isfinite(mixed).all()
    assert mixed.min() > -0.5
    assert mixed.max() < 1.8
