"""Counting against a plain walk, and evenly spaced samples."""

import imagenet_trees
from imagenet_trees import picture

from lightning_robust.data.image_sets import spread
from lightning_robust.data.imagenet.counting import count_folders, sample_of


def messy(root):
    for name, count in (("b", 3), ("a", 0), ("c", 5)):
        (root / name).mkdir()
        for k in range(count):
            (root / name / f"{k}.JPEG").write_bytes(picture(k))
    (root / "c" / "deep").mkdir()
    (root / "c" / "deep" / "x.png").write_bytes(picture(9))
    (root / "b" / "left.tar").write_bytes(b"")
    (root / "b" / ".DS_Store").write_bytes(b"")
    (root / ".hidden").mkdir()
    (root / "__MACOSX").mkdir()
    (root / "README.txt").write_text("")
    return root


def test_counts_are_those_of_a_walk(tmp_path):
    counts = count_folders(messy(tmp_path))
    assert [(count.name, count.images) for count in counts] == [("a", 0), ("b", 3), ("c", 6)]
    assert [count.other for count in counts] == [None, str(tmp_path / "b" / "left.tar"), None]


def test_a_sample_is_evenly_spaced_over_all_images(tmp_path):
    counts = count_folders(messy(tmp_path))
    every = sorted(str(path) for path in tmp_path.rglob("*") if path.suffix in (".JPEG", ".png"))
    for n in (0, 1, 4, 9, 50):
        assert sample_of(tmp_path, counts, n).paths == [every[k] for k in spread(9, n)]


def test_a_sample_of_a_whole_set_touches_many_classes(whole):
    folder = whole / "train"
    sample = sample_of(folder, count_folders(folder), 100)
    assert len({path.split("/")[-2] for path in sample.paths}) == 100
    assert imagenet_trees.WNIDS[0] in sample.paths[0]
