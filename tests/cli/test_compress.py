"""`compress`: figures against own forward passes, what is made, what is refused before any image is read."""

import contextlib
import csv
import io
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from huggingface_hub import ModelCard
from toy_evaluation_data import NAMES, Toy, write_images

from lightning_robust.cli import compress_costs, compress_held
from lightning_robust.cli.head_features import UNTRAINED_WORDS
from lightning_robust.cli.main import main
from lightning_robust.models.bundled import save_classifier
from lightning_robust.models.classifier import ImageClassifier
from lightning_robust.models.encoders import load_encoder
from lightning_robust.models.image_tower import ImageTower
from lightning_robust.models.networks import load_network
from lightning_robust.models.untrained import calibrate_untrained
from lightning_robust.results import read_evaluation
from lightning_robust.results.compress_record import read_compression

HERE = Path(__file__).parent
LISTED = (0.75, 0.4)


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    root = tmp_path_factory.mktemp("toy")
    write_images(root)
    return root


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch, images):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.syspath_prepend(str(HERE))
    few_rounds(monkeypatch)
    write_config(tmp_path / "toy.yaml", images)
    return tmp_path


def few_rounds(patch):
    patch.setattr(compress_costs, "ROUNDS", 2)
    patch.setattr(compress_costs, "LEAST_ROUNDS", 2)


def write_config(path, root, class_path="toy_evaluation_data.Toy", **options):
    section = {"class_path": class_path, "init_args": {"root": str(root), **options}}
    path.write_text(yaml.safe_dump({"data": section}))


def compress(*arguments, data="toy.yaml"):
    keep = () if "--keep" in arguments else ("--keep", *map(str, LISTED))
    return main(["compress", "--device", "cpu", "--data", data, "--latency_batch", "1", *keep, *arguments])


def results(folder, run="001"):
    return read_compression(folder / "checkpoints" / "compress" / run / "results.json")


def right(model, loader):
    with torch.no_grad():
        return torch.cat([model(images).argmax(1) == targets for images, targets in loader]).numpy()


def by_method(record):
    return {(point.method, point.keep, point.finetuned_epochs): point for point in record.points}


@pytest.fixture(scope="module")
def finished(tmp_path_factory, images):
    """One run of everything: its folder, its record, what it printed, and how many images it read."""
    folder = tmp_path_factory.mktemp("finished")
    write_config(folder / "trained.yaml", images, "compress_data.Trained")
    out = io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.syspath_prepend(str(HERE))
        patch.setenv("COLUMNS", "80")
        patch.setenv("TOY_LOG", str(folder / "log"))
        few_rounds(patch)
        torch.manual_seed(5)
        state = torch.get_rng_state()
        with contextlib.redirect_stdout(out):
            options = ["--images", "20", "--finetune", "2", "--finetune_lr", "3e-3", "--seed", "3"]
            assert compress("--model", "scenes-clip", *options, data="trained.yaml") == 0
        assert torch.equal(state, torch.get_rng_state())
    return folder, results(folder), out.getvalue(), len((folder / "log").read_text().splitlines())


@pytest.fixture(scope="module")
def clip():
    return load_network("scenes-clip", class_names=NAMES, templates=Toy(".").templates)


def test_every_way_at_every_share_and_the_dense_network_first(finished):
    expected = [
        ("dense", 1.0, 0),
        *((method, keep, 0) for keep in LISTED for method in ("calibrated", "plain", "uniform", "magnitude")),
        ("dense", 1.0, 2),
        *((method, keep, 2) for keep in LISTED for method in ("calibrated", "plain", "uniform")),
    ]
    assert list(by_method(finished[1])) == expected


def test_each_image_that_is_needed_is_read_once(finished):
    calibration, judged = 20, 48 + 36 + 36
    assert finished[3] == calibration + judged
    assert finished[1].calibration_images == 20


def test_the_dense_network_against_own_passes(finished, images, clip):
    loaders = Toy(str(images), clip.transform).test_dataloader()
    expected = [int(right(clip.model, loaders[k]).sum()) for k in (0, 2)]
    assert [finished[1].dense.rows[k].correct for k in (0, 2)] == expected


def test_sizes(finished, clip):
    record = finished[1]
    found = by_method(record)
    tower = clip.model.encoder.visual
    total = sum(p.numel() for p in tower.parameters()) + 4 * 128
    assert record.dense.parameters == record.dense.nonzero == total
    assert "head.weight" not in record.matrices  # its directions are for prune
    assert record.matrices["encoder.visual.layer4.0.conv2.weight"] == (128, 128 * 9)
    for keep in LISTED:
        for method in ("calibrated", "plain", "uniform"):
            point = found[method, keep, 0]
            assert 0.95 * keep * total < point.parameters <= keep * total
            assert point.flops < record.dense.flops
            assert point.file_bytes < record.dense.file_bytes
            assert set(point.ranks) == set(record.matrices)
        masked = found["magnitude", keep, 0]
        assert (masked.parameters, masked.flops) == (total, record.dense.flops)
        assert masked.nonzero == pytest.approx(keep * total, abs=2)  # but for weights that are zero anyway
        assert not masked.ranks


def test_differences_are_paired_with_the_dense_network(finished):
    record = finished[1]
    assert not record.dense.differences
    for point in record.points[1:]:
        assert list(point.differences) == ["reference", "shift", "all", "shifts"]
        for row, dense in zip(point.rows, record.dense.rows, strict=True):
            assert point.differences[row.set].estimate == pytest.approx(row.accuracy - dense.accuracy)
        assert point.differences["shifts"].estimate == pytest.approx(point.shifts_mean - record.dense.shifts_mean)
        assert point.differences["reference"].seed == 3


def test_calibration_loses_less_than_the_rivals(finished):
    found = by_method(finished[1])
    for keep in LISTED:
        calibrated, plain, uniform = (found[method, keep, 0] for method in ("calibrated", "plain", "uniform"))
        assert plain.reference.correct <= calibrated.reference.correct
        assert uniform.reference.correct < calibrated.reference.correct
        assert uniform.shifts_mean < calibrated.shifts_mean


def test_finetuning_changes_numbers_and_no_shape(finished):
    record = finished[1]
    found = by_method(record)
    for (method, keep, epochs), after in found.items():
        if not epochs:
            continue
        before = found[method, keep, 0]
        assert (before.parameters, before.flops, before.latency, before.ranks) == (
            after.parameters, after.flops, after.latency, after.ranks,
        )  # fmt: skip
    # trained on the very images
    assert found["uniform", 0.4, 2].reference.correct > found["uniform", 0.4, 0].reference.correct
    (said,) = [sentence for sentence in record.conventions if sentence.startswith("finetuning after truncation")]
    assert "2 epochs of the data's training images (12 steps)" in said


def test_what_misleads_is_said_first(finished, clip):
    record, out = finished[1], " ".join(finished[2].split())
    assert set(record.notes) <= set(record.conventions)
    pool, spare, few = record.notes
    idle = 2 * 512 * 513  # queries and keys, with biases
    assert f"{idle:,} parameters, {idle / record.dense.parameters:.1%} of image network and head" in pool
    same = int(re.search(r"zero, (\d+) of 20 calibration images get the same", pool)[1])
    assert same >= 17
    assert f"{2 * (512 * 512 + 512 * 128 + 4 * 512):,} floating-point operations of an image" in spare
    assert few.startswith("calibration on 20 images gives 20 rows at ")
    assert "whose covariance is 512 wide" in few
    for sentence in record.notes:
        assert sentence in out
    assert (record.chance, record.already_low_rank, record.near_chance) == (0.25, 0, False)


def test_finetuned_networks_are_compared_with_the_finetuned_dense_one_too(finished):
    record = finished[1]
    dense = by_method(record)["dense", 1.0, 2]
    for point in record.points:
        if not point.finetuned_epochs or point is dense:
            assert not point.tuned_differences
            continue
        for row, other in zip(point.rows, dense.rows, strict=True):
            assert point.tuned_differences[row.set].estimate == pytest.approx(row.accuracy - other.accuracy)


def test_every_folder_has_a_card_with_its_figures(finished):
    for point in finished[1].points:
        if point.folder is not None:
            folder = finished[0] / "checkpoints" / "compress" / "001" / point.folder
            read = ModelCard((folder / "README.md").read_text(encoding="utf-8")).data
            found = {one.dataset_config: one.metric_value for one in read.eval_results if one.metric_type == "accuracy"}
            assert found[point.reference.set] == pytest.approx(point.reference.accuracy, abs=1e-6)


def test_few_calibration_images_are_warned_of_and_a_compressed_folder_is_not_cut_twice(finished, folder, capsys):
    start = finished[0] / "checkpoints" / "compress" / "001" / "keep=0.40"
    assert compress("--model", str(start), "--keep", "0.7", "--images", "2", "--finetune", "0") == 0
    said = capsys.readouterr()
    assert "warning: calibration on 2 images gives " in said.err
    record = results(folder)
    ranks = next(p for p in finished[1].points if p.folder == "keep=0.40").ranks
    cut = {name for name, rank in ranks.items() if rank is not None}
    assert record.already_low_rank == len(cut)
    assert not cut & set(record.matrices)
    assert any(one.startswith(f"already low rank: {len(cut)} matrices of this network are") for one in record.notes)
    assert "as given" in said.out
    assert "dense:" not in said.out


def test_what_needs_no_torch_is_refused_before_it_is_imported(folder):
    (folder / "checkpoints" / "compress" / "x").mkdir(parents=True)
    for wrong, said in ((["--keep", "0.5", "0.5"], "--keep names 0.5 twice"), (["--run_name", "x"], "exists already")):
        code = (
            "import sys; from lightning_robust.cli.main import main; "
            f"rc = main(['compress', '--model', 'scenes-clip', '--data', 'toy.yaml', *{wrong!r}]); "
            "sys.exit(99 if 'torch' in sys.modules else rc)"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        assert (done.returncode, said in done.stderr) == (2, True), done.stderr


@pytest.mark.slow
def test_versions_that_are_not_held_answer_alike(finished, folder, images, monkeypatch):
    write_config(folder / "trained.yaml", images, "compress_data.Trained")
    monkeypatch.setattr(compress_held, "HELD_BYTES", 0)
    options = ["--images", "20", "--finetune", "2", "--finetune_lr", "3e-3", "--seed", "3", "--keep", "0.4"]
    assert compress("--model", "scenes-clip", *options, data="trained.yaml") == 0
    held, made = by_method(finished[1]), by_method(results(folder))
    assert set(made) == {key for key in held if key[1] in (0.4, 1.0)}
    for key, point in made.items():
        assert (point.rows, point.nonzero, point.parameters, point.file_bytes, point.ranks) == (
            held[key].rows, held[key].nonzero, held[key].parameters, held[key].file_bytes, held[key].ranks,
        )  # fmt: skip


def test_a_budget_of_multiplications(folder):
    assert compress("--model", "scenes-clip", "--keep", "0.5", "--budget", "flops", "--images", "20") == 0
    record = results(folder)
    assert record.budget == "flops"
    assert [point.method for point in record.points] == ["dense", "calibrated", "plain", "uniform"]
    for point in record.points[1:]:
        least = 0.3 if point.method == "uniform" else 0.49  # of whole ranks of every matrix at once
        assert least * record.dense.flops < point.flops <= 0.5 * record.dense.flops
        assert record.share(point) == point.flops / record.dense.flops
    assert any("--keep: a share of the multiplications of one image" in said for said in record.conventions)
    assert any("magnitude pruning is left out: a mask saves no" in said for said in record.conventions)


def test_files_and_tables(finished):
    folder, record, out, _ = finished
    run = folder / "checkpoints" / "compress" / "001"
    with (run / "accuracies.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["correct"]) for row in rows] == [row.correct for point in record.points for row in point.rows]
    assert {row["model"] for row in rows} >= {"dense", "calibrated 0.4", "plain 0.4", "uniform 0.75, finetuned for 2"}
    saved = {(p.method, p.keep, p.finetuned_epochs): p.folder for p in record.points if p.folder is not None}
    assert saved == {
        ("calibrated", keep, epochs): f"keep={keep:.2f}{'-finetuned' if epochs else ''}"
        for keep in LISTED
        for epochs in (0, 2)
    }
    for point in record.points:
        if point.folder is not None:
            assert (run / point.folder / "model.safetensors").stat().st_size == point.file_bytes
    assert list(run.glob("*.png"))
    assert max(len(line) for line in out.splitlines() if str(folder) not in line) <= 80


def test_a_folder_answers_alike_in_a_fresh_process(finished, images):
    folder, record, _, _ = finished
    saved = [point for point in record.points if point.folder is not None]
    models = [f"checkpoints/compress/001/{point.folder}" for point in saved]
    command = [sys.executable, "-m", "lightning_robust", "evaluate", "--device", "cpu", "--data", "trained.yaml"]
    done = subprocess.run(
        [*command, "--model", *models], cwd=folder, env={**os.environ, "PYTHONPATH": str(HERE)}, capture_output=True,
        text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    evaluated = read_evaluation(folder / "checkpoints" / "evaluate" / "001" / "results.json")
    assert [model.rows for model in evaluated.models] == [point.rows for point in saved]


def classifier(path, head, names=NAMES):
    model = ImageClassifier(ImageTower(load_encoder("scenes-clip").model.visual), head)
    save_classifier(path, model, encoder="scenes-clip", class_names=names)


def test_a_classifier_without_training_images_and_with_half_of_them_judged(folder):
    classifier(folder / "own", torch.randn(4, 128, generator=torch.Generator().manual_seed(0)))
    assert compress("--model", "own", "--keep", "0.5", "--run_name", "own", "--calibration", "half") == 0
    record = results(folder, "own")
    assert (record.model, record.calibration_images, record.dense.reference.images) == ("own", 24, 24)
    assert any("Toy has none" in sentence for sentence in record.conventions)
    assert by_method(record)["calibrated", 0.5, 0].reference.correct == pytest.approx(
        record.dense.reference.correct, abs=2
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--keep", "1.5"], "'1.5' is not a share, above 0 and below 1"),
        (["--keep", "0"], "'0' is not a share"),
        (["--keep", "nan"], "'nan' is not a share"),
        (["--keep", "half"], "'half' is not a share"),
        (["--budget", "time"], "invalid choice: 'time' (choose from"),
        (["--budget", "flops", "--keep", "0.001"], "of the flops; keep at least that"),
        (["--keep", "0.5", "0.50"], "--keep names 0.5 twice"),
        (["--keep", "0.5", "0.001"], "Rank 1 everywhere still keeps"),
        (["--images", "0"], "'0' is not a whole number of at least 2"),
        (["--images", "1"], "'1' is not a whole number of at least 2: one image has no covariance"),
        (["--finetune", "-1"], "'-1' is not a whole number of at least 0"),
        (["--finetune", "1"], "--finetune 1 needs training images of the data, and they cannot be had (Toy has none)"),
        (["--finetune_lr", "0"], "'0' is not a number above 0"),
        (["--latency_batch", "0"], "'0' is not a whole number"),
        (["--device", "tpu9"], "--device 'tpu9' is no device"),
        (["--run_name", "a/b"], "a run's name is one folder name"),
        (["--baseline", "nothing"], "nothing"),
        (["--model", "no-such"], "Unknown encoder"),
        (["--model", "scenes-supervised"], "20 classes and the data have 4"),
    ],
)
def test_refusals_before_any_image_is_read(folder, capsys, monkeypatch, arguments, said):
    monkeypatch.setenv("TOY_LOG", str(folder / "log"))
    assert compress("--model", "scenes-clip", *arguments) == 2
    err = capsys.readouterr().err
    assert said in err
    assert len(err.splitlines()) == 1
    assert not (folder / "log").exists()
    assert not (folder / "checkpoints").exists()


def test_values_that_are_no_numbers_and_paths_are_refused(folder, capsys, monkeypatch):
    tower = load_encoder("scenes-clip").model.visual
    tower.conv1.weight.data[0, 0] = torch.nan
    model = ImageClassifier(ImageTower(tower), torch.randn(4, 128))
    save_classifier(folder / "own", model, encoder="scenes-clip", class_names=NAMES)
    monkeypatch.setenv("TOY_LOG", str(folder / "log"))
    assert compress("--model", "own") == 2
    assert "matrix encoder.visual.conv1.weight of own has values that are not finite" in capsys.readouterr().err
    for alpha in ("0.00", "1.00"):
        (folder / "run" / "wise_ft").mkdir(parents=True, exist_ok=True)
        (folder / "run" / "wise_ft" / f"alpha={alpha}.safetensors").touch()
    assert compress("--model", "run") == 2
    assert "run is a path of 2 models, and compress takes one: give run/wise_ft/alpha=1.00" in capsys.readouterr().err
    assert not (folder / "log").exists()


def test_a_name_is_taken_once(folder, capsys):
    (folder / "checkpoints" / "compress" / "x").mkdir(parents=True)
    assert compress("--model", "scenes-clip", "--keep", "0.5", "--run_name", "x") == 2
    err = capsys.readouterr().err
    assert "the run 'x' exists already" in err
    assert "ckpt_path" not in err


def test_what_breaks_while_writing_leaves_nothing(folder, monkeypatch):
    from lightning_robust.cli import compress_outcome

    def broken(*_):
        raise RuntimeError("no space")

    monkeypatch.setattr(compress_outcome, "write_compression", broken)
    with pytest.raises(RuntimeError, match="no space"):
        compress("--model", "scenes-clip", "--keep", "0.5")
    assert not any((folder / "checkpoints" / "compress").iterdir())


def test_batch_norms_of_random_weights_have_statistics_of_the_calibration_half(folder, images):
    options = ["--keep", "0.5", "--finetune", "0", "--calibration", "half", "--run_name", "half"]
    assert compress("--model", "untrained:scenes-clip", *options) == 0
    record = results(folder, "half")
    network = load_network("untrained:scenes-clip", class_names=NAMES, templates=Toy(".").templates)
    data = Toy(str(images), network.transform)
    loader = [(batch[0], batch[1]) for batch in data.test_dataloader()[0]]
    whole, targets = (torch.cat(part) for part in zip(*loader, strict=True))
    places = torch.arange(len(whole))
    calibrate_untrained(
        network.model, (part[at % 2 == 0] for part, at in zip(whole.split(7), places.split(7), strict=True))
    )
    with torch.no_grad():
        correct = (network.model(whole[1::2]).argmax(1) == targets[1::2]).sum()
    assert record.dense.reference.correct == int(correct)
    assert UNTRAINED_WORDS in record.conventions
