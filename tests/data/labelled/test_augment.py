"""Random resized crop and flip in the geometry of the evaluation transform."""

import numpy as np
import open_clip
import pytest
import timm
import torch
import torchvision
from PIL import Image
from torchvision.transforms import CenterCrop, Compose, Normalize, RandomResizedCrop, Resize, ToTensor, functional

from lightning_robust.data.labelled import training_transform
from lightning_robust.data.labelled.augment import _crop_box
from lightning_robust.data.labelled.geometry import geometry_of

BICUBIC = functional.InterpolationMode.BICUBIC
MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.25, 0.3)


def noise(width=50, height=40):
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8))


def open_clip_transform(mode):
    return open_clip.image_transform(24, is_train=False, mean=MEAN, std=STD, resize_mode=mode, interpolation="bicubic")


TRANSFORMS = {
    "open_clip": open_clip_transform("shortest"),
    "open_clip, longest": open_clip_transform("longest"),
    "open_clip, squash": open_clip_transform("squash"),
    "timm": timm.data.create_transform((3, 24, 24), interpolation="bicubic", mean=MEAN, std=STD, crop_pct=0.9),
    "torchvision": torchvision.transforms._presets.ImageClassification(
        crop_size=24, resize_size=30, mean=MEAN, std=STD, interpolation=BICUBIC
    ),
    "own": Compose([Resize(30, BICUBIC), CenterCrop(24), ToTensor(), Normalize(MEAN, STD)]),
}


@pytest.mark.parametrize("name", TRANSFORMS)
def test_a_crop_is_resized_once_with_the_model_s_size_interpolation_and_normalisation(name):
    image, augment = noise(), training_transform(TRANSFORMS[name])
    for seed in range(4):
        rng = np.random.default_rng(seed)
        left, top, right, bottom = _crop_box(image.size, (0.5, 1.0), rng)
        crop = functional.resized_crop(image, top, left, bottom - top, right - left, [24, 24], BICUBIC)
        crop = functional.hflip(crop) if rng.random() < 0.5 else crop
        expected = functional.normalize(functional.to_tensor(crop), list(MEAN), list(STD))
        found = augment(image, np.random.default_rng(seed))
        assert found.shape == (3, 24, 24)
        torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)


def test_the_interpolation_is_the_transform_s():
    nearest = Compose([Resize(24, functional.InterpolationMode.NEAREST), CenterCrop(24), ToTensor()])
    assert geometry_of(nearest).resample == Image.Resampling.NEAREST
    pixels = {tuple(pixel) for pixel in np.asarray(noise()).reshape(-1, 3).tolist()}
    found = (training_transform(nearest)(noise(), np.random.default_rng(0)) * 255).round().int()
    assert {tuple(pixel) for pixel in found.permute(1, 2, 0).reshape(-1, 3).tolist()} <= pixels


def test_a_processor_of_transformers():
    class Wrapped:
        """What carries an image processor."""

        def __init__(self):
            from transformers import CLIPImageProcessor

            self.processor = CLIPImageProcessor(
                size={"shortest_edge": 30}, crop_size={"height": 24, "width": 24}, image_mean=MEAN, image_std=STD
            )

        def __call__(self, image):
            return self.processor(image, return_tensors="pt")["pixel_values"][0]

    found, same = Wrapped(), training_transform(TRANSFORMS["own"])
    assert geometry_of(found).size == (24, 24)
    one, other = (augment(noise(), np.random.default_rng(3)) for augment in (training_transform(found), same))
    torch.testing.assert_close(one, other, atol=1e-5, rtol=0)


def test_an_unknown_transform_is_kept_whole():
    seen = []

    def transform(image):
        seen.append(image.size)
        return ToTensor()(image)

    assert geometry_of(transform) is None
    assert geometry_of(ToTensor()) is None
    assert geometry_of(Compose([Resize(24), ToTensor()])) is None, "images of various sizes"
    augmented = training_transform(transform)(noise(), np.random.default_rng(0))
    assert seen[-1] == (50, 40)
    assert not torch.equal(augmented, ToTensor()(noise()))


def test_flip_and_none():
    image, plain = noise(), ToTensor()
    flip = training_transform(plain, "flip")
    found = [flip(image, np.random.default_rng(seed)) for seed in range(200)]
    mirrored = sum(torch.equal(tensor, plain(image).flip(-1)) for tensor in found)
    assert sum(torch.equal(tensor, plain(image)) for tensor in found) == 200 - mirrored
    assert 70 < mirrored < 130
    assert training_transform(plain, "none") is None


def test_crops_are_distributed_as_torchvision_s():
    """Area, ratio and place against `RandomResizedCrop`, by the quantiles of 4,000 draws each."""
    rng, image = np.random.default_rng(0), torch.zeros(3, 90, 120)
    ours = np.array([_crop_box((120, 90), (0.3, 0.8), rng) for _ in range(4000)])
    ours = np.stack([ours[:, 1], ours[:, 0], ours[:, 3] - ours[:, 1], ours[:, 2] - ours[:, 0]], axis=1)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        theirs = np.array([RandomResizedCrop.get_params(image, [0.3, 0.8], [3 / 4, 4 / 3]) for _ in range(4000)])
    quantiles = [np.quantile(crops, [0.1, 0.25, 0.5, 0.75, 0.9], axis=0) for crops in (ours, theirs)]
    np.testing.assert_allclose(quantiles[0], quantiles[1], atol=3)


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (300, 2), (7, 7)])
def test_a_crop_lies_inside_any_image(size):
    for seed in range(50):
        left, top, right, bottom = _crop_box(size, (0.05, 1.0), np.random.default_rng(seed))
        assert 0 <= left < right <= size[0]
        assert 0 <= top < bottom <= size[1]


@pytest.mark.parametrize("scale", [(0.0, 1.0), (0.6, 0.5), (0.5, 1.1), (0.5,), (float("nan"), 1.0)])
def test_a_bad_scale(scale):
    with pytest.raises(ValueError, match="scale must be two areas with 0 < least ≤ largest ≤ 1"):
        training_transform(ToTensor(), scale=scale)


def test_crop_is_crop_flip_that_never_mirrors():
    transform = TRANSFORMS["own"]
    image, seen = noise(), set()
    for seed in range(20):
        crop, either = (
            training_transform(transform, augment)(image, np.random.default_rng(seed))
            for augment in ("crop", "crop-flip")
        )
        mirrored = torch.equal(either, crop.flip(-1))
        assert mirrored or torch.equal(either, crop)
        seen.add(mirrored)
    assert seen == {True, False}


def test_an_unknown_augmentation():
    with pytest.raises(ValueError, match="augment must be one of 'crop-flip', 'crop', 'flip', 'none', got 'mixup'"):
        training_transform(ToTensor(), "mixup")
