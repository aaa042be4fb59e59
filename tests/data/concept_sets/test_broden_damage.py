"""What is missing or damaged in a Broden folder is named in one sentence."""

import pytest
from PIL import Image

from lightning_robust.data.concept_sets import broden_concepts, concept_loader
from lightning_robust.data.concept_sets.broden_index import read_broden


def replace(path, old, new):
    text = path.read_bytes().decode()
    assert old in text
    path.write_bytes(text.replace(old, new, 1).encode())


@pytest.mark.parametrize("file", ["index.csv", "label.csv", "category.csv", "c_part.csv"])
def test_a_missing_table(broden, file):
    (broden / file).unlink()
    with pytest.raises(ValueError, match="host that has been down") as caught:
        broden_concepts(broden)
    said = str(caught.value)
    assert said.startswith(f"{broden / file} is missing: ")
    for part in ("http://netdissect.csail.mit.edu/data/broden1_224.zip", "c_<category>.csv", "images/<source>/"):
        assert part in said
    assert "\n" not in said


def test_a_missing_folder(broden):
    with pytest.raises(ValueError, match=r"No folder .*nowhere: Broden has to be unpacked there"):
        broden_concepts(broden / "nowhere")
    (broden / "images").rename(broden / "pictures")
    with pytest.raises(ValueError, match=r"No folder .*images: Broden has to be unpacked there"):
        broden_concepts(broden)


@pytest.mark.parametrize(
    ("file", "old", "new", "said"),
    [
        ("index.csv", "image,split", "picture,split", "has no column 'image'"),
        (
            "index.csv",
            "pascal/f.jpg,train,8,8,4,4,,,,,,",
            "pascal/f.jpg,train,8",
            "line 7: 3 cells, but the header has 12",
        ),
        ("label.csv", "object(2)", "object", "line 4, column 'category': 'object' is not of the form"),
        ("label.csv", "object(2)", "thing(2)", "line 4, column 'category': 'thing\\(2\\)' is not of the form"),
        ("label.csv", "3,wall", "x,wall", "line 4, column 'number': 'x' is not a whole number"),
        ("label.csv", "3,wall", "2,wall", "line 4: a label needs a name and a number of its own, got 'wall' and 2"),
        ("label.csv", "3,wall", "3,", "line 4: a label needs a name"),
        ("label.csv", "0.900000", "much", "line 4, column 'coverage': 'much' is not a number"),
        ("label.csv", "coverage", "cover", "has no column 'coverage'"),
        ("c_color.csv", "white-c", "black-c", "line 2 calls number 1 'black-c', but label.csv 'white-c'"),
        ("category.csv", "texture", "textile", "lists the category 'textile', but index.csv has no such column"),
        ("category.csv", "texture,4,4,1,1\r\n", "", "column 'texture' of .* is no category of category.csv"),
    ],
)
def test_a_damaged_table(broden, file, old, new, said):
    replace(broden / file, old, new)
    with pytest.raises(ValueError, match=said):
        broden_concepts(broden)


def test_a_number_without_row_in_a_code_table_takes_its_count_from_the_labels(broden):
    replace(broden / "c_object.csv", "2,6,head,1,0.4\r\n", "")
    made = broden_concepts(broden, shared="split", min_frequency=1)
    assert "head (object)" in made.concepts
    assert "head (object)" not in broden_concepts(broden, shared="split", min_frequency=2).concepts


def test_row_zero_of_the_labels_is_no_concept(broden):
    replace(broden / "label.csv", "1,white-c", "0,-,color(1),1,1.0,\r\n1,white-c")
    assert broden_concepts(broden).concepts[0] == "white-c"


@pytest.mark.parametrize("how", ["missing", "empty", "no image", "grey", "other size"])
def test_one_bad_mask_is_named_and_its_category_unknown(broden, how):
    path = broden / "images" / "ade20k" / "a_part_2.png"
    path.unlink()
    if how in ("empty", "no image"):
        path.write_bytes(b"" if how == "empty" else b"something else")
    elif how != "missing":
        Image.new("L" if how == "grey" else "RGB", (4, 4) if how == "grey" else (2, 2)).save(path)
    reasons = {"missing": "no such file", "grey": "its mode is L", "other size": "its layers differ in size"}
    said = f"1 masks of Broden cannot be read.*a_part_2.png: {reasons.get(how, 'not an image')}"
    with pytest.warns(UserWarning, match=said):
        made = broden_concepts(broden)
    assert made.all_labels()[0].tolist() == [1, 0, 1, -1, 1, -1, -1, 1, -1]
    with pytest.warns(UserWarning, match=said):  # from the cache too
        broden_concepts(broden)
    with pytest.raises(ValueError, match=r"More than 0 masks cannot be read, the first of them .*a_part_2.png"):
        broden_concepts(broden, max_unreadable=0)


def test_colours_behind_a_palette_are_read(broden):
    before = broden_concepts(broden).all_labels().tolist()
    path = broden / "images" / "ade20k" / "a_object.png"
    with Image.open(path) as image:
        image.convert("P", palette=Image.Palette.ADAPTIVE, colors=4).save(path)
    assert broden_concepts(broden).all_labels().tolist() == before


def test_labels_without_a_row_are_passed_over_and_named(broden):
    replace(broden / "index.csv", "4;0", "4;77")
    with pytest.warns(
        UserWarning, match="1 labels of masks or cells are not in label.csv.*number 77 in category 'texture'"
    ):
        made = broden_concepts(broden)
    assert made.all_labels()[2, 3] == 1


def test_a_bad_image_is_left_out_with_its_labels(broden, pixels):
    (broden / "images" / "dtd" / "c.jpg").write_bytes(b"no")
    (broden / "images" / "pascal" / "e.jpg").unlink()
    made = broden_concepts(broden, pixels)
    loader = concept_loader(made, batch_size=1)
    with pytest.warns(UserWarning, match="An image is left out") as caught:
        rows = [labels[0].tolist() for _, labels in loader]
    said = [str(warning.message) for warning in caught]
    assert [sentence.partition("images/")[2] for sentence in said] == [
        "dtd/c.jpg: not an image",
        "pascal/e.jpg: no such file",
    ]
    assert rows == [made.all_labels()[i].tolist() for i in (0, 1, 3, 5)]
    assert len(loader.unreadable) == 2


def test_names_that_come_twice_are_told_apart_by_number(broden):
    replace(broden / "label.csv", "3,wall", "3,door")
    replace(broden / "c_object.csv", "3,wall", "3,door")
    names = [concept.name for concept in read_broden(broden).concepts]
    assert "door #3" in names
    assert sum(name.startswith("door #") for name in names) == 2
    assert len(set(names)) == len(names)
