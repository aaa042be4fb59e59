"""`probe`: what a person types, reads and keeps."""

import csv
import json
import math

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import stats

from lightning_robust.cli.main import main
from lightning_robust.data.image_sets import image_loader, open_images
from lightning_robust.data.scenes.dataset import SceneImages
from lightning_robust.data.scenes.distributions import REFERENCE
from lightning_robust.data.scenes.vocabulary import CLASSES, TEMPLATES
from lightning_robust.models import networks
from lightning_robust.models.batch_norm import batch_norms
from lightning_robust.models.networks import load_network
from lightning_robust.results import read_probe
from lightning_robust.robustness import reference_figures
from lightning_robust.signatures import prediction_confidence

H = "encoder.visual"


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "110")
    return tmp_path


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def probe(*arguments):
    return main(["probe", "--device", "cpu", *arguments])


@pytest.fixture(scope="module")
def features():
    network = load_network("scenes-clip")
    images = torch.cat(list(image_loader(open_images("scenes", network.transform, n=80))))
    with torch.no_grad():
        return network.model(images).double().numpy()


def test_the_bundled_clip_with_concepts(folder, capsys, features):
    assert probe("--model", "scenes-clip", "--max_images", "80", "--concepts", "scenes?n=300") == 0
    out = capsys.readouterr().out
    assert "visual.layer4" in out
    assert "singular vectors" in out
    run = folder / "checkpoints" / "probe" / "001"
    names = {"concepts.csv", "figures.csv", "importance.csv", "probe.png", "results.json", "weights.csv"}
    assert {path.name for path in run.iterdir()} == names
    record = read_probe(run / "results.json")
    assert [layer.name for layer in record.layers] == [*(f"{H}.layer{k}" for k in range(1, 5)), H]
    assert record.layers[0].form == "64 features, mean over 64 positions"
    kurtosis = stats.kurtosis(features, axis=1, fisher=False)
    assert record.scalars[f"kurtosis/{H}"] == pytest.approx(kurtosis.mean(), rel=1e-5)
    assert record.scalars[f"kurtosis/{H}/q95"] == pytest.approx(np.quantile(kurtosis, 0.95), rel=1e-5)
    eigenvalues = np.linalg.eigvalsh(features.T @ features / len(features))[::-1]
    np.testing.assert_allclose(record.curves[f"spectrum/{H}/eigenvalues"][:10], eigenvalues[:10], rtol=1e-4)
    assert list(record.data.images.values()) == [80, 300]
    assert record.model.classes == 20
    figures = {row["tag"]: row["value"] for row in rows(run / "figures.csv")}
    assert float(figures[f"kurtosis/{H}"]) == record.scalars[f"kurtosis/{H}"]
    assert len(figures) == len(record.scalars)


def test_confidence_is_of_the_model_s_own_logits_on_the_classes_of_the_world(folder):
    assert probe("--model", "scenes-clip", "--max_images", "80", "--layers", H) == 0
    record = read_probe(folder / "checkpoints" / "probe" / "001" / "results.json")
    network = load_network("scenes-clip", class_names=CLASSES, templates=TEMPLATES)
    world = SceneImages(REFERENCE, 0, "test", 80, network.transform)
    images, labels = zip(*(world[k] for k in range(80)), strict=True)
    with torch.no_grad():
        logits = network.model(torch.stack(images))
    want = prediction_confidence(logits, torch.tensor(labels))
    names = ("mean", "entropy", "margin", "accuracy", "overconfidence", "ece")
    found = [record.scalars[f"confidence/{name}"] for name in names]
    assert found == pytest.approx([getattr(want, name) for name in names], rel=1e-4)
    assert want.accuracy > 0.7
    assert record.scalars[f"not_finite/{H}/confidence"] == 0
    assert record.curves["confidence/bins/images"] == tuple(want.bin_images.tolist())
    assert [layer.name for layer in record.layers] == [H]  # the logits are no layer
    said = next(sentence for sentence in record.conventions if sentence.startswith("confidence"))
    assert "15 bins of equal width; accuracy on the 80 images" in said
    canonical = reference_figures(record.scalars, [layer.name for layer in record.layers], H)
    assert canonical["confidence/accuracy"] == want.accuracy
    assert canonical["weights/alpha"] > 1
    alphas = [tag for tag in record.scalars if tag.startswith("weights/") and tag.endswith("/alpha")]
    assert len(alphas) == len({row["name"] for row in rows(folder / "checkpoints/probe/001/weights.csv")})


def test_importance_concepts_and_weights_agree_with_their_tables(folder):
    assert probe("--model", "scenes-clip", "--max_images", "9", "--concepts", "scenes?n=300", "--run_name", "a") == 0
    run = folder / "checkpoints" / "probe" / "a"
    record = read_probe(run / "results.json")
    kinds = [(row["form"], row["head"]) for row in rows(run / "importance.csv")]
    controls = ["head", "random head", "random rotation", "reduced-rank regression"]
    assert kinds == [(form, head) for form in ("raw", "centred") for head in controls]
    table = {row["name"]: row for row in rows(run / "weights.csv")}
    name = f"{H}.conv1.weight"
    W = load_network("scenes-clip").model.state_dict()[name].flatten(1).double().numpy()
    sigma = np.linalg.svd(W, compute_uv=False)
    assert float(table[name]["stable_rank"]) == pytest.approx((sigma**2).sum() / sigma[0] ** 2)
    assert "head.weight" in table
    assert not any("transformer" in name for name in table)  # the text tower
    best = max(entry.average_precision for found in record.directions for entry in found.concepts)
    assert best > 0.5
    shares = [found.importance for found in record.directions]
    assert shares == sorted(shares, reverse=True)
    counted = record.curves[f"concepts/{H}/singular_vectors/unique"]
    at = dict(zip(record.curves[f"concepts/{H}/thresholds"], counted, strict=True))
    assert at[0.5] == record.scalars[f"concepts/{H}/singular_vectors/unique_0.5"]


def test_a_network_of_timm_on_a_folder_of_images(folder, capsys):
    rng = np.random.default_rng(0)
    for k in range(6):
        path = folder / "pictures" / "ab"[k % 2] / f"{k}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (40, 50, 3), dtype=np.uint8)).save(path)
    assert probe("--model", "untrained:timm:resnet10t", "--images", "pictures", "--layers", "layer4", "maxpool") == 0
    record = read_probe(folder / "checkpoints" / "probe" / "001" / "results.json")
    assert [layer.name for layer in record.layers] == ["layer4", "maxpool", "fc:input"]
    assert record.model.origin == "random weights, seed 0, batch norms calibrated on the 6 images"
    assert list(record.data.images.values()) == [6]
    assert "importance/fc:input/raw/max_over_median" in record.scalars
    assert 0 < record.scalars["confidence/mean"] <= 1
    assert "confidence/accuracy" not in record.scalars  # folders a and b are no classes that anything says
    assert any("no accuracy, since nothing says" in sentence for sentence in record.conventions)
    assert "Concepts" not in capsys.readouterr().out


def test_two_models_side_by_side_and_an_earlier_probe(folder, capsys):
    models = ["--compare", "scenes-clip", "scenes-supervised"]
    assert probe(*models, "--max_images", "9", "--concepts", "scenes?n=300", "--run_name", "two") == 0
    out = capsys.readouterr().out
    assert "A: scenes-clip" in out
    assert "B: scenes-supervised" in out
    run = folder / "checkpoints" / "probe" / "two"
    assert {path.name for path in run.iterdir()} == {"A", "B", "concepts_A_and_B.csv", "figures.csv", "probe.png"}
    pairs = rows(run / "concepts_A_and_B.csv")
    assert list(pairs[0]) == ["A", "B", "both", "only A", "only B"]
    assert "style:photo" in pairs[0]["both"]
    assert "most important directions, listed in" in " ".join(out.split())
    a, b = read_probe(run / "A" / "results.json"), read_probe(run / "B" / "results.json")
    row = next(row for row in rows(run / "figures.csv") if row["tag"] == f"kurtosis/{H}")
    assert (float(row["A"]), float(row["B"])) == (a.scalars[f"kurtosis/{H}"], b.scalars[f"kurtosis/{H}"])
    assert a.scalars[f"kurtosis/{H}"] != b.scalars[f"kurtosis/{H}"]
    assert main(["probe", "--compare", str(run / "A"), str(run / "B"), "--run_name", "again"]) == 0
    assert read_probe(folder / "checkpoints" / "probe" / "again" / "B" / "results.json") == b
    capsys.readouterr()
    assert main(["probe", "--compare", str(run / "A"), str(run / "B"), "--concepts", "scenes"]) == 2
    assert "--concepts has no effect on earlier probes" in capsys.readouterr().err
    assert main(["probe", "--compare", str(run / "A"), str(run)]) == 2
    assert f"name one of them, such as {run / 'A'}" in capsys.readouterr().err
    assert main(["probe", "--model", str(run / "A"), "--run_name", "copy"]) == 0
    copied = {path.name for path in (folder / "checkpoints" / "probe" / "copy").iterdir()}
    assert copied == {path.name for path in (run / "A").iterdir()} | {"probe.png"}


def test_the_change_of_the_weights_between_two_of_one_architecture(folder):
    assert probe("--compare", "scenes-clip", "scenes-clip", "--max_images", "2", "--run_name", "same") == 0
    change = rows(folder / "checkpoints" / "probe" / "same" / "weights_A_to_B.csv")
    assert {float(row["change_relative_frobenius"]) for row in change} == {0.0}


def test_untrained_is_the_control(folder):
    assert probe("--model", "untrained:scenes-clip", "--seed", "3", "--max_images", "20") == 0
    record = read_probe(folder / "checkpoints" / "probe" / "001" / "results.json")
    assert record.model.origin == "random weights, seed 3, batch norms calibrated on the 20 images"
    network = load_network("untrained:scenes-clip", seed=3)
    images = torch.cat(list(image_loader(open_images("scenes", network.transform, n=20))))
    for layer in batch_norms(network.model).values():  # by torch: one batch in train mode
        layer.train()
        layer.momentum = 1.0
    with torch.no_grad():
        network.model(images)
        h = network.model.eval()(images).double()
    share = torch.linalg.svdvals(h) / torch.linalg.svdvals(h).sum()
    rankme = float((-(share * share.clamp_min(1e-300).log()).sum()).exp())
    assert rankme > 5
    assert record.scalars["spectrum/encoder.visual/rankme"] == pytest.approx(rankme, rel=1e-3)


def test_class_names_of_ones_own(folder):
    (folder / "classes.txt").write_text("star\n\nheart\nhouse\n")
    assert probe("--model", "scenes-clip", "--classes", "classes.txt", "--max_images", "20") == 0
    assert read_probe(folder / "checkpoints" / "probe" / "001" / "results.json").model.classes == 3


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--model", "scenes-clop"], "Unknown encoder 'scenes-clop'"),
        (["--model", "scenes-clip", "--images", "nowhere"], "nowhere"),
        (["--model", "scenes-clip", "--concepts", "brodn:here"], "No concept set 'brodn:here'"),
        (["--model", "scenes-clip", "--layers", "encoder.visual.layer9"], "layer9"),
        (["--model", "scenes-clip", "--max_images", "0"], "'0' is not a whole number of at least 1"),
        (["--model", "scenes-clip", "--classes", "none.txt"], "cannot read the class names in none.txt"),
        (["--model", "scenes-clip", "--device", "tpu9"], "tpu9"),
        (["--model", "scenes-supervised", "--classes", "classes.txt"], "'scenes-supervised' has a head of its own"),
        (["--model", "scenes-clip", "--images", "hub:nobody/nothing"], "--download"),
        (["--compare", "scenes-clip"], "--compare takes 2 to 8 models"),
        ([], "one of the arguments --model --compare is required"),
        (["--model", "scenes-clip", "--compare", "a", "b"], "not allowed with argument"),
    ],
)
def test_bad_input_is_one_sentence_and_leaves_nothing(folder, capsys, arguments, sentence):
    (folder / "classes.txt").write_text("star\n")
    before = {path.name for path in folder.iterdir()}
    assert main(["probe", *arguments]) == 2
    message = capsys.readouterr().err
    assert sentence in message
    assert message.count("\n") == 1
    assert {path.name for path in folder.iterdir()} == before


def test_a_name_that_is_taken_is_said_before_anything_is_measured(folder, capsys, monkeypatch):
    (folder / "checkpoints" / "probe" / "mine").mkdir(parents=True)
    monkeypatch.setattr(networks, "load_network", None)
    assert probe("--model", "scenes-clip", "--run_name", "mine", "--max_images", "20") == 2
    assert "the run 'mine' exists already" in capsys.readouterr().err


def test_figures_that_are_not_defined_are_null(folder):
    assert probe("--model", "untrained:timm:resnet10t", "--images", "scenes", "--max_images", "3") == 0
    data = json.loads((folder / "checkpoints" / "probe" / "001" / "results.json").read_text())
    assert not any(isinstance(value, float) and math.isnan(value) for value in data["scalars"].values())


def test_unreadable_images_are_said_once_and_kept_in_the_record(folder, capsys):
    (folder / "mixed").mkdir()
    for k in range(3):
        Image.new("RGB", (32, 32), (k * 80, 0, 0)).save(folder / "mixed" / f"{k}.png")
    (folder / "mixed" / "bad.png").write_bytes(b"no picture")
    assert probe("--model", "scenes-clip", "--images", "mixed") == 0
    warnings = [line for line in capsys.readouterr().err.splitlines() if "bad.png" in line]
    assert len(warnings) == 1
    assert warnings[0].startswith("lightning-robust: warning: An image is left out")
    record = read_probe(folder / "checkpoints" / "probe" / "001" / "results.json")
    assert list(record.data.images.values()) == [3]
    assert any("bad.png" in line for line in record.conventions)


def test_no_image_that_can_be_read(folder, capsys):
    (folder / "broken").mkdir()
    (folder / "broken" / "1.png").write_bytes(b"no picture")
    assert probe("--model", "scenes-clip", "--images", "broken") == 2
    assert "none of the images can be read" in capsys.readouterr().err


def test_importance_is_of_what_the_head_reads_alone(folder):
    assert probe("--model", "scenes-clip", "--max_images", "9") == 0
    record = read_probe(folder / "checkpoints" / "probe" / "001" / "results.json")
    assert {layer.d for layer in record.layers if layer.name.endswith("layer2")} == {128}  # as wide as h
    assert {tag.split("/")[1] for tag in record.scalars if tag.startswith("importance/")} == {H}
