"""Images and labels in batches of every form that loaders give."""

from collections import OrderedDict, UserDict, namedtuple
from dataclasses import dataclass
from types import SimpleNamespace

import pytest
import torch
from transformers import BatchFeature

from lightning_robust.signatures import images_from_batch, labels_from_batch
from lightning_robust.signatures.batches import batch_to

IMAGES = torch.rand(2, 3, 4, 4)
LABELS = torch.tensor([1, 0])
Pair = namedtuple("Pair", ["image", "target"])
Odd = namedtuple("Odd", ["pixels", "classes"])


@dataclass(frozen=True)
class Sample:
    img: torch.Tensor
    labels: torch.Tensor


class Sparse:
    """Labels in a form of their own, with properties that are no fields of a batch."""

    shape = (2, 5)

    @property
    def images(self):
        raise ZeroDivisionError("an expensive property that nobody asked for")

    def to(self, device):
        return self


SPARSE = Sparse()


WITH_LABELS = {
    "tuple": (IMAGES, LABELS),
    "list": [IMAGES, LABELS, "a.png"],
    "index first": (LABELS + 5, IMAGES, LABELS),
    "paths first": (["a.png", "b.png"], IMAGES, LABELS),
    "transformers": {"pixel_values": IMAGES, "input_ids": LABELS[:, None], "labels": LABELS},
    "BatchFeature": BatchFeature({"pixel_values": IMAGES, "labels": LABELS}),
    "image": {"label": LABELS, "image": IMAGES},
    "x, y": {"x": IMAGES, "y": LABELS},
    "one map of an unknown name": {"picture": IMAGES, "mask_of": IMAGES[0], "targets": LABELS},
    "mapping and labels": ({"pixel_values": IMAGES}, LABELS),
    "mapping with labels in a tuple": ({"pixel_values": IMAGES, "labels": LABELS},),
    "named tuple": Pair(IMAGES, LABELS),
    "named tuple of odd names": Odd(IMAGES, LABELS),
    "dataclass": Sample(IMAGES, LABELS),
    "object": SimpleNamespace(images=IMAGES, target=LABELS),
    "user mapping": UserDict(inputs=IMAGES, concepts=LABELS),
    "uint8 images": (LABELS, (IMAGES * 255).to(torch.uint8), LABELS),
}


@pytest.mark.parametrize("form", WITH_LABELS)
def test_images_and_labels(form):
    images = images_from_batch(WITH_LABELS[form])
    assert images is IMAGES or images.dtype == torch.uint8
    assert labels_from_batch(WITH_LABELS[form]) is LABELS


@pytest.mark.parametrize("batch", [(IMAGES, SPARSE), {"image": IMAGES, "concepts": SPARSE}])
def test_labels_in_a_form_of_their_own(batch):
    assert images_from_batch(batch) is IMAGES
    assert labels_from_batch(batch) is SPARSE
    assert labels_from_batch(batch_to(batch, torch.device("cpu"))) is SPARSE


@pytest.mark.parametrize("batch", [IMAGES, (IMAGES,), [IMAGES, ["dog"]], (IMAGES, "a"), {"image": IMAGES}, [3], {}])
def test_no_labels(batch):
    assert labels_from_batch(batch) is None


def test_vectors_and_ids_serve_where_there_is_nothing_else():
    ids, features = torch.ones(2, 5, dtype=torch.int64), torch.zeros(2, 5)
    assert images_from_batch((ids, features)) is features
    assert images_from_batch((ids, LABELS)) is ids
    assert images_from_batch(features) is features


def test_a_known_name_comes_before_another_map():
    assert images_from_batch({"mask": torch.zeros(2, 1, 4, 4), "img": IMAGES}) is IMAGES


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        ({"a": IMAGES, "b": IMAGES}, "a batch is dict with the keys 'a', 'b', in which no images"),
        (("a.png", 3), "a batch is tuple of str, int, in which no images"),
        ("a.png", "a batch is str, in which"),
        (None, "NoneType, in which .* give images_from_batch="),
    ],
)
def test_no_images(batch, message):
    with pytest.raises(ValueError, match=message):
        images_from_batch(batch)


@pytest.mark.parametrize("form", WITH_LABELS)
def test_moving_keeps_the_form(form):
    batch = WITH_LABELS[form]
    moved = batch_to(batch, torch.device("meta"))
    assert type(moved) is type(batch) or form == "user mapping"
    if not isinstance(batch, Sample | SimpleNamespace):  # objects without a method `to` stay where they are
        assert images_from_batch(moved).device.type == "meta"
        assert labels_from_batch(moved).device.type == "meta"
    assert images_from_batch(batch).device.type == "cpu"
    assert batch_to(batch, None) is batch


def test_moving_inside():
    batch = OrderedDict(pixel_values=[IMAGES, (IMAGES, "a")], name="b")
    moved = batch_to(batch, torch.device("meta"))
    assert type(moved) is OrderedDict
    assert moved["pixel_values"][1][0].device.type == "meta"
    assert (moved["pixel_values"][1][1], moved["name"]) == ("a", "b")
    assert batch["pixel_values"][0] is IMAGES
