"""What the classes of copies are called."""

import pytest
from imagenet_trees import OBJECTS, WNIDS, A, R
from timm.data import ImageNetInfo

from lightning_robust.data.imagenet import imagenet_classes
from lightning_robust.data.imagenet.classes import class_names
from lightning_robust.data.imagenet.labels import is_class, looks_like_class


def test_numbers_of_imagenet_v2_sorted_as_text_are_still_numbers():
    names = sorted(str(k) for k in range(1000))
    assert names[:4] == ["0", "1", "10", "100"]
    assert imagenet_classes("v2", names) == tuple(int(name) for name in names)
    assert imagenet_classes("v2", ["0007", "12"]) == (7, 12)


@pytest.mark.parametrize(("name", "classes"), [("r", R), ("a", A)])
def test_labels_of_r_and_a_are_positions_in_sorted_wnids(name, classes):
    assert imagenet_classes(name, [str(k) for k in range(200)]) == tuple(classes)
    assert imagenet_classes(name, [WNIDS[k] for k in reversed(classes)]) == tuple(reversed(classes))
    assert imagenet_classes(name, [str(k) for k in classes]) == tuple(classes), "ImageNet's own numbers"


def test_numbers_that_can_be_read_in_two_ways_are_refused():
    with pytest.raises(ValueError, match=r"ImageNet-R: the labels \[1, 2\] can be ImageNet classes or positions"):
        imagenet_classes("r", ["1", "2"])
    assert imagenet_classes("r", ["0", "2"]) == (1, 4), "class 0 is not in ImageNet-R"
    with pytest.raises(ValueError, match=r"no ImageNet classes of it \(0 is none\), and no .*200 classes \(300 is too"):
        imagenet_classes("r", ["0", "300"])


@pytest.mark.parametrize("numbers", [range(50), range(112), [5, 112], range(1, 113)])
def test_a_part_of_objectnet_does_not_say_which_numbering_it_has(numbers):
    """Positions among 113 and among 313 name other objects: 5 is one thing here and another there."""
    with pytest.raises(ValueError, match=r"ObjectNet: the labels .* among its 113 ImageNet objects or among all 313"):
        imagenet_classes("objectnet", [str(k) for k in numbers])


def test_a_part_of_objectnet_with_a_number_beyond_113_has_313():
    every = sorted(OBJECTS)
    found = imagenet_classes("objectnet", ["3", "113"])
    assert found == tuple(OBJECTS[every[k]][1][0] if OBJECTS[every[k]][1] else None for k in (3, 113))


@pytest.mark.parametrize("name", ["r", "a"])
def test_positions_without_a_zero_can_count_from_one(name):
    with pytest.raises(ValueError, match=r"the labels \[1, 2, 3, 4, 5\] can be positions .* from 0 or from 1"):
        imagenet_classes(name, [str(k) for k in range(1, 200)])
    with pytest.raises(ValueError, match="200 is too large"):
        imagenet_classes(name, [str(k) for k in range(1, 201)])


def test_the_stray_folder_is_named_and_not_the_classes():
    with pytest.raises(ValueError, match="'notes' is no class of it"):
        imagenet_classes("v2", [*(str(k) for k in range(1000)), "notes"])
    with pytest.raises(ValueError, match="'7' is no class of it"):
        imagenet_classes("val", ["7", *WNIDS])
    with pytest.raises(ValueError, match=f"'{WNIDS[3]}' is no class of it"):
        imagenet_classes("v2", ["7", "8", WNIDS[3]])


def test_names_of_other_sets_are_refused():
    with pytest.raises(ValueError, match=r"ImageNet-A has no class 'n01443537' \(1 of 2 are none of its 200 classes\)"):
        imagenet_classes("a", [WNIDS[1], WNIDS[6]])
    with pytest.raises(ValueError, match="ImageNet val: 'tench' is no class of it"):
        imagenet_classes("val", ["tench", "goldfish"])
    with pytest.raises(ValueError, match="there is no class in it"):
        imagenet_classes("val", [])
    with pytest.raises(ValueError, match="'1' and '01' are the same class"):
        imagenet_classes("v2", ["1", "01"])


def test_the_names_of_a_table_of_imagenet_in_their_order():
    words = ImageNetInfo().label_descriptions()
    assert imagenet_classes("val", words) == tuple(range(1000))
    assert imagenet_classes("val", class_names()) == tuple(range(1000)), "names that occur twice are told by position"
    assert imagenet_classes("r", [words[k] for k in R]) == tuple(R)
    with pytest.raises(ValueError, match="by all of ImageNet's names in their order"):
        imagenet_classes("val", words[1:] + words[:1])
    with pytest.raises(ValueError, match="ImageNet-R: "):
        imagenet_classes("r", [words[k] for k in A])


def test_objectnet_by_folder_by_display_name_and_by_number():
    every = sorted(OBJECTS)
    first = [OBJECTS[name][1][0] if OBJECTS[name][1] else None for name in every]
    assert imagenet_classes("objectnet", every) == tuple(first)
    assert imagenet_classes("objectnet", [OBJECTS[name][0] for name in every]) == tuple(first)
    assert imagenet_classes("objectnet", [str(k) for k in range(313)]) == tuple(first)
    only = [index for index in first if index is not None]
    assert imagenet_classes("objectnet", [str(k) for k in range(113)]) == tuple(only)
    assert imagenet_classes("objectnet", ["Butcher's knife", "alarm_clock"]) == (499, 409)
    assert imagenet_classes("objectnet", ["530", "409", "671", "444"]) == (409, 409, 671, 671), "ImageNet's own"
    assert imagenet_classes("objectnet", [WNIDS[530], WNIDS[954]]) == (409, 954)


def test_an_unknown_object_is_told_from_one_without_a_class():
    assert imagenet_classes("objectnet", ["squeegee"]) == (None,)
    with pytest.raises(ValueError, match="ObjectNet has no object 'teapots' among its 313; did you mean 'teapot'"):
        imagenet_classes("objectnet", ["teapots"])
    with pytest.raises(ValueError, match="'Alarm clock' and 'alarm_clock' are the same class"):
        imagenet_classes("objectnet", ["Alarm clock", "alarm_clock"])
    with pytest.raises(ValueError, match="the label 400 is no position among its 113 or 313"):
        imagenet_classes("objectnet", ["1", "400"])
    with pytest.raises(ValueError, match="ObjectNet has no class 'n01440764'"):
        imagenet_classes("objectnet", [WNIDS[0]])


def test_which_folders_are_classes():
    assert is_class("val", WNIDS[3])
    assert not is_class("a", WNIDS[0])
    assert is_class("objectnet", "squeegee")
    assert not is_class("objectnet", "teapots")
    assert looks_like_class("val", "n99999999"), "so that the level is found and the folder complained about"
    assert not looks_like_class("val", "images")
