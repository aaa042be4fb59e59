"""`LabelledSource`: images with one class each, and choices among them."""

import numpy as np
import pytest

from lightning_robust.data.labelled.source import LabelledSource, in_words
from lightning_robust.data.reading import ImageFiles


def source(labels, classes=("a", "b", "c"), n=None):
    files = ImageFiles([f"{i}.png" for i in range(len(labels) if n is None else n)])
    return LabelledSource("some", "some images", files, np.array(labels, dtype=int), classes)


def test_counts_include_empty_classes():
    assert source([2, 0, 2]).counts() == {"a": 1, "b": 0, "c": 2}
    assert source([0, 1, 1], classes=("crane", "crane")).counts() == {"crane": 3}


def test_a_choice_of_a_choice_opens_the_right_images(tmp_path, pixels, tree):
    from lightning_robust.data.labelled import class_folders

    chosen = class_folders(tree(tmp_path / "t", {"a": 3, "b": 3})).choose([5, 1, 3], "odd").choose([2, 0])
    assert [pixels(chosen.images.open(i))[:2, 0, 0].tolist() for i in range(2)] == [[1, 0], [1, 2]]
    assert chosen.labels.tolist() == [1, 1]
    assert chosen.source.endswith("; odd")


@pytest.mark.parametrize(
    ("labels", "n", "message"),
    [
        ([0, 1], 3, "3 images need as many labels, got 2"),
        ([], 0, "There are no images in some images"),
        ([0, -1], 2, "the label -1 is none of its 3 classes; −1 usually means that labels are held back"),
        ([0, 3], 2, "the label 3 is none of its 3 classes"),
    ],
)
def test_what_is_refused(labels, n, message):
    with pytest.raises(ValueError, match=message):
        source(labels, n=n)


def test_lists_in_a_sentence():
    assert in_words(["a", "b"]) == "'a', 'b'"
    assert in_words([str(i) for i in range(9)]) == "'0', '1', '2', '3', '4', '5' and 3 more"
