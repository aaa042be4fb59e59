"""`prune`: every curve against a naive loop over pruned models, headlines found again, what is refused."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from toy_evaluation_data import NAMES, Toy
from toy_pruning_data import write_apart

from lightning_robust.cli.data_spec import open_data
from lightning_robust.cli.evaluate_answers import unpack
from lightning_robust.cli.evaluate_asked import asked_models
from lightning_robust.cli.evaluate_models import load_models
from lightning_robust.cli.evaluate_pass import answers_of
from lightning_robust.cli.evaluate_sets import evaluation_sets, ordered_loaders
from lightning_robust.cli.head_features import UNTRAINED_WORDS
from lightning_robust.cli.main import main
from lightning_robust.cli.processes import Processes
from lightning_robust.cli.prune_outcome import near_chance
from lightning_robust.models import ImageClassifier, interpolate, load_encoder, save_tensors, split_classifier_state
from lightning_robust.models.bundled import save_classifier
from lightning_robust.models.image_tower import ImageTower
from lightning_robust.models.networks import load_network
from lightning_robust.results import collect_provenance, read_evaluation
from lightning_robust.results.baseline_record import BaselineRecord, ModelAccuracies, write_baseline
from lightning_robust.results.prune_record import PRUNE_ORDERS, read_pruning
from lightning_robust.robustness import load_baseline
from lightning_robust.signatures import random_head

HERE = Path(__file__).parent
SEEDS = (0, 1)
BOTH = ("importance", "smallest_first", "random", "reduced_rank", "random_head")


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    root = tmp_path_factory.mktemp("toy")
    write_apart(root)
    return root


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch, images):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.syspath_prepend(str(HERE))
    monkeypatch.setattr("lightning_robust.report.write_pruning_figures", lambda *_: [])  # but in `pruned`
    write_config(tmp_path / "toy.yaml", images)
    return tmp_path


def write_config(path, root, **options):
    section = {"class_path": "toy_pruning_data.Apart", "init_args": {"root": str(root), **options}}
    path.write_text(yaml.safe_dump({"data": section}))


def prune(*arguments, data="toy.yaml"):
    return main(["prune", "--device", "cpu", "--data", data, *arguments])


def results(folder, run="001"):
    return read_pruning(folder / "checkpoints" / "prune" / run / "results.json")


class Naive:
    """Whole models whose head or features are changed, run over the images by `evaluate`'s own pass."""

    def __init__(self, word, data="toy.yaml"):
        self.data = open_data(data)
        self.sets = evaluation_sets(self.data, "test")
        self.loaded = load_models(asked_models([word])[0], self.data, self.sets, 0)
        self.data.transform = self.loaded.transform
        self.loaders = ordered_loaders(self.data, "test", 1)
        self.head = self.loaded.module.head.weight.detach().clone()
        calibration = ordered_loaders(self.data, "val", 1)[0]
        with torch.no_grad():
            batches = [self.loaded.module.encode(batch[0]) for batch in calibration.batches]
        self.calibration = torch.cat(batches).double().numpy()

    def correct(self, head=None, zeroed=()):
        """By set, which images are right; and which reference images of the shift's classes."""
        module, handle = self.loaded.module, None
        with torch.no_grad():
            module.head.weight.copy_(self.head if head is None else torch.as_tensor(head))
        if len(zeroed):
            keep = torch.ones(self.head.shape[1])
            keep[list(zeroed)] = 0
            handle = module.encoder.visual.register_forward_hook(lambda _m, _i, out: out * keep)
        (answers,) = answers_of(
            self.loaded, self.loaded.candidates, self.sets, self.loaders, Processes(), torch.device("cpu")
        )
        if handle is not None:
            handle.remove()
        return {one.set: (int(unpack(one.correct, one.images).sum()), one.matched_correct) for one in answers.sets}

    def directions(self, form, head=None):
        """Right singular vectors and their importance, by numpy."""
        W = (self.head if head is None else head).double().numpy()
        W = W - W.mean(0) if form == "centred" else W
        _, s, Vt = np.linalg.svd(W, full_matrices=False)
        r = len(W) - (form == "centred")
        unit = self.calibration / np.linalg.norm(self.calibration, axis=1, keepdims=True)
        return W, Vt[:r], s[:r] * np.abs(unit @ Vt[:r].T).mean(0)

    def pruned_head(self, form, order, k, seed=0):
        other = random_head(self.head, seed) if order == "random_head" else self.head
        W, Vt, importance = self.directions(form, other)
        if order == "reduced_rank":
            unit = self.calibration / np.linalg.norm(self.calibration, axis=1, keepdims=True)
            U = np.linalg.eigh((unit @ W.T).T @ (unit @ W.T))[1][:, ::-1][:, :k]
            return U @ U.T @ W
        places = {
            "importance": lambda: np.argsort(-importance),
            "random_head": lambda: np.argsort(-importance),
            "smallest_first": lambda: np.argsort(importance),
            "random": lambda: torch.randperm(len(Vt), generator=torch.Generator().manual_seed(seed)).numpy(),
        }[order]()
        kept = Vt[places[:k]]
        return other.double().numpy() @ kept.T @ kept


@pytest.fixture(scope="module")
def pruned(tmp_path_factory, images):
    """One run of the command that many tests look at."""
    with pytest.MonkeyPatch.context() as patch:
        here = tmp_path_factory.mktemp("pruned")
        patch.chdir(here)
        patch.syspath_prepend(str(HERE))
        write_config(here / "toy.yaml", images)
        baseline_file(here / "toy.json")
        twin = ImageClassifier(
            ImageTower(load_encoder("scenes-clip").model.visual),
            torch.randn(4, 128, generator=torch.Generator().manual_seed(1)),
        )
        save_classifier(here / "twin", twin, encoder="scenes-clip", class_names=NAMES)
        assert (
            prune(
                "--model",
                "scenes-clip",
                "--seeds",
                "2",
                "--baseline",
                "toy.json",
                "--supervised",
                "twin",
                "--points",
                "3",
            )
            == 0
        )
        return here


@pytest.fixture(scope="module")
def record(pruned):
    return results(pruned)


@pytest.fixture
def naive(folder):
    return Naive("scenes-clip")


def baseline_file(path):
    rng = np.random.default_rng(0)
    models = []
    for k in range(14):
        p = 0.3 + 0.04 * k
        shifts = {"shift": p * 0.6 + 0.02 * rng.random(), "all": p * 0.5 + 0.02 * rng.random()}
        models.append(ModelAccuracies(f"m{k}", p, shifts, {"shift": min(1.0, p + 0.05)}))
    counts = {"reference": 1000, "shift": 500, "all": 500, "matched/shift": 700}
    record = BaselineRecord(
        name="toy", description="fourteen invented models", protocols={}, images=counts, scale="logit", x="matched",
        aggregate="er", models=tuple(models), provenance=collect_provenance(threads=1),
    )  # fmt: skip
    write_baseline(record, path)


@pytest.mark.parametrize("form", ["raw", "centred"])
@pytest.mark.parametrize("order", BOTH)
def test_directions_against_a_naive_loop_over_pruned_models(record, naive, form, order):
    model = record.models[0]
    curve = model.curve(order, form)
    r = 4 if form == "raw" else 3
    assert (curve.total, curve.kept, curve.of) == (r, tuple(range(r, -1, -1)), "directions")
    seeds = SEEDS if order.startswith("random") else ()
    assert curve.seeds == seeds
    for draw, seed in enumerate(seeds or (0,)):
        for place, k in enumerate(curve.kept[:-1]):
            expected = naive.correct(naive.pruned_head(form, order, k, seed))
            assert {name: curve.correct[name][draw][place] for name in expected} == {
                name: right for name, (right, _) in expected.items()
            }
    assert len(set(curve.correct["reference"][0])) > 1


@pytest.mark.parametrize("order", ["outlier_features", "random_features"])
def test_features_against_a_naive_loop_over_hooked_models(record, naive, order):
    curve = record.models[0].curve(order)
    h = naive.calibration
    z = np.abs(h - h.mean(1, keepdims=True)) / h.std(1, keepdims=True)
    order_of = {
        "outlier_features": lambda _: np.lexsort((-z.mean(0), -(z > 6).mean(0))) if ((z > 6).mean(0) >= 0.06).any()
        else np.argsort(-z.mean(0)),
        "random_features": lambda seed: torch.randperm(128, generator=torch.Generator().manual_seed(seed)).numpy(),
    }[order]  # fmt: skip
    assert (curve.total, curve.of, curve.form) == (128, "features", "")
    assert curve.kept[0] == 128
    assert curve.kept[-1] == 0
    for draw, seed in enumerate(curve.seeds or (0,)):
        goes = order_of(seed)
        for place in (0, 1, 20, 40, len(curve.kept) - 2):
            expected = naive.correct(zeroed=goes[: 128 - curve.kept[place]])
            for name, (right, _) in expected.items():
                assert curve.correct[name][draw][place] == right


def test_the_whole_model_is_what_evaluate_says(folder, pruned, record):
    (folder / "toy.json").write_bytes((pruned / "toy.json").read_bytes())
    assert main(["evaluate", "--device", "cpu", "--data", "toy.yaml", "--model", "scenes-clip",
                 "--baseline", "toy.json"]) == 0  # fmt: skip
    expected = read_evaluation(folder / "checkpoints" / "evaluate" / "001" / "results.json").models[0]
    model = record.models[0]
    assert model.unpruned.rows == expected.rows
    assert model.unpruned.robustness == expected.robustness
    assert (model.name, model.origin, model.checkpoint_hash) == (
        expected.name, expected.origin, expected.checkpoint_hash,
    )  # fmt: skip
    for curve in model.curves:
        if curve.order == "random_head":
            continue
        for row in expected.rows:
            assert [counts[0] for counts in curve.correct[row.set]] == [row.correct] * curve.draws
            assert [counts[0] for counts in curve.agreement[row.set]] == [row.images] * curve.draws


def test_a_model_at_chance_has_nothing_to_lose(folder, capsys, record):
    assert prune("--model", "untrained:scenes-clip", "--seeds", "1") == 0
    found = results(folder)
    (model,) = found.models
    said = near_chance(model, 0.01)
    last = model.accuracies(model.curve("importance", "raw"), "reference")[0][-1]
    assert model.unpruned.reference - last <= 0.05, "the toy's untrained model has learnt something"
    assert f"is right on {100 * model.unpruned.reference:.1f} % of reference and on {100 * last:.1f} %" in said
    assert said in found.conventions
    assert f"warning: {said}" in capsys.readouterr().err
    assert said.endswith("how much can go for 1 point of accuracy says nothing")
    assert model.near_chance
    assert UNTRAINED_WORDS in found.conventions
    assert near_chance(record.models[0], 0.03) is None
    assert not record.models[0].near_chance
    assert UNTRAINED_WORDS not in record.conventions
    assert any("at most 3 points of accuracy" in sentence for sentence in record.conventions)
    assert any("at most 1 point of accuracy" in sentence for sentence in found.conventions)


def test_the_folder_holds_everything(pruned):
    files = {path.name for path in (pruned / "checkpoints" / "prune" / "001").iterdir()}
    assert files >= {"results.json", "curves.csv", "curves.png", "curves.svg", "headlines.png", "headlines.svg"}


def test_every_control_is_there(record):
    asked, twin = record.models
    assert (asked.role, twin.role, record.twin) == ("asked", "supervised twin", "twin")
    assert record.missing == ()
    for model in record.models:
        found = [(curve.order, curve.form) for curve in model.curves]
        assert sorted(found) == sorted(
            [(order, form) for order in BOTH for form in ("raw", "centred")]
            + [("outlier_features", ""), ("random_features", "")]
        )
        assert {order for order, _ in found} == set(PRUNE_ORDERS)
        for curve in model.curves:
            what = {"agreement"} if curve.order in ("importance", "reduced_rank", "random_head") else set()
            what |= set() if curve.order == "random_head" else {"reference", "shifts"}
            assert set(curve.headlines) == what
            assert all(len(found) == curve.draws for found in curve.headlines.values())
            assert curve.draws == (2 if curve.order.startswith("random") else 1)
    assert (asked.d, asked.rank_raw, asked.rank_centred, asked.null) == (128, 4, 3, 124)
    assert not asked.comparable
    assert asked.calibration_images == 80


def test_headlines_are_found_again_in_the_table(pruned, record):
    with (pruned / "checkpoints" / "prune" / "001" / "curves.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    checked = 0
    for model in record.models:
        whole = {row.set: row.accuracy for row in model.unpruned.rows}
        for curve in model.curves:
            for draw in range(curve.draws):
                seed = str(curve.seeds[draw]) if curve.seeds else ""
                mine = [row for row in rows if (row["model"], row["order"], row["form"], row["seed"])
                        == (model.name, curve.order, curve.form, seed)]  # fmt: skip
                assert len(mine) == len(curve.kept) * 3
                for what, headlines in curve.headlines.items():
                    sets = ["shift", "all"] if what == "shifts" else ["reference"]
                    column = "agreement" if what == "agreement" else "accuracy"
                    before = 1.0 if what == "agreement" else np.mean([whole[name] for name in sets])
                    fits = [
                        k for k in curve.kept[:-1]
                        if np.mean([float(row[column]) for row in mine if int(row["kept"]) == k and row["set"] in sets])
                        >= before - 0.03 - 1e-9
                    ]  # fmt: skip
                    assert headlines[draw].kept == min(fits)
                    assert headlines[draw].fraction.estimate == pytest.approx(1 - min(fits) / curve.total)
                    assert headlines[draw].fraction.low <= headlines[draw].fraction.high
                    checked += 1
    assert checked == 2 * (2 * (2 * 3 + 2 + 2 * 2 + 2) + 2 + 4)


def test_effective_robustness_along_the_curve_and_its_intervals(pruned, record, naive):
    baseline = load_baseline(pruned / "toy.json")
    curve = record.models[0].curve("importance", "centred")
    counts = {"reference": 48, "shift": 36, "all": 36, "matched/shift": 36, "matched/all": 48}
    for place, k in enumerate(curve.kept[:-1]):
        right = naive.correct(naive.pruned_head("centred", "importance", k))
        reference = {
            "reference": right["reference"][0] / 48, "shift": right["shift"][1] / 36, "all": right["all"][1] / 48
        }  # fmt: skip
        shifted = {"shift": right["shift"][0] / 36, "all": right["all"][0] / 36}
        expected = baseline.effective_robustness(reference, shifted, counts, seed=0)
        assert curve.robustness[0][place] == pytest.approx(expected.mean.estimate)
        assert curve.extrapolated[0][place] == expected.mean.extrapolated
        if str(k) in curve.judged:
            assert curve.judged[str(k)].robustness == expected
            assert [row.correct for row in curve.judged[str(k)].rows] == [right[name][0] for name in right]
    assert {"3", "2", "1"} == set(curve.judged)
    assert {str(curve.headlines[what][0].kept) for what in ("reference", "shifts")} <= set(curve.judged)


def test_nothing_that_is_judged_has_a_say_in_an_order(folder, images, record, tmp_path_factory):
    """Other judged images, the same calibration images: the same features and directions go."""
    root = tmp_path_factory.mktemp("other")
    write_apart(root)
    reference = sorted((root / "reference").rglob("*.png"))
    for path in reference[: len(reference) // 2]:
        path.unlink()
    write_config(folder / "other.yaml", root)
    assert prune("--model", "scenes-clip", "--seeds", "2", "--points", "3", data="other.yaml") == 0
    model, before = results(folder).models[0], record.models[0]
    for curve in before.curves:  # the shifts are the same images
        other = model.curve(curve.order, curve.form)
        places = [curve.kept.index(k) for k in other.kept if k in curve.kept]
        theirs = [other.kept.index(curve.kept[place]) for place in places]
        for name in ("shift", "all"):
            for draw in range(curve.draws):
                assert [curve.correct[name][draw][place] for place in places] == [
                    other.correct[name][draw][place] for place in theirs
                ]
    assert model.unpruned.rows[0].images < before.unpruned.rows[0].images
    assert (model.privileged_raw, model.outliers_by_rule) == (before.privileged_raw, before.outliers_by_rule)


def path_folder(folder, alphas=(0.0, 0.5, 1.0)):
    """A run's folder with a Wise-FT path, as `fit` leaves it."""
    encoder = load_encoder("scenes-clip")
    head = load_network("scenes-clip", class_names=NAMES, templates=Toy(".").templates).head
    theta0 = {k: v.clone() for k, v in ImageClassifier(encoder.model, head).state_dict().items()}
    generator = torch.Generator().manual_seed(0)
    theta1 = {
        name: value + 0.7 * value.std() * torch.randn(value.shape, generator=generator) if value.ndim > 1 else value
        for name, value in theta0.items()
    }
    for alpha in alphas:
        clip, head = split_classifier_state(interpolate(theta0, theta1, alpha))
        save_tensors(folder / "wise_ft" / f"alpha={alpha:.2f}.safetensors", clip)
        save_tensors(folder / "wise_ft" / f"alpha={alpha:.2f}.head.safetensors", head)
    settings = {"model": {"class_path": "x.ClassifierFinetuning", "init_args": {"encoder": "scenes-clip"}}}
    (folder / "config.yaml").write_text(yaml.safe_dump(settings))


def test_a_path_in_one_pass_and_some_of_its_points(folder, capsys, monkeypatch):
    path_folder(folder / "run")
    monkeypatch.setenv("TOY_LOG", str(folder / "log"))
    assert prune("--model", "run", "--seeds", "1", "--run_name", "all") == 0
    assert len((folder / "log").read_text().splitlines()) == 80 + 48 + 36 + 36  # calibration images, and each set once
    whole = results(folder, "all")
    assert [model.alpha for model in whole.models] == [0.0, 0.5, 1.0]
    assert any("--supervised MODEL names a model" in sentence for sentence in whole.missing)
    assert prune("--model", "run", "--seeds", "1", "--alpha", "1", "0.5", "--run_name", "some") == 0
    assert results(folder, "some").models == whole.models[1:]
    file = folder / "run" / "wise_ft" / "alpha=0.50.safetensors"
    assert prune("--model", str(file), "--seeds", "1", "--run_name", "file") == 0
    (alone,) = results(folder, "file").models
    assert [curve.correct for curve in alone.curves] == [curve.correct for curve in whole.models[1].curves]
    assert len({str(model.curves) for model in whole.models}) == 3
    capsys.readouterr()
    assert prune("--model", "run", "--alpha", "0.3") == 2
    assert "run has no file of α = 0.3: it has 0, 0.5, 1" in capsys.readouterr().err


@pytest.mark.parametrize("shifts", [0, 1])
def test_few_shifts_or_none(folder, images, shifts):
    write_config(folder / "few.yaml", images, shifts=shifts)
    assert prune("--model", "scenes-clip", "--seeds", "1", data="few.yaml") == 0
    (model,) = results(folder).models
    names = ["reference", "shift"][: 1 + shifts]
    assert [row.set for row in model.unpruned.rows] == names
    assert (model.unpruned.shifts_mean is None) == (shifts == 0)
    for curve in model.curves:
        assert list(curve.correct) == names
        if curve.order != "random_head":
            assert [what for what in curve.headlines if what != "agreement"] == ["reference", "shifts"][: 1 + shifts]
    curve = model.curve("importance", "raw")
    assert len(model.shift_accuracies(curve)) == shifts


def test_a_set_with_class_names_of_its_own(folder, images):
    """Its head reads what is kept of the model's directions."""
    write_config(folder / "own.yaml", images, own_names=True)
    assert prune("--model", "scenes-clip", "--seeds", "1", data="own.yaml") == 0
    record = results(folder)
    naive = Naive("scenes-clip", "own.yaml")
    own = naive.loaded.own_heads["shift"]
    curve = record.models[0].curve("importance", "raw")
    _, Vt, importance = naive.directions("raw")
    kept = Vt[np.argsort(-importance)]
    rules = {one.name: one for one in naive.sets}
    naive.data.transform = naive.loaded.transform
    loader = ordered_loaders(naive.data, "test", 1)[1]
    with torch.no_grad():
        pairs = [(naive.loaded.module.encode(batch[0]).double(), batch[1]) for batch in loader.batches]
    unit = torch.nn.functional.normalize(torch.cat([h for h, _ in pairs]), dim=1).numpy()
    group_of = {index: k for k, group in enumerate(rules["shift"].groups) for index in group}
    targets = [group_of[int(t)] for _, ts in pairs for t in ts]
    for place, k in enumerate(curve.kept[:-1]):
        logits = own.double().numpy() @ (kept[:k].T @ kept[:k] @ unit.T)
        assert curve.correct["shift"][0][place] == int((logits.argmax(0) == targets).sum())
    assert any("has lost the null space" in sentence for sentence in record.conventions)
    # a random head in place of both: its own directions, and random weights in place of the set's own head
    curve = record.models[0].curve("random_head", "raw")
    _, Vt, importance = naive.directions("raw", random_head(naive.head, 0))
    kept, weight = Vt[np.argsort(-importance)], random_head(own, 0).double().numpy()
    answers = [(weight @ (kept[:k].T @ kept[:k] @ unit.T)).argmax(0) for k in curve.kept]
    assert curve.agreement["shift"][0] == tuple(int((at_k == answers[0]).sum()) for at_k in answers)
    assert curve.correct["shift"][0] == tuple(int((at_k == targets).sum()) for at_k in answers)
    assert len(set(curve.agreement["shift"][0])) > 2


def labels_alone(folder):
    head = torch.randn(4, 128, generator=torch.Generator().manual_seed(0))
    model = ImageClassifier(ImageTower(load_encoder("scenes-clip").model.visual), head)
    save_classifier(folder, model, encoder="scenes-clip", class_names=NAMES)


def test_a_twin_that_was_asked_for_serves_the_others_in_one_pass(folder, capsys, monkeypatch):
    labels_alone(folder / "rank1")
    monkeypatch.setenv("TOY_LOG", str(folder / "log"))
    assert prune("--model", "scenes-clip", "./rank1", "--supervised", "rank1", "--seeds", "1") == 0
    assert len((folder / "log").read_text().splitlines()) == 2 * (80 + 48 + 36 + 36)
    record = results(folder)
    assert [(model.name, model.role) for model in record.models] == [("scenes-clip", "asked"), ("./rank1", "asked")]
    assert (record.twin, record.missing) == ("./rank1", ())
    out = " ".join(capsys.readouterr().out.split())
    said = ("Control: of the supervised twin ./rank1, ", "Control: the supervised twin ./rank1 is at chance, ")
    assert sum(out.count(sentence) for sentence in said) == 1
    assert "./rank1 (also the twin): what this says" in out
    assert prune("--model", "rank1", "--supervised", "./rank1", "--seeds", "1") == 0
    record = results(folder, "002")
    assert [(model.name, model.role) for model in record.models] == [("rank1", "asked")]
    (missing,) = record.missing
    assert missing.startswith("rank1 is the supervised twin itself, so it has none: --supervised MODEL names another")
    assert "supervised twin rank1" not in capsys.readouterr().out


def test_a_point_of_a_path_can_be_the_twin_and_a_path_cannot(folder, capsys):
    path_folder(folder / "run", (0.0, 1.0))
    file = str(Path("run") / "wise_ft" / "alpha=1.00.safetensors")
    assert prune("--model", "run", "--supervised", str(folder / file), "--seeds", "1") == 0
    record = results(folder)
    assert [model.alpha for model in record.models] == [0.0, 1.0]
    assert record.twin == record.models[1].name
    assert prune("--model", "run", "--alpha", "0", "--supervised", file, "--seeds", "1") == 0
    record = results(folder, "002")
    assert [(model.alpha, model.role) for model in record.models] == [(0.0, "asked"), (None, "supervised twin")]
    assert record.twin == file
    capsys.readouterr()
    assert prune("--model", "scenes-clip", "--supervised", "run") == 2
    error = capsys.readouterr().err
    assert f"--supervised takes one model, and run is a run with a path: name one of its files, such as {file}" in error
    assert error.count("\n") == 1


def test_unreadable_images_are_named(folder, tmp_path_factory):
    root = tmp_path_factory.mktemp("damaged")
    write_apart(root)
    victim = sorted((root / "shift" / NAMES[2]).iterdir())[0]
    victim.write_bytes(b"no image")
    write_config(folder / "damaged.yaml", root)
    assert prune("--model", "scenes-clip", "--seeds", "1", data="damaged.yaml") == 0
    record = results(folder)
    assert [row.images for row in record.models[0].unpruned.rows] == [48, 35, 35]
    assert sum(victim.name in sentence for sentence in record.conventions) == 2  # once for each set


def test_the_same_call_gives_the_same_figures_whatever_the_batches(folder):
    for run, size in (("a", "7"), ("b", "48")):
        assert prune("--model", "scenes-clip", "--seeds", "1", "--batch_size", size, "--run_name", run) == 0
    first, second = (json.loads((folder / f"checkpoints/prune/{run}/results.json").read_text()) for run in "ab")
    assert first["models"] == second["models"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "--model"),
        (["--model", "nowhere"], "nowhere"),
        (["--model", "scenes-clip", "--points", "x"], "'x' is not a number of accuracy points"),
        (["--model", "scenes-clip", "--points", "-1"], "'-1' is not a number of accuracy points"),
        (["--model", "scenes-clip", "--points", "nan"], "'nan' is not a number of accuracy points"),
        (["--model", "scenes-clip", "--points", "100"], "'100' is not a number of accuracy points"),
        (["--model", "scenes-clip", "--seeds", "0"], "'0' is not a whole number of at least 1"),
        (["--model", "scenes-clip", "--alpha", "0.5"], "--alpha has no effect without a run's folder"),
        (["--model", "scenes-clip", "--alpha", "2"], "'2' is not an α in [0, 1]"),
        (["--model", "scenes-clip", "--alpha", "nan"], "'nan' is not an α in [0, 1]"),
        (["--model", "scenes-clip", "--supervised", "nowhere"], "nowhere"),
        (["--model", "scenes-clip", "--supervised", "scenes-supervised"], "20 classes and the data have 4"),
        (["--model", "scenes-clip", "--seed", "18446744073709551616"], "'18446744073709551616' is not a seed"),
        (["--model", "scenes-clip", "scenes-clip"], "--model names scenes-clip twice"),
        (["--model", "scenes-supervised"], "scenes-supervised has 20 classes and the data have 4"),
        (["--model", "untrained:timm:resnet10t"], "has 1000 classes and the data have 4"),
        (["--model", "scenes-clip", "--device", "tpu9"], "--device 'tpu9' is no device"),
        (["--model", "scenes-clip", "--baseline", "none.json"], "no baseline named 'none.json'"),
        (["--model", "scenes-clip", "--run_name", "a/b"], "a run's name is one folder name"),
        (["--model", "scenes-clip", "--run_name", "there"], "take another --run_name"),
        (["--model", "scenes-clip", "--x", "matched"], "--x has no effect without a baseline"),
        (["--model", "nan-head"], "the weights of its head are not all numbers"),
        (["--model", "zero-head"], "all weights of its head are zero"),
    ],
)
def test_bad_input_is_one_sentence_before_any_image_is_read(folder, capsys, monkeypatch, arguments, sentence):
    monkeypatch.setenv("TOY_LOG", str(folder / "log"))
    for name, value in (("nan-head", torch.nan), ("zero-head", 0.0)):
        if name in arguments:
            model = ImageClassifier(ImageTower(load_encoder("scenes-clip").model.visual), torch.full((4, 128), value))
            save_classifier(folder / name, model, encoder="scenes-clip", class_names=NAMES)
    (folder / "checkpoints" / "prune" / "there").mkdir(parents=True)
    before = set(folder.rglob("*"))
    assert prune(*arguments) == 2
    message = capsys.readouterr().err
    assert sentence in message
    assert message.count("\n") == 1
    assert set(folder.rglob("*")) == before


def test_features_that_are_no_numbers(folder, capsys):
    visual = load_encoder("scenes-clip").model.visual
    model = ImageClassifier(ImageTower(visual), torch.randn(4, 128))
    with torch.no_grad():
        list(model.encoder.visual.parameters())[-1].fill_(torch.nan)
    save_classifier(folder / "lost", model, encoder="scenes-clip", class_names=NAMES)
    assert prune("--model", "lost") == 2
    assert "none of the 80 calibration images has finite features" in capsys.readouterr().err
    assert not (folder / "checkpoints" / "prune").exists()


def test_images_that_are_not_there_leave_no_run(folder, tmp_path_factory, capsys):
    root = tmp_path_factory.mktemp("ruined")
    write_apart(root)
    for path in (root / "shift").rglob("*.png"):
        path.write_bytes(b"")
    write_config(folder / "ruined.yaml", root)
    assert prune("--model", "scenes-clip", data="ruined.yaml") == 2
    assert "images cannot be read" in capsys.readouterr().err
    assert not (folder / "checkpoints" / "prune").exists()


def test_a_run_that_cannot_be_written_whole_is_not_there(folder, monkeypatch):
    from lightning_robust.cli import prune_outcome

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(prune_outcome, "write_table", full)
    with pytest.raises(OSError, match="No space"):
        prune("--model", "scenes-clip", "--seeds", "1")
    assert list((folder / "checkpoints" / "prune").iterdir()) == []
