"""Rendering: the same picture in any batch, and geometry, bar, noise and part area against plain computations."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.ndimage import map_coordinates

from lightning_robust.data.scenes.distributions import BROAD, DISTRIBUTIONS, REFERENCE
from lightning_robust.data.scenes.draws import draw_scenes
from lightning_robust.data.scenes.render import CHUNK, IMAGE_SIZE, render
from lightning_robust.data.scenes.silhouettes import SPRITE_EXTENT, SPRITE_SIZE, sprites
from lightning_robust.data.scenes.vocabulary import STYLES

N = 2 * CHUNK + 5
AXIS = (np.arange(IMAGE_SIZE) + 0.5) / IMAGE_SIZE * 2 - 1


def draw(indices=range(20), distribution=BROAD, **changes):
    """Scenes with some attributes set to one value."""
    scenes = draw_scenes(distribution, 0, "test", indices)
    fixed = {name: np.full(len(scenes), value, dtype=getattr(scenes, name).dtype) for name, value in changes.items()}
    return replace(scenes, **fixed)


def mask(**changes):
    """Where the object is: dark pixels of a silhouette without bar and noise."""
    plain = {"style": STYLES.index("silhouette"), "bar": False, "noise": 0.0, "contrast": 1.0}
    still = {"rotation": 0.0, "shear": 0.0, "x": 0.0, "y": 0.0, "size": 0.5, "mirrored": False, "scene": 10}
    return render(draw(**(plain | still | changes)))[0].mean(1) < 110


@pytest.fixture(scope="module")
def whole():
    return render(draw(range(N)))


def test_images_and_areas(whole):
    images, area = whole
    assert images.shape == (N, 3, IMAGE_SIZE, IMAGE_SIZE)
    assert images.dtype == np.uint8
    assert area.shape == (N,)
    assert area.dtype == np.float32
    assert images.min() < 10
    assert images.max() > 245
    assert images.std((1, 2, 3)).min() > 5, "no image is empty"


@pytest.mark.parametrize("step", [1, 7, CHUNK, CHUNK + 1])
def test_an_image_does_not_depend_on_its_batch(whole, step):
    for start in range(0, 40 if step == 1 else N, step):
        images, area = render(draw(range(start, min(start + step, N))))
        np.testing.assert_array_equal(images, whole[0][start : start + step])
        np.testing.assert_array_equal(area, whole[1][start : start + step])


def test_nor_on_the_order(whole):
    order = np.random.default_rng(0).permutation(N)
    images, area = render(draw(order))
    np.testing.assert_array_equal(images, whole[0][order])
    np.testing.assert_array_equal(area, whole[1][order])


def test_nor_on_threads_or_on_torchs_random_state(whole):
    threads, state = torch.get_num_threads(), torch.get_rng_state()
    try:
        torch.set_num_threads(1 if threads > 1 else 2)
        images, area = render(draw(range(N)))
    finally:
        torch.set_num_threads(threads)
    np.testing.assert_array_equal(images, whole[0])
    np.testing.assert_array_equal(area, whole[1])
    assert torch.equal(torch.get_rng_state(), state)


def test_no_image_gives_no_image():
    images, area = render(draw([]))
    assert (len(images), len(area)) == (0, 0)


def test_a_seed_is_another_world():
    first, second = (render(draw_scenes(REFERENCE, seed, "test", range(20)))[0].astype(int) for seed in (0, 1))
    assert abs(first - second).mean((1, 2, 3)).min() > 5


def test_shift_moves_right_and_down():
    at_rest, pixels = mask(size=0.4), 3
    moved = mask(size=0.4, x=2 * pixels / IMAGE_SIZE)
    lowered = mask(size=0.4, y=2 * pixels / IMAGE_SIZE)
    assert at_rest.sum((1, 2)).min() > 10
    np.testing.assert_array_equal(moved, np.roll(at_rest, pixels, axis=2))
    np.testing.assert_array_equal(lowered, np.roll(at_rest, pixels, axis=1))


def test_mirroring_and_half_turn():
    at_rest = mask()
    np.testing.assert_array_equal(mask(mirrored=True), at_rest[:, :, ::-1])
    turned = mask(rotation=180.0)
    assert (turned != at_rest[:, ::-1, ::-1]).mean() < 0.005
    quarter = mask(rotation=90.0)
    assert (quarter != np.rot90(at_rest, -1, axes=(1, 2))).mean() < 0.005, "positive is clockwise"


def test_area_grows_with_the_square_of_the_size():
    small, large = mask(size=0.4).sum((1, 2)), mask(size=0.8).sum((1, 2))
    assert np.median(large / small) == pytest.approx(4.0, rel=0.1)  # thin lines of small objects break up
    assert (large > 2 * small).all()


def test_a_sketch_has_no_colour_before_noise():
    images, _ = render(draw(style=STYLES.index("sketch"), bar=False, noise=0.0))
    np.testing.assert_array_equal(images[:, 0], images[:, 1])
    np.testing.assert_array_equal(images[:, 0], images[:, 2])
    noisy, _ = render(draw(style=STYLES.index("sketch"), bar=False, noise=0.1))
    assert (noisy[:, 0] != noisy[:, 1]).mean() > 0.8


def test_noise_has_the_stated_deviation_and_contrast_the_stated_factor():
    flat, _ = render(draw(contrast=0.0, noise=0.1, bar=False))  # mid-grey, brightness and noise
    assert flat.std((1, 2, 3)).mean() == pytest.approx(25.5, rel=0.05)
    full, _ = render(draw(contrast=1.0, noise=0.0, bar=False, style=STYLES.index("mosaic")))
    half, _ = render(draw(contrast=0.5, noise=0.0, bar=False, style=STYLES.index("mosaic")))
    full, half = full.astype(float), half.astype(float)
    unclipped = (full > 0) & (full < 255)
    offset = np.array([np.median((half - full / 2)[i][unclipped[i]]) for i in range(len(full))])
    assert abs((half - full / 2 - offset[:, None, None, None])[unclipped]).max() <= 1.5


def test_styles_differ():
    pictures = np.array([render(draw(style=k, noise=0.0, bar=False))[0] for k in range(len(STYLES))]).astype(float)
    for a in range(len(STYLES)):
        for b in range(a):
            assert abs(pictures[a] - pictures[b]).mean() > 3, (STYLES[a], STYLES[b])


def test_a_bar_hides_what_lies_under_it():
    open_image, open_area = render(draw(bar=False, noise=0.0))
    under, area = render(draw(bar=True, bar_width=3.0, noise=0.0))  # as wide as the image
    assert (under.reshape(20, 3, -1).std(2) == 0).all()
    np.testing.assert_array_equal(area, np.zeros(20))
    assert open_area.min() >= 0
    assert (open_area > 0).mean() > 0.8
    narrow, area = render(draw(bar=True, bar_angle=0.0, bar_offset=0.0, bar_width=4 / IMAGE_SIZE, noise=0.0))
    np.testing.assert_array_equal(narrow[..., :14], open_image[..., :14])  # four pixels in the middle, upright
    np.testing.assert_array_equal(narrow[..., 18:], open_image[..., 18:])
    assert (narrow[..., 14:18].reshape(20, 3, -1).std(2) == 0).all()
    assert (area <= open_area).all()
    assert (area < open_area).any()


@pytest.mark.parametrize("name", ["broad", "adversarial"])
def test_part_area_against_scipys_interpolation(name):
    """Turn, shear, scale and mirror undone pixel by pixel; the sprite read by scipy."""
    scenes = draw(range(60), DISTRIBUTIONS[name])
    area, shapes = render(scenes)[1], sprites()
    for i in range(len(scenes)):
        dx, dy = np.meshgrid(AXIS - scenes.x[i], AXIS - scenes.y[i])
        back = -np.deg2rad(scenes.rotation[i])
        right = (np.cos(back) * dx - np.sin(back) * dy) / scenes.size[i]
        down = (np.sin(back) * dx + np.cos(back) * dy) / scenes.size[i]
        right = (right - scenes.shear[i] * down) * (-1 if scenes.mirrored[i] else 1)
        at = [(c / SPRITE_EXTENT + 1) / 2 * SPRITE_SIZE - 0.5 for c in (down, right)]
        part = map_coordinates(shapes[scenes.label[i], scenes.variant[i], 1].astype(float), at, order=1, mode="nearest")
        across = np.cos(scenes.bar_angle[i]) * AXIS[None] + np.sin(scenes.bar_angle[i]) * AXIS[:, None]
        hidden = scenes.bar[i] & (abs(across - scenes.bar_offset[i]) < scenes.bar_width[i])
        doubtful = (abs(part) < 1e-5) | (abs(abs(across - scenes.bar_offset[i]) - scenes.bar_width[i]) < 1e-6)
        assert abs(area[i] - ((part < 0) & ~hidden).sum()) <= doubtful.sum()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_images_do_not_depend_on_the_default_dtype(whole, dtype):
    """A Trainer of another precision sets it around every forward, and some images are rendered inside."""
    try:
        torch.set_default_dtype(dtype)
        images, area = render(draw(range(N)))
    finally:
        torch.set_default_dtype(torch.float32)
    np.testing.assert_array_equal(images, whole[0])
    np.testing.assert_array_equal(area, whole[1])
