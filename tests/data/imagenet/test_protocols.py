"""Named protocols against naive loops over the code bases' own rules."""

import pytest
import torch

from lightning_robust.data.imagenet import PROTOCOLS, shift_record
from lightning_robust.data.imagenet.labels import set_classes
from lightning_robust.data.imagenet.objectnet import covered
from lightning_robust.data.imagenet.protocols import protocol_names, reference_record
from lightning_robust.models.class_mask import ClassMask


def logits_and_labels(n=400, seed=0):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(n, 1000, generator=generator)
    labels = torch.randint(113, (n,), generator=generator)
    for row, label in enumerate(labels.tolist()):  # so that a good part is right, by any class of the group
        group = covered()[label].classes
        logits[row, group[row % len(group)]] += 3.0
    return logits, labels


def by_mask(logits, labels, protocol):
    record = shift_record("objectnet", protocol)
    targets = torch.tensor([record.groups[label][0] for label in labels.tolist()])
    return ClassMask(record.groups)(logits).argmax(1) == targets


def test_wise_ft_takes_the_largest_of_113_maxima():
    logits, labels = logits_and_labels()
    right = []
    for row, label in zip(logits.tolist(), labels.tolist(), strict=True):
        scores = [max(row[index] for index in one.classes) for one in covered()]
        right.append(scores.index(max(scores)) == label)
    assert 0.3 < sum(right) / len(right) < 0.9
    assert by_mask(logits, labels, "wise-ft").tolist() == right


def test_testbed_counts_the_largest_of_125_where_it_belongs_to_the_object():
    logits, labels = logits_and_labels(seed=1)
    right = []
    for row, label in zip(logits.tolist(), labels.tolist(), strict=True):
        best = max(set_classes("objectnet"), key=lambda index: row[index])
        right.append(best in covered()[label].classes)
    assert by_mask(logits, labels, "testbed").tolist() == right


def test_a_tie_between_two_objects_goes_to_the_first_canonical_class_under_both():
    logits = torch.zeros(1, 1000)
    logits[0, [530, 412]] = 7.0  # alarm_clock's second class, and trash_bin's only one
    for protocol in ("wise-ft", "testbed"):
        mask = ClassMask(shift_record("objectnet", protocol).groups)
        assert mask(logits).argmax(1).tolist() == [409], "alarm_clock's canonical class is before 412"


def test_the_border_and_the_prompts_are_what_the_protocols_differ_in():
    assert {name: one.border for name, one in PROTOCOLS.items()} == {"wise-ft": 2, "testbed": 2, "clip_benchmark": 0}
    records = {name: shift_record("objectnet", name) for name in PROTOCOLS}
    assert [record.class_names is None for record in records.values()] == [True, True, False]
    names = records["clip_benchmark"].class_names
    assert len(names) == 113
    assert names[:4] == ("alarm clock", "backpack", "banana", "band aid")
    assert names[13] == "butcher's knife"
    assert len({record.groups for record in records.values()}) == 1
    assert len({record.protocol for record in records.values()}) == 3


def test_full_names_of_protocols():
    assert shift_record("objectnet").protocol == "objectnet: wise-ft (crop 2 px, max over 125 classes in 113 groups)"
    assert shift_record("objectnet", "clip_benchmark").protocol == (
        "objectnet: clip_benchmark (no crop, zero-shot head of 113 names)"
    )
    assert shift_record("r", "testbed").protocol == "r: testbed (argmax over 200 classes)"
    assert shift_record("v2", v2="top-images").protocol == "v2: wise-ft (top-images, argmax over 1,000 classes)"
    assert "ImageNet val" in reference_record().protocol


def test_classes_and_sizes_of_the_records():
    sizes = {name: shift_record(name) for name in ("v2", "r", "sketch", "objectnet", "a")}
    assert [record.images for record in sizes.values()] == [10_000, 30_000, 50_889, 18_574, 7_500]
    assert [record.classes and len(record.classes) for record in sizes.values()] == [None, 200, None, 125, 200]
    assert reference_record().images == 50_000
    assert reference_record().groups is None


def test_one_protocol_for_all_or_one_for_each():
    assert set(protocol_names("testbed").values()) == {"testbed"}
    assert protocol_names({"r": "testbed"}) == {
        "v2": "wise-ft", "r": "testbed", "sketch": "wise-ft", "objectnet": "wise-ft", "a": "wise-ft",
    }  # fmt: skip
    with pytest.raises(ValueError, match="no protocol 'wise_ft'; there are wise-ft, testbed, clip_benchmark"):
        protocol_names("wise_ft")
    with pytest.raises(ValueError, match="given for 'imagenet-r', which is no shift"):
        protocol_names({"imagenet-r": "testbed"})
    with pytest.raises(ValueError, match="no shift 'c'; there are v2, r, sketch, objectnet, a"):
        shift_record("c")
    with pytest.raises(ValueError, match="ImageNet-V2 has no variant 'top'"):
        shift_record("v2", v2="top")
