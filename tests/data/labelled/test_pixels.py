"""`fused`: the same bits as the transform itself, whatever the image; anything unknown is left alone."""

import multiprocessing
import pickle

import numpy as np
import open_clip
import pytest
import timm
import torch
from PIL import Image
from torch.utils.data import DataLoader
from torchvision.transforms import (
    CenterCrop,
    Compose,
    InterpolationMode,
    Normalize,
    RandomErasing,
    Resize,
    ToTensor,
    v2,
)

from lightning_robust.data.labelled import LabelledImages, class_folders, training_transform
from lightning_robust.data.labelled.geometry import geometry_of
from lightning_robust.data.labelled.pixels import FusedTransform, fused, fused_steps

MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
BICUBIC = InterpolationMode.BICUBIC
NORMALIZE = Normalize(MEAN, STD)


def image(mode="RGB", width=50, height=37):
    rng = np.random.default_rng(width)
    rgb = Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))
    if mode == "RGBA":
        rgb.putalpha(rgb.getchannel(0))
        return rgb
    return rgb.quantize(20) if mode == "P" else rgb.convert(mode)


def to_rgb(picture):
    return picture.convert("RGB")


KNOWN = {
    "open_clip": open_clip.image_transform(24, is_train=False),
    "open_clip, longest": open_clip.image_transform(24, is_train=False, resize_mode="longest", mean=0.5, std=0.5),
    "open_clip, squash": open_clip.image_transform((24, 30), is_train=False, resize_mode="squash"),
    "open_clip's function": Compose([CenterCrop(24), open_clip.transform._convert_to_rgb, ToTensor(), NORMALIZE]),
    "timm": timm.data.create_transform((3, 24, 24), mean=MEAN, std=STD),
    "torchvision": Compose([Resize(30, BICUBIC), CenterCrop((20, 24)), ToTensor(), NORMALIZE]),
    "in place": Compose([ToTensor(), Normalize(MEAN, STD, inplace=True)]),
    "of lists": Compose([ToTensor(), Normalize(list(MEAN), torch.tensor(STD, dtype=torch.float64))]),
}
#: What turns grey and transparent images into RGB itself.
CONVERTING = ("open_clip", "open_clip, longest", "open_clip, squash", "open_clip's function")


def bits(tensor):
    return tensor.view(torch.int32)


@pytest.mark.parametrize("name", KNOWN)
@pytest.mark.parametrize("size", [(50, 37), (23, 64), (1, 1)])
def test_rgb_gives_the_same_bits_in_the_same_layout(name, size):
    transform, picture = KNOWN[name], image("RGB", *size)
    before = picture.tobytes()
    expected, found = transform(picture), fused(transform)(picture)
    assert isinstance(fused(transform), FusedTransform)
    assert torch.equal(bits(found), bits(expected))
    assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
    assert found.is_contiguous()
    assert expected.is_contiguous()
    assert found.data_ptr() % 64 == expected.data_ptr() % 64 == 0
    assert picture.tobytes() == before
    assert torch.equal(bits(fused(transform)(picture)), bits(expected)), "nothing is kept from one image to the next"


@pytest.mark.parametrize("name", CONVERTING)
@pytest.mark.parametrize("mode", ["L", "P", "CMYK", "RGBA", "LA", "1"])
def test_other_modes_give_the_same_bits(name, mode):
    picture = image(mode)
    assert picture.mode == mode
    assert torch.equal(bits(fused(KNOWN[name])(picture)), bits(KNOWN[name](picture)))


@pytest.mark.parametrize("mode", ["RGBA", "CMYK", "LA"])
def test_what_a_transform_refuses_is_refused_in_its_words(mode):
    with pytest.raises(RuntimeError) as expected:
        KNOWN["torchvision"](image(mode))
    with pytest.raises(RuntimeError) as found:
        fused(KNOWN["torchvision"])(image(mode))
    assert str(found.value) == str(expected.value)


def test_every_value_of_every_colour():
    ramp = np.stack([np.arange(256), np.arange(256)[::-1], np.roll(np.arange(256), 77)], axis=-1)[None].astype(np.uint8)
    for mean, std in [(MEAN, STD), ((0.5,) * 3, (0.5,) * 3), ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))]:
        plain, picture = Compose([ToTensor(), Normalize(mean, std)]), Image.fromarray(ramp)
        expected = (torch.from_numpy(ramp).permute(2, 0, 1).float() / 255 - torch.tensor(mean).view(3, 1, 1)).div(
            torch.tensor(std).view(3, 1, 1)
        )
        assert torch.equal(bits(fused(plain)(picture)), bits(plain(picture)))
        assert torch.equal(fused(plain)(picture), expected)


def test_another_default_device_changes_nothing():
    plain = Compose([CenterCrop(24), ToTensor(), NORMALIZE])
    expected, faster = plain(image()), fused(plain)
    assert faster is not plain
    with torch.device("meta"):
        assert plain(image()).device.type == "cpu"
        found = faster(image())
    assert torch.equal(found, expected)


def test_another_default_type_is_followed():
    plain = KNOWN["torchvision"]
    faster = fused(plain)
    torch.set_default_dtype(torch.float64)
    try:
        found, expected = faster(image()), plain(image())
    finally:
        torch.set_default_dtype(torch.float32)
    assert found.dtype == torch.float64
    assert torch.equal(found, expected)


class OwnToTensor(ToTensor):
    """Another class."""


@pytest.mark.parametrize(
    "transform",
    [
        ToTensor(),
        image,
        Compose([ToTensor()]),
        Compose([]),
        Compose([NORMALIZE, ToTensor()]),
        Compose([OwnToTensor(), NORMALIZE]),
        Compose([ToTensor(), NORMALIZE, RandomErasing()]),
        Compose([ToTensor(), Normalize(0.5, 0.5)]),
        Compose([ToTensor(), Normalize((0.5,), (0.5,))]),
        Compose([ToTensor(), Normalize(MEAN, (0.2, 0.0, 0.2))]),
        v2.Compose([ToTensor(), NORMALIZE]),
        torch.nn.Sequential(NORMALIZE),
    ],
)
def test_anything_else_is_left_as_it_is(transform):
    assert fused(transform) is transform


def test_only_a_conversion_to_rgb_goes_with_the_last_steps():
    grey = open_clip.transform.MaybeConvertMode("L")
    assert [len(fused_steps([step, ToTensor(), NORMALIZE])) for step in (grey, to_rgb, CenterCrop(4))] == [2, 2, 2]
    assert len(fused_steps([open_clip.transform.MaybeConvertMode(), ToTensor(), NORMALIZE])) == 1


def test_it_prints_and_pickles_as_the_transform():
    faster = fused(KNOWN["open_clip"])
    assert repr(faster) == repr(KNOWN["open_clip"])
    again = pickle.loads(pickle.dumps(faster))
    assert repr(again) == repr(faster)
    assert torch.equal(again(image()), KNOWN["open_clip"](image()))


@pytest.fixture
def source(tmp_path):
    (tmp_path / "t" / "a").mkdir(parents=True)
    for k, mode in enumerate(["RGB", "L", "CMYK", "RGB", "RGB"]):
        image(mode, 40 + k).save(tmp_path / "t" / "a" / f"{k}.jpg")
    image("RGBA").save(tmp_path / "t" / "a" / "5.png")
    image("P").save(tmp_path / "t" / "a" / "6.png")
    return class_folders(tmp_path / "t")


@pytest.mark.parametrize("method", [None, "fork", pytest.param("spawn", marks=pytest.mark.slow)])
def test_a_set_of_images_gives_what_its_transform_gives_in_any_process(source, method):
    if method and method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"no {method} on this system")
    transform = KNOWN["open_clip"]
    images = LabelledImages(source, transform)
    assert images.transform is transform
    expected = torch.stack([transform(source.images.open(k)) for k in range(len(source))])
    loader = DataLoader(images, batch_size=7, num_workers=int(method is not None), multiprocessing_context=method)
    ((found, _),) = loader
    assert torch.equal(bits(found), bits(expected))


def test_a_transform_set_later_is_the_one_used(source):
    images = LabelledImages(source, KNOWN["open_clip"])
    images.transform = KNOWN["torchvision"]
    assert torch.equal(images[0][0], KNOWN["torchvision"](source.images.open(0)))


def test_training_goes_the_same_way():
    transform, picture = KNOWN["open_clip"], image()
    rest = geometry_of(transform).rest
    crop = picture.resize((24, 24))
    assert len(rest.steps) == 1
    assert torch.equal(bits(rest(crop)), bits(Compose(transform.transforms[-3:])(crop)))
    flipped = training_transform(transform, "flip")
    both = [transform(picture), transform(picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT))]
    seen = [flipped(picture, np.random.default_rng(seed)) for seed in range(20)]
    matches = [[torch.equal(bits(tensor), bits(one)) for one in both].index(True) for tensor in seen]
    assert set(matches) == {0, 1}
