"""`ablate`: ablations against a loop over images and hooked models, plain files read by others, refusals."""

import csv
import json
import math
import stat
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest
import torch
import yaml
from PIL import Image
from safetensors.numpy import load_file
from sklearn.metrics import average_precision_score
from toy_evaluation_data import GROUPS, NAMES
from toy_pruning_data import write_apart

import lightning_robust.report
from lightning_robust.cli.data_spec import open_data
from lightning_robust.cli.evaluate_answers import unpack
from lightning_robust.cli.evaluate_asked import asked_models
from lightning_robust.cli.evaluate_models import load_models
from lightning_robust.cli.evaluate_pass import answers_of
from lightning_robust.cli.evaluate_sets import evaluation_sets, ordered_loaders
from lightning_robust.cli.head_features import UNTRAINED_WORDS
from lightning_robust.cli.main import main
from lightning_robust.cli.processes import Processes
from lightning_robust.data.concept_sets import open_concept_set
from lightning_robust.models import ImageClassifier, calibrate_untrained, load_encoder
from lightning_robust.models.bundled import save_classifier
from lightning_robust.models.image_tower import ImageTower
from lightning_robust.models.networks import load_network
from lightning_robust.results.ablation_record import read_ablation
from lightning_robust.robustness import mean_shift_difference, paired_bootstrap
from lightning_robust.signatures import random_rotation

HERE = Path(__file__).parent
SETS = ("reference", "shift", "all")
LAYER = "encoder.visual.layer1"


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    root = tmp_path_factory.mktemp("toy")
    write_apart(root)
    return root


def place(root, patch, images, **options):
    patch.chdir(root)
    patch.setenv("COLUMNS", "80")
    patch.syspath_prepend(str(HERE))
    section = {"class_path": "toy_pruning_data.Apart", "init_args": {"root": str(images), **options}}
    (root / "toy.yaml").write_text(yaml.safe_dump({"data": section}))


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch, images):
    place(tmp_path, monkeypatch, images)
    return tmp_path


def ablate(*arguments, model="scenes-clip", pictures=False):
    """Pictures, which tests of the report look at, are drawn where they are asked for."""
    settings = ["--device", "cpu", "--data", "toy.yaml", "--seeds", "2", "--baseline", "none"]
    with pytest.MonkeyPatch.context() as patch:
        if not pictures:
            patch.setattr(lightning_robust.report, "write_ablation_figures", lambda *_: [])
        return main(["ablate", "--model", model, *settings, *arguments])


def results(root, run="001"):
    return root / "checkpoints" / "ablate" / run


class Naive:
    """The model as `evaluate` runs it, with a hook that changes what a layer gives."""

    def __init__(self, word="scenes-clip", layer="encoder.visual"):
        self.data = open_data("toy.yaml")
        self.sets = evaluation_sets(self.data, "test")
        self.loaded = load_models(asked_models([word])[0], self.data, self.sets, 0)
        self.data.transform = self.loaded.transform
        self.loaders = ordered_loaders(self.data, "test", 1)
        self.layer = self.loaded.module.get_submodule(layer)
        self.head = self.loaded.module.head.weight.detach().double().numpy()
        self.calibration = self.features(self.data.val_dataloader()[0])

    def features(self, loader):
        found = []
        handle = self.layer.register_forward_hook(lambda _m, _i, out: found.append(out.double().numpy()))
        with torch.no_grad():
            for batch in loader:
                self.loaded.module(batch[0])
        handle.remove()
        return np.concatenate(found)

    def right(self, change=None):
        """By set which images are right; and how many reference images of the shift's classes."""
        handle = None
        if change is not None:
            handle = self.layer.register_forward_hook(
                lambda _m, _i, out: torch.as_tensor(change(out.double().numpy())).float()
            )
        with torch.no_grad():
            (answers,) = answers_of(
                self.loaded, self.loaded.candidates, self.sets, self.loaders, Processes(), torch.device("cpu")
            )
        if handle is not None:
            handle.remove()
        return {one.set: (unpack(one.correct, one.images), one.matched_correct) for one in answers.sets}


def limited(values, calibration, kind):
    """Of one unit: what its values become."""
    mean, std = calibration.mean(), calibration.std()
    return {
        "zero": np.zeros_like(values),
        "mean": np.full_like(values, mean),
        "clip": np.clip(values, mean - 3 * std, mean + 3 * std),
    }[kind]


def without(h, units, calibration, kind):
    """Orthonormal units are ablated one after the other, image by image."""
    h = h.copy()
    for u in units.T:
        wanted = limited(h @ u, calibration @ u, kind)
        for k in range(len(h)):
            h[k] += (wanted[k] - h[k] @ u) * u
    return h


def units_of(one, naive, count):
    """The columns of an ablation of the record, found anew."""
    d = naive.head.shape[1]
    if one.control == "random directions of the space":
        return random_rotation(d, count, one.draw).numpy()
    if one.unit == "feature":
        return np.eye(d)[:, list(one.members)]
    W = naive.head - naive.head.mean(axis=0) if one.form == "centred" else naive.head
    return np.linalg.svd(W, full_matrices=False)[2][list(one.members)].T


@pytest.fixture(scope="module")
def run(tmp_path_factory, images):
    """One run of the command that many tests look at."""
    with pytest.MonkeyPatch.context() as patch:
        here = tmp_path_factory.mktemp("run")
        place(here, patch, images)
        assert ablate("--features", "2", "--directions", "2", "--images", "3", pictures=True) == 0
        return results(here)


@pytest.fixture(scope="module")
def record(run):
    return read_ablation(run / "results.json")


@pytest.fixture(scope="module")
def naive(tmp_path_factory, images):
    with pytest.MonkeyPatch.context() as patch:
        place(tmp_path_factory.mktemp("naive"), patch, images)
        yield Naive()


def test_the_model_as_it_is_is_evaluates(record, naive):
    found = naive.right()
    assert {row.set: (row.correct, row.matched_correct) for row in record.untouched} == {
        name: (int(right.sum()), matched) for name, (right, matched) in found.items()
    }
    assert record.at_head
    assert (record.layer, record.d, record.calibration) == ("encoder.visual", 128, 80)


@pytest.mark.parametrize("kind", ["zero", "mean", "clip"])
def test_ablations_against_hooked_models(record, naive, kind):
    """Of each group: one unit, all together, and a draw of each control together."""
    whole = naive.right()
    seen = set()
    for one in record.ablations:
        what = (one.unit, one.form, one.together, one.control)
        if one.kind != kind or what in seen or (one.control and not one.together):
            continue
        seen.add(what)
        units = units_of(one, naive, one.count)
        found = naive.right(lambda h, units=units: without(h, units, naive.calibration, kind))
        assert {row.set: (row.correct, row.matched_correct) for row in one.rows} == {
            name: (int(right.sum()), matched) for name, (right, matched) in found.items()
        }, what
        for name in SETS if not one.control else ():
            expected = paired_bootstrap(found[name][0], whole[name][0], seed=0)
            assert one.differences[name] == expected
        if not one.control:
            shifts = ({name: sets[name][0] for name in SETS[1:]} for sets in (found, whole))
            assert one.differences["shifts"] == mean_shift_difference(*shifts, seed=0)
    assert len(seen) == 3 * 2 + 1 + 2 * 2


def test_every_ablation_is_there(record):
    """One by one and together, every kind, two draws of each control."""
    for group in record.groups:
        controls = ["", "random features"] if group.unit == "feature" else [""]
        controls += ["random directions of the space"] if group.unit == "direction" else []
        controls += ["random directions of the head"] if group.unit == "direction" else []
        for kind in ("zero", "mean", "clip"):
            for control in controls:
                # of the head few are left, all of which every seed draws
                left = control == "random directions of the head"
                count = min(2, group.of - 2) if left else 2
                draws = 2 if control and not left else 1
                alone = record.ablations_of(group, kind, together=False, control=control)
                together = record.ablations_of(group, kind, together=True, control=control)
                assert (len(alone), len(together)) == (count * draws, draws)
                assert [one.count for one in alone] == [1] * (count * draws)
                assert [one.count for one in together] == [count] * draws
                assert [one.places for one in alone] == [(k,) for k in range(count)] * draws
                assert not control or not any(set(one.members) & set(group.members) for one in (*alone, *together))
                assert all(bool(one.differences) == (not control) for one in (*alone, *together))
                whole = {one.draw: one for one in together}
                for one in alone if group.unit == "feature" else ():
                    assert one.members == (whole[one.draw].members[one.places[0]],)
    assert any("only 1 other is left to draw random directions of the head from" in one for one in record.notes)


def test_groups_and_figures_are_those_of_the_calibration_images(record, naive):
    h = naive.calibration
    z = np.abs(h - h.mean(axis=1, keepdims=True)) / h.std(axis=1, keepdims=True)
    features, raw, centred = record.groups
    assert features.members == tuple(np.argsort(-z.mean(axis=0), kind="stable")[:2])
    assert (features.by_rule, features.found, features.of) == (False, 0, 128)
    assert features.words == "largest features (no outlier by the rule)"
    unit_h = h / np.linalg.norm(h, axis=1, keepdims=True)
    for group, W in ((raw, naive.head), (centred, naive.head - naive.head.mean(axis=0))):
        sigma, Vt = np.linalg.svd(W, full_matrices=False)[1:]
        r = 4 if group is raw else 3
        importance = sigma[:r] * np.abs(unit_h @ Vt[:r].T).mean(axis=0)
        assert group.members == tuple(np.argsort(-importance)[:2])
        assert group.of == r
        for unit in record.units_of(group):
            assert unit.importance == pytest.approx(importance[unit.index] / sigma[:r].sum())
            assert unit.importance_share == pytest.approx(importance[unit.index] / importance.sum())
            added = naive.head @ Vt[unit.index]
            assert unit.common == pytest.approx(4 * added.mean() ** 2 / (added**2).sum(), abs=1e-9)
            assert unit.share == pytest.approx(((h @ Vt[unit.index]) ** 2).sum() / (h**2).sum())
            assert math.isnan(unit.mean_z)
    for unit in record.units_of(features):
        values = h[:, unit.index]
        assert (unit.mean, unit.std) == pytest.approx((values.mean(), values.std()))
        assert (unit.low, unit.high) == pytest.approx(
            (values.mean() - 3 * values.std(), values.mean() + 3 * values.std())
        )
        assert unit.mean_z == pytest.approx(z[:, unit.index].mean())
        assert unit.far_out == 0
        assert math.isnan(unit.importance_share)


def test_plain_files_are_read_by_others_and_agree(run, record, naive):
    tensors = load_file(run / "directions.safetensors")
    table = pyarrow.parquet.read_table(run / "scores.parquet").to_pydict()
    with (run / "scores.csv").open(newline="") as file:
        text = list(csv.DictReader(file))
    with (run / "images.csv").open(newline="") as file:
        images = list(csv.DictReader(file))
    assert [row["image"] for row in text] == table["image"] == [row["image"] for row in images]
    assert len(set(table["image"])) == len(table["image"]) == sum(row.images for row in record.untouched)
    h = np.concatenate([naive.features(loader.batches) for loader in naive.loaders])
    columns = [name for name in table if name not in ("image", "set", "class", "counted_as")]
    features, raw, centred = record.groups
    assert columns == [
        *(f"feature_{k}" for k in features.members),
        *(f"raw_direction_{k + 1}" for k in raw.members),
        *(f"centred_direction_{k + 1}" for k in centred.members),
    ]
    for k, name in enumerate(columns):
        np.testing.assert_allclose(table[name], h @ tensors["units.vectors"][:, k], atol=1e-4)
        np.testing.assert_array_equal(table[name], [float(row[name]) for row in text])
    for form, W in (("raw", naive.head), ("centred", naive.head - naive.head.mean(axis=0))):
        V, sigma = tensors[f"{form}.V"], tensors[f"{form}.sigma"]
        np.testing.assert_allclose(np.linalg.norm(W @ V, axis=0), sigma, rtol=1e-9)
        np.testing.assert_allclose(V.T @ V, np.eye(V.shape[1]), atol=1e-12)
        assert tensors[f"{form}.importance"].shape == sigma.shape
    assert stat.S_IMODE((run / "directions.safetensors").stat().st_mode) == stat.S_IMODE(
        (run / "results.json").stat().st_mode
    )
    for one in record.ablations:  # controls can be made again from the files
        if one.control:
            key = f"{one.form or 'features'}.{one.control.replace(' ', '_')}.{one.draw}"
            kept = tensors[f"{key}.vectors"][:, list(one.places)]
            if one.together or one.members:
                expected = units_of(one, naive, one.count)
                np.testing.assert_allclose(np.abs((kept * expected).sum(axis=0)), 1, atol=1e-6)
            values = naive.calibration @ kept
            np.testing.assert_allclose(tensors[f"{key}.mean"][list(one.places)], values.mean(axis=0), atol=1e-5)
            np.testing.assert_allclose(tensors[f"{key}.std"][list(one.places)], values.std(axis=0), rtol=1e-5)
    np.testing.assert_allclose(tensors["mean"], naive.calibration.mean(axis=0), atol=1e-6)
    assert tensors["features"].tolist() == list(features.members)
    for row in images:
        assert Path(row["path"]).is_file()
        canonical = {NAMES[index]: NAMES[group[0]] for group in GROUPS for index in group}
        own = Path(row["path"]).parent.name
        assert row["class"] == own
        assert row["counted_as"] == (canonical.get(own, own) if row["set"] == "shift" else own)
        assert row["image"].split("/") == [row["set"], f"{int(row['place']):02d}"]


def test_top_images_are_the_largest_and_smallest(run, record):
    table = pyarrow.parquet.read_table(run / "scores.parquet").to_pydict()
    for unit in record.units:
        name = f"feature_{unit.index}" if unit.unit == "feature" else f"{unit.form}_direction_{unit.index + 1}"
        scores = np.array(table[name])
        assert [one.image for one in unit.top] == [table["image"][k] for k in np.argsort(-scores, kind="stable")[:3]]
        assert [one.score for one in unit.top] == sorted(scores)[::-1][:3]
        if scores.min() < 0:
            assert [one.score for one in unit.bottom] == sorted(scores)[:3]
        else:
            assert unit.bottom == ()
    assert any(unit.bottom for unit in record.units)
    with (run / "images.csv").open(newline="") as file:
        paths = {row["image"]: row["path"] for row in csv.DictReader(file)}
    one = record.units[0].top[0]
    with Image.open(run / one.file) as small, Image.open(paths[one.image]) as image:
        assert small.tobytes() == image.convert("RGB").tobytes()  # 32 pixels are small already


def test_pictures_and_tables_are_there_and_come_again(run, capsys):
    names = {path.name for path in run.iterdir()}
    assert {
        "results.json", "ablations.csv", "units.csv", "ablation.png", "ablation.svg", "contact_sheet_features.png",
        "contact_sheet_raw_directions.png", "contact_sheet_centred_directions.png",
    } <= names  # fmt: skip
    assert "concepts.csv" not in names
    capsys.readouterr()
    assert main(["show", "run", str(run)]) == 0
    said = capsys.readouterr().out
    assert max(map(len, said.split("\nEverything")[0].splitlines())) <= 80
    assert "Largest features (no outlier by the rule), of 128\n" in said
    assert "What this says" in said
    with (run / "ablations.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    record = read_ablation(run / "results.json")
    assert len(rows) == 4 * len(record.ablations)
    assert float(rows[3]["accuracy"]) == pytest.approx(record.ablations[0].shifts_mean)
    pairs = [(one, name) for one in record.ablations for name in (*SETS, "shifts")]
    for row, (one, name) in zip(rows, pairs, strict=True):
        assert (row["set"], row["kind"], row["places"]) == (name, one.kind, " ".join(map(str, one.places)))
        if (told := one.differences.get(name)) is not None:
            found = [float(row[f"difference{key}"]) for key in ("", "_low", "_high")]
            assert found == [told.estimate, told.low, told.high]
        moved = sum(one.changed[other] for other in SETS[1:]) if name == "shifts" else one.changed[name]
        assert int(row["changed"]) == moved


def test_an_inner_layer_against_hooked_models(folder, capsys):
    assert ablate("--layer", LAYER, "--features", "2") == 0
    record = read_ablation(results(folder) / "results.json")
    naive = Naive(layer=LAYER)
    assert (record.layer, record.at_head, len(record.groups)) == (LAYER, False, 1)
    assert record.form.endswith("features, mean over 64 positions")
    pooled = naive.calibration.mean(axis=(2, 3))
    z = np.abs(pooled - pooled.mean(axis=1, keepdims=True)) / pooled.std(axis=1, keepdims=True)
    (group,) = record.groups
    rate = (z > 6).mean(axis=0)
    if group.by_rule:
        assert set(group.members) <= set(np.flatnonzero(rate >= 0.06))
    else:
        assert group.members == tuple(np.argsort(-z.mean(axis=0), kind="stable")[:2])
    positions = naive.calibration
    for unit in record.units:
        values = positions[:, unit.index]
        assert (unit.mean, unit.std) == pytest.approx((values.mean(), values.std()), rel=1e-5)
        assert math.isnan(unit.importance)
    seen = set()
    for one in record.ablations:
        what = (one.kind, one.together, one.control)
        if what in seen or (one.control and one.together) or (one.kind != "zero" and (one.control or one.together)):
            continue
        seen.add(what)

        def change(maps, one=one):
            maps = maps.copy()
            for k in one.members:
                maps[:, k] = limited(maps[:, k], positions[:, k], one.kind)
            return maps

        found = naive.right(change)
        assert {row.set: (row.correct, row.matched_correct) for row in one.rows} == {
            name: (int(right.sum()), matched) for name, (right, matched) in found.items()
        }, what
    assert any(one.changed["reference"] for one in record.ablations)
    assert "the first of each draw alone" in " ".join(capsys.readouterr().out.split())
    tensors = load_file(results(folder) / "directions.safetensors")
    drawn = {f"features.random_features.{draw}" for draw in (0, 1)}
    limits = ("vectors", "mean", "std", "low", "high")
    assert set(tensors) == {f"{key}.{name}" for key in drawn for name in limits} | {
        "features", "mean", "units.vectors", "units.mean", "units.std", "units.low", "units.high",
    }  # fmt: skip
    np.testing.assert_allclose(tensors["mean"], pooled.mean(axis=0), atol=1e-5)
    table = pyarrow.parquet.read_table(results(folder) / "scores.parquet").to_pydict()
    h = np.concatenate([naive.features(loader.batches) for loader in naive.loaders]).mean(axis=(2, 3))
    np.testing.assert_allclose(table[f"feature_{group.members[0]}"], h[:, group.members[0]], atol=1e-5)


@pytest.fixture
def planted(folder):
    """A classifier with an outlier feature: one coordinate of h is far out on every image."""
    tower = ImageTower(load_encoder("scenes-clip").model.visual)
    with torch.no_grad():
        tower.visual.attnpool.c_proj.bias[5] += 5000
    head = load_network("scenes-clip", class_names=NAMES, templates=["{}"]).head
    save_classifier(folder / "planted", ImageClassifier(tower, head), encoder="scenes-clip", class_names=NAMES)
    return "planted"


def test_an_outlier_is_found_by_the_rule_and_what_it_does_is_seen(folder, planted, capsys):
    assert ablate("--directions", "0", "--images", "0", model=planted, pictures=True) == 0
    record = read_ablation(results(folder) / "results.json")
    (group,) = record.groups
    assert (group.words, group.members, group.by_rule, group.found) == ("outlier features", (5,), True, 1)
    (unit,) = record.units
    assert unit.far_out == 1
    assert unit.share > 0.9
    assert unit.top == unit.bottom == ()
    (alone,) = record.ablations_of(group, "zero", together=False)
    (together,) = record.ablations_of(group, "zero", together=True)
    assert alone.rows == together.rows  # a group of one
    draws = record.ablations_of(group, "zero", together=False, control="random features")
    assert len(draws) == 2
    assert all(5 not in one.members for one in draws)
    naive = Naive(planted)
    found = naive.right(lambda h: without(h, np.eye(128)[:, [5]], naive.calibration, "zero"))
    assert [row.correct for row in alone.rows] == [int(found[name][0].sum()) for name in SETS]
    said = capsys.readouterr().out
    assert "Outlier features, of 128" in said
    assert "stand in" not in said
    assert not list(results(folder).glob("contact_sheet*"))
    assert not (results(folder) / "top_images").exists()


@pytest.mark.slow
def test_concepts_are_ranked_as_sklearn_does(folder):
    assert ablate("--directions", "1", "--features", "1", "--concepts", "scenes?n=300", "--images", "1") == 0
    record = read_ablation(results(folder) / "results.json")
    network = load_network("scenes-clip", class_names=NAMES, templates=["{}"])
    concepts = open_concept_set("scenes?n=300", network.transform)
    with torch.no_grad():
        h = network.model.encode(torch.stack([concepts[k][0] for k in range(300)])).double().numpy()
    h /= np.linalg.norm(h, axis=1, keepdims=True)
    vectors = load_file(results(folder) / "directions.safetensors")["units.vectors"]
    labels = concepts.all_labels()
    for unit, u in zip(record.units, vectors.T, strict=True):
        assert len(unit.concepts) == 5
        found = {}
        for k, name in enumerate(concepts.concepts):
            known = labels[:, k] >= 0
            y = labels[known, k]
            if min(y.sum(), len(y) - y.sum()) >= 10 and y.mean() <= 0.5:
                found[name] = max(average_precision_score(y, sign * (h[known] @ u)) for sign in (1, -1))
        assert unit.concepts[0].average_precision == pytest.approx(max(found.values()), abs=1e-4)
        assert found[unit.concepts[0].concept] == pytest.approx(unit.concepts[0].average_precision, abs=1e-4)
    best = []
    for u in random_rotation(128, 3, 0).numpy().T:
        found = []
        for k in range(len(concepts.concepts)):
            known = labels[:, k] >= 0
            y = labels[known, k]
            if min(y.sum(), len(y) - y.sum()) >= 10 and y.mean() <= 0.5:
                found += [average_precision_score(y, sign * (h[known] @ u)) for sign in (1, -1)]
        best.append(max(found))
    assert record.random_concepts == pytest.approx(best, abs=1e-4)
    assert record.random_concepts != pytest.approx([unit.concepts[0].average_precision for unit in record.units])
    with (results(folder) / "concepts.csv").open(newline="") as file:
        assert len(list(csv.DictReader(file))) == 15


def test_clip_takes_other_limits(folder):
    assert ablate("--features", "1", "--directions", "0", "--images", "0", "--clip", "0") == 0
    record = read_ablation(results(folder) / "results.json")
    assert record.clip_at == 0
    assert (record.units[0].low, record.units[0].high) == (record.units[0].mean, record.units[0].mean)
    limited_, mean = (record.ablations_of(record.groups[0], kind, together=True)[0] for kind in ("clip", "mean"))
    assert limited_.rows == mean.rows  # no deviation from the mean is left


def test_a_set_with_class_names_of_its_own_is_answered_by_its_own_head(folder, monkeypatch, images):
    place(folder, monkeypatch, images, own_names=True)
    assert ablate("--features", "0", "--directions", "2", "--images", "0") == 0
    record = read_ablation(results(folder) / "results.json")
    naive = Naive()
    group = record.groups[0]
    (one,) = record.ablations_of(group, "zero", together=True)
    units = units_of(one, naive, 2)
    for rows, change in ((record.untouched, None), (one.rows, lambda h: without(h, units, naive.calibration, "zero"))):
        assert {row.set: (row.correct, row.matched_correct) for row in rows} == {
            name: (int(right.sum()), matched) for name, (right, matched) in naive.right(change).items()
        }


@pytest.mark.parametrize("layer", ["head", "head:input"])
def test_a_head_that_a_set_passes_by_is_refused(folder, monkeypatch, images, capsys, layer):
    place(folder, monkeypatch, images, own_names=True)
    assert ablate("--layer", layer, "--features", "1") == 2
    said = capsys.readouterr().err
    assert f"shift is answered by a head of its own class names, which passes --layer {layer} by: leave --layer" in said
    assert not (folder / "checkpoints").exists()


def test_a_model_whose_features_are_no_numbers_is_refused(folder, capsys):
    tower = ImageTower(load_encoder("scenes-clip").model.visual)
    with torch.no_grad():
        tower.visual.attnpool.c_proj.bias[5] = math.nan
    save_classifier(
        folder / "broken", ImageClassifier(tower, torch.randn(4, 128)), encoder="scenes-clip", class_names=NAMES
    )
    for layer in ([], ["--layer", "encoder.visual"], ["--layer", "encoder.visual.attnpool"]):
        assert ablate(*layer, model="broken") == 2
        assert "no calibration image has finite features" in capsys.readouterr().err
    assert not (folder / "checkpoints").exists()


def test_half_of_the_judged_images_calibrate(folder):
    assert ablate("--features", "1", "--directions", "0", "--images", "1", "--calibration", "half") == 0
    record = read_ablation(results(folder) / "results.json")
    assert (record.calibration, record.untouched[0].images) == (24, 24)
    with (results(folder) / "images.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["place"]) for row in rows if row["set"] == "reference"] == list(range(1, 48, 2))
    naive = Naive()
    h = np.concatenate([naive.features(loader.batches) for loader in naive.loaders])
    name = f"feature_{record.units[0].index}"
    found = pyarrow.parquet.read_table(results(folder) / "scores.parquet").to_pydict()[name]
    np.testing.assert_allclose(found[:24], h[1:48:2, record.units[0].index], atol=1e-5)
    assert record.units[0].mean == pytest.approx(h[0:48:2, record.units[0].index].mean(), rel=1e-5)


def test_without_shifts(folder, monkeypatch, images):
    place(folder, monkeypatch, images, shifts=0)
    assert ablate("--features", "1", "--directions", "1", "--images", "1") == 0
    record = read_ablation(results(folder) / "results.json")
    assert all(set(one.differences) <= {"reference"} for one in record.ablations)
    assert all(len(one.rows) == 1 for one in record.ablations)


def test_an_image_that_cannot_be_read_is_named_and_left_out(folder, monkeypatch, tmp_path_factory, capsys):
    root = tmp_path_factory.mktemp("damaged")
    write_apart(root)
    first = sorted((root / "reference" / NAMES[0]).glob("*.png"))[0]
    first.write_bytes(b"no image")
    place(folder, monkeypatch, root)
    assert ablate("--features", "1", "--directions", "0", "--images", "1") == 0
    record = read_ablation(results(folder) / "results.json")
    assert record.untouched[0].images == 47
    assert sum(str(first) in sentence for sentence in record.conventions) == 1
    assert str(first) in capsys.readouterr().out.replace("\n", "")
    with (results(folder) / "images.csv").open(newline="") as file:
        assert str(first) not in [row["path"] for row in csv.DictReader(file)]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--layer", "encoder.visual.layer9"], "has no layer 'encoder.visual.layer9'; near names: "),
        (["--layer", "encoder.visual.layer?"], "names 4 layers, the first encoder.visual.layer1: name one"),
        (["--layer", ""], "--layer takes a layer inside the network"),
        (["--layer", LAYER, "--directions", "3"], f"--directions has no effect at {LAYER}"),
        (["--layer", LAYER, "--features", "0"], "--features 0 leaves nothing to ablate at an inner layer"),
        (
            ["--layer", "encoder.visual.attnpool.q_proj", "--features", "1"],
            "--layer encoder.visual.attnpool.q_proj is never called in the forward pass, which may use its weights "
            "without it: name another layer, such as encoder.visual.attnpool, which it is in",
        ),
        (["--features", "0", "--directions", "0"], "nothing is left to ablate"),
        (["--concepts", "nowhere"], "nowhere"),
        (["--run_name", "a/b"], "a run's name is one folder name"),
        (["--split", "train"], "invalid choice"),
        (["--clip", "-1"], "'-1' is not a number of standard deviations, 0 or more"),
    ],
)
def test_bad_input_is_one_sentence_and_leaves_nothing(folder, capsys, arguments, sentence):
    try:
        code = ablate(*arguments)
    except SystemExit as end:
        code = end.code
    assert code == 2
    said = capsys.readouterr().err
    assert sentence in said
    assert "Traceback" not in said
    assert not (folder / "checkpoints").exists()


def test_a_path_of_models_is_refused(folder, capsys):
    (folder / "run" / "wise_ft").mkdir(parents=True)
    for alpha in ("0.00", "1.00"):
        (folder / "run" / "wise_ft" / f"alpha={alpha}.safetensors").write_bytes(b"")
    assert ablate(model="run") == 2
    assert (
        "run is a path of 2 models and ablate takes one: name a file, run/wise_ft/alpha=1.00" in capsys.readouterr().err
    )


def test_a_run_that_fails_at_the_end_leaves_no_folder(folder, monkeypatch):
    def broken(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(lightning_robust.report, "write_ablation_figures", broken)
    assert ablate("--features", "1", "--directions", "0", "--images", "0", pictures=True) != 0
    assert not results(folder).exists()


@pytest.mark.slow
def test_the_same_seed_gives_the_same_record(folder):
    for name in ("one", "two"):
        assert ablate("--features", "1", "--directions", "1", "--images", "0", "--run_name", name) == 0
    one, two = (json.loads((results(folder, name) / "results.json").read_text()) for name in ("one", "two"))
    for data in (one, two):
        data.pop("provenance")
    assert one == two


@pytest.mark.parametrize("layer", [[], ["--layer", LAYER]])
def test_batch_norms_of_random_weights_have_statistics_of_the_calibration_images(folder, layer):
    assert ablate(*layer, "--features", "1", model="untrained:scenes-clip") == 0
    found = read_ablation(results(folder) / "results.json")
    network = load_network("untrained:scenes-clip", class_names=NAMES, templates=open_data("toy.yaml").templates)
    data = open_data("toy.yaml", network.transform)
    calibrate_untrained(network.model, (batch[0] for batch in data.val_dataloader()[0]))
    with torch.no_grad():
        right = sum(int((network.model(batch[0]).argmax(1) == batch[1]).sum()) for batch in data.test_dataloader()[0])
    assert found.untouched[0].correct == right
    assert UNTRAINED_WORDS in found.conventions
