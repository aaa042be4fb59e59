"""A concept set by its short text."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from lightning_robust.data.concept_sets import CONCEPT_SPECS, open_concept_set
from lightning_robust.data.hub_tables import with_split


def test_broden(broden, pixels):
    made = open_concept_set(f"broden:{broden}", pixels, split="val")
    assert (made.name, len(made)) == ("broden", 2)
    with pytest.raises(ValueError, match="Broden has to be unpacked there"):
        open_concept_set("broden:nowhere")


def test_csv(tmp_path):
    Image.new("RGB", (2, 2)).save(tmp_path / "a.png")
    (tmp_path / "labels.csv").write_text("image,dog\na.png,1\n")
    for spec in (f"csv:{tmp_path}", f"csv:{tmp_path / 'labels.csv'}"):
        assert open_concept_set(spec).all_labels().tolist() == [[1]]


def test_tables(tmp_path):
    folder = tmp_path / "set"  # the cache lies in tmp_path itself
    folder.mkdir()
    for split, n in (("train", 2), ("test", 3)):
        pq.write_table(pa.table({"image": [b""] * n, "tags": [["a"]] * n}), folder / f"{split}.parquet")
    assert len(open_concept_set(f"parquet:{folder}:test")) == 3
    assert len(open_concept_set(f"parquet:{folder / 'train.parquet'}")) == 2
    assert len(open_concept_set(f"hub:{folder}", split="train")) == 2
    with pytest.raises(ValueError, match="No file some/where: 'parquet:' takes a parquet file"):
        open_concept_set("parquet:some/where")
    with pytest.raises(ValueError, match="some/where is not on this machine"):
        open_concept_set("hub:some/where:train")


@pytest.mark.parametrize("spec", ["", "scene", "scenes:", "broden", "broden:", "zip:a.zip", "/tmp"])
def test_anything_else_lists_what_works(spec):
    with pytest.raises(ValueError, match="what works: scenes, ") as caught:
        open_concept_set(spec)
    assert all(form in str(caught.value) for form in CONCEPT_SPECS)


def test_options_in_the_text(broden, tmp_path):
    made = open_concept_set(f"broden:{broden}?split=train&categories=color,object&min_coverage=0.8&num_workers=1")
    assert made.concepts == ("white-c", "red-c", "wall")
    assert len(made) == 3
    assert len(open_concept_set(f"broden:{broden}?split=train", split="val")) == 2, "arguments go first"
    columns = {"image": [b""], "a": [["x"]], "b": [["y", "z"]]}
    pq.write_table(pa.table(columns), tmp_path / "t.parquet")
    assert open_concept_set(f"parquet:{tmp_path / 't.parquet'}:train?labels=b,a").categories == ("b", "b", "a")
    assert len(open_concept_set(f"hub:{tmp_path / 't.parquet'}?labels=a&download=no")) == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("min_area=0.1", "'scenes' takes no option 'min_area'; it takes n, seed"),
        ("transform=x", "'scenes' takes no option 'transform'; it takes n, seed"),
        ("n=two", "'n=two' is no option; they are name=value"),
        ("n", "'n' is no option"),
        ("n=", "'n=' is no option"),
        ("", "'' is no option"),
        ("download=perhaps", "'download=perhaps' is no option"),
    ],
)
def test_an_option_that_does_not_work(text, said):
    with pytest.raises(ValueError, match=said):
        open_concept_set(f"scenes?{text}")
    with pytest.raises(ValueError, match="'scenes' takes no option 'min_area'"):
        open_concept_set("scenes", min_area=0.1)


def test_colons_of_paths_are_no_splits(tmp_path):
    (tmp_path / "a:b").mkdir()
    assert with_split("some/set:test") == ("some/set", "test")
    assert with_split("some/set") == ("some/set", None)
    assert with_split("c:/some/set") == ("c:/some/set", None)
    assert with_split(f"{tmp_path}/a:b") == (f"{tmp_path}/a:b", None)
