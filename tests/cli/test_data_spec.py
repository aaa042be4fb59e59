"""`--data`: what a word opens, with which options, and what is refused."""

import pytest
import yaml

from lightning_robust.cli.data_options import data_options
from lightning_robust.cli.data_spec import data_settings, open_data
from lightning_robust.data import ScenesDataModule
from lightning_robust.errors import UserError


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def config(path, **options):
    path.write_text(
        yaml.safe_dump({"data": {"class_path": "lightning_robust.data.ScenesDataModule", "init_args": options}})
    )


def test_the_scenes_world_takes_a_transform():
    def transform(image):
        return image

    data = open_data("scenes", transform, download=None)
    assert type(data) is ScenesDataModule
    assert data.transform is transform


def test_a_config_keeps_its_options_and_those_after_the_question_mark_win(folder):
    config(folder / "mine.yaml", n_test=17, seed=4, batch_size=9)
    data = open_data("mine.yaml", len)
    assert (data.n_test, data.seed, data.batch_size, data.transform) == (17, 4, 9, len)
    assert data.n_val == ScenesDataModule().n_val
    data = open_data("mine?n_test=5&flip=false", batch_size=3)
    assert (data.n_test, data.seed, data.batch_size, data.flip, data.transform) == (5, 4, 3, False, None)


def test_values_are_texts_where_the_argument_is_a_text(folder):
    for name in ("7", "2024", "on"):
        (folder / "2024" / name / "cat").mkdir(parents=True)
    (folder / "own.yaml").write_text(
        "data: {class_path: lightning_robust.data.ImageFolderDataModule, init_args: {reference: x, shifts: [y]}}\n"
    )
    said = data_settings("own?root=2024&reference=7&shifts=[2024, on]&class_map={7: 08}&seed=5&shots=null&augment=none")
    assert {name: said[name] for name in ("root", "reference", "shifts", "class_map", "seed", "shots", "augment")} == {
        "root": "2024", "reference": "7", "shifts": ["2024", "on"], "class_map": {"7": "08"}, "seed": 5,
        "shots": None, "augment": "none",
    }  # fmt: skip
    assert open_data("own?root=2024&reference=7&shifts=[2024, on]").root == "2024"
    for text, option in (("1e3", "1e3"), ("2024-01-02", "2024-01-02"), ("true", "true"), ("null", None)):
        assert data_settings(f"own?root={text}")["root"] == option
    assert data_settings("own?fractions=[1, 0.5, 0]")["fractions"] == [1.0, 0.5, 0.0]


class Keyed:
    def __init__(
        self, names: dict[int, str], places: dict[str, str], weights: dict[int | str, float] | None = None
    ) -> None: ...


def test_keys_are_what_the_annotation_has():
    text = "names={1: 2, 7: on}&places={1: 2, null: x}&weights={1: 2, off: 0.5}&free={1: 2}"
    found = data_options(text, f"{__name__}.Keyed")
    assert found == {
        "names": {1: "2", 7: "on"}, "places": {"1": "2", "null": "x"}, "weights": {1: 2, "off": 0.5}, "free": {1: 2},
    }  # fmt: skip


def test_a_config_that_ships_and_one_with_more_sections(folder):
    data = open_data("supervised", len)
    assert type(data) is ScenesDataModule
    (folder / "run.yaml").write_text(
        "seed_everything: 1\ntrainer: {max_epochs: 3}\nmodel: {class_path: nowhere.Model}\n"
        "data: {class_path: lightning_robust.data.ScenesDataModule}\n"
    )
    assert type(open_data("run.yaml")) is ScenesDataModule


def test_imagenet_takes_its_options(folder):
    for name in ("val", "imagenet-r"):
        (folder / name / "n01443537").mkdir(parents=True)
    data = open_data("imagenet:.?shifts=r&protocol=testbed", len)
    assert [shift.name for shift in data.shifts] == ["r"]
    assert data.shifts[0].protocol.startswith("r: testbed")
    with pytest.raises(UserError, match="v2"):
        open_data("imagenet:.?shifts=r,v2", len)


@pytest.mark.parametrize(
    ("text", "options", "sentence"),
    [
        ("nothing", {}, "no data 'nothing': it is 'scenes', imagenet:FOLDER or a config"),
        ("scenes", {"download": True}, "--download has no effect on the data 'scenes'"),
        ("mine.yaml", {"download": True}, "--download has no effect on lightning_robust.data.ScenesDataModule"),
        ("mine?n_test", {}, "takes options as .name=value"),
        ("mine?n_test=[", {}, "the value of n_test is no YAML"),
        ("mine?flip={7: 1, '7': 2}", {}, "the value of flip is no YAML"),
        ("mine?flip=2024-99-99", {}, "the value of flip is no YAML"),
        ("mine?n_test=0", {}, "n_test must be at least 1, got 0"),
        ("mine?n_tset=1", {}, "n_tset"),
        ("mine?n_test=many", {}, "ScenesDataModule of mine.yaml, option n_test: expected int. Got value: many$"),
        ("mine?n_tst=2", {}, "Option 'n_tst' is not accepted"),
        ("scenes?n_test=20", {}, "scenes takes no options, not 'scenes.n_test=20': write them into a config"),
        ("list.yaml", {}, "has no data: section with a class_path"),
        ("class.yaml", {}, "datetime"),
        ("imagenet:.?colour=red", {}, "not 'colour=red'"),
    ],
)
def test_what_cannot_be_opened(folder, text, options, sentence):
    config(folder / "mine.yaml", n_test=17)
    (folder / "list.yaml").write_text("- 1\n")
    (folder / "class.yaml").write_text("data: {class_path: datetime.date}\n")
    with pytest.raises(UserError, match=sentence):
        open_data(text, **options)


def test_settings_are_those_of_the_module_that_is_built(folder):
    config(folder / "mine.yaml", n_test=17, batch_size=9)
    found = data_settings("mine.yaml?seed=4")
    built = open_data("mine.yaml?seed=4", batch_size=3)
    assert found.pop("class") == type(built).__name__
    own = {name for name, value in found.items() if value is None}  # left to the module, which decides by its task
    assert own == {"train_on", "fresh"}
    assert {name: getattr(built, name) for name in found.keys() - own} == {
        name: found[name] for name in found.keys() - own
    }
    assert (found["n_test"], found["seed"], "batch_size" in found) == (17, 4, False)
    assert data_settings("scenes") == {**data_settings("mine.yaml"), "n_test": 2000}
    assert data_settings("imagenet:here?v2=top-images")["v2"] == "top-images"
