"""Features once: heads applied to them answer as `evaluate` does, whichever images calibrate."""

import argparse
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from torch.nn import functional
from toy_evaluation_data import NAMES, write_images

from lightning_robust.cli.evaluate_asked import asked_models
from lightning_robust.cli.evaluate_models import load_models
from lightning_robust.cli.evaluate_sets import ordered_loaders
from lightning_robust.cli.head_features import head_features
from lightning_robust.cli.judged import SetOutcome, judge
from lightning_robust.cli.main import main
from lightning_robust.cli.opened_evaluation import open_evaluation
from lightning_robust.cli.opened_evaluation_arguments import add_evaluation_options
from lightning_robust.cli.processes import Processes
from lightning_robust.errors import UserError
from lightning_robust.models import ImageClassifier, interpolate, load_encoder, save_tensors, split_classifier_state
from lightning_robust.models.networks import load_network
from lightning_robust.models.untrained import calibrate_untrained
from lightning_robust.results import read_evaluation

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    root = tmp_path_factory.mktemp("toy")
    write_images(root)
    return root


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch, images):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(HERE))
    return tmp_path


def write_config(root, **options):
    section = {"class_path": "toy_evaluation_data.Toy", "init_args": {"root": str(root), **options}}
    Path("toy.yaml").write_text(yaml.safe_dump({"data": section}))


def opened_by(*arguments):
    parser = argparse.ArgumentParser()
    add_evaluation_options(parser)
    return open_evaluation(parser.parse_args(["--data", "toy.yaml", "--device", "cpu", *arguments]), Processes())


def features_of(opened, model):
    loaded = load_models(asked_models([model])[0], opened.data, opened.sets, 0)
    return head_features(opened, loaded, loaded.candidates)


def outcomes_of(opened, found):
    """Through the features: the head, and the rules of the sets."""
    rules = opened.rules(found.model.own_heads)
    asked, matched = opened.reference_rules(rules)
    outcomes = {}
    for here in found.judged:
        read = functional.normalize(here.h, dim=1) if found.model.unit_norm else here.h
        logits = functional.linear(read, found.model.head, found.model.bias)
        own = found.model.own_heads.get(here.set)
        predicted = rules[here.set].predict(logits, None if own is None else read @ own.T)
        outcomes[here.set] = [rules[here.set].correct(predicted, here.targets)[0].numpy(), None, None]
        if here.set == opened.sets[0].name:
            of_reference = read, logits, here.targets
    for name, rule in matched.items():
        read, logits, targets = of_reference
        head = asked[rule].head
        right, covered = asked[rule].correct(
            asked[rule].predict(logits, None if head is None else read @ head.T), targets
        )
        outcomes[name][1:] = int(right.sum()), int(covered.sum())
    return {name: SetOutcome(*found) for name, found in outcomes.items()}


@pytest.mark.parametrize("own_names", [False, True])
@pytest.mark.parametrize("model", ["scenes-clip", "untrained:scenes-clip"])  # the toy's splits are one
def test_the_head_on_features_answers_as_evaluate_does(images, model, own_names):
    write_config(images, own_names=own_names)
    assert main(["evaluate", "--device", "cpu", "--data", "toy.yaml", "--model", model]) == 0
    expected = read_evaluation("checkpoints/evaluate/001/results.json").models[0]
    opened = opened_by()
    (found,) = features_of(opened, model)
    rows, robustness = judge(outcomes_of(opened, found), opened.sets, opened.baseline)
    assert rows == expected.rows
    assert robustness is None
    assert (found.model.name, found.model.origin) == (expected.name, expected.origin)
    assert found.model.checkpoint_hash == expected.checkpoint_hash
    torch.testing.assert_close(found.calibration.h, found.judged[0].h)  # the toy's splits are one


def test_half_of_the_reference_calibrates_and_the_other_half_is_judged(images):
    write_config(images)
    (whole,) = features_of(opened_by(), "scenes-clip")
    opened = opened_by("--calibration", "half", "--batch_size", "1")
    (half,) = features_of(opened, "scenes-clip")
    assert half.calibration.places.tolist() == list(range(0, whole.judged[0].images, 2))
    assert half.judged[0].places.tolist() == list(range(1, whole.judged[0].images, 2))
    torch.testing.assert_close(half.judged[0].h, whole.judged[0].h[1::2], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(half.calibration.h, whole.judged[0].h[::2], atol=1e-4, rtol=1e-4)
    assert len(half.judged[1].h) == len(whole.judged[1].h)
    assert "every second test image" in opened.calibration_words


def statistics_of(opened, model, part):
    """Batch norms by hand: of the images at even or odd places, or of all."""
    loaded = load_models(asked_models([model])[0], opened.data, opened.sets, 0)
    opened.data.transform = loaded.transform
    every = [
        (images, torch.as_tensor(places)) for images, _, places in ordered_loaders(opened.data, "test", 1)[0].batches
    ]
    calibrate_untrained(
        loaded.module, [images[places % 2 == part] if part is not None else images for images, places in every]
    )
    with torch.no_grad():
        return torch.cat([loaded.module.encode(images) for images, _ in every])


@pytest.mark.parametrize("batch", [[], ["--batch_size", "5"]])
def test_batch_norms_of_random_weights_know_calibration_images_alone(images, batch):
    """Half of the images calibrates, and the other half, which is judged, has no say in it, nor have the batches."""
    write_config(images)
    model = "untrained:scenes-clip"
    opened = opened_by("--calibration", "half", *batch)
    (found,) = features_of(opened, model)
    expected, judged = (statistics_of(opened_by(), model, part) for part in (0, 1))
    torch.testing.assert_close(found.judged[0].h, expected[1::2], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(found.calibration.h, expected[::2], atol=1e-4, rtol=1e-4)
    assert not torch.allclose(judged, expected, atol=1e-3)


def test_the_points_of_a_path_have_heads_and_features_of_their_own(images):
    write_config(images)
    encoder = load_encoder("scenes-clip")
    head = load_network("scenes-clip", class_names=NAMES).head
    theta0 = {k: v.clone() for k, v in ImageClassifier(encoder.model, head).state_dict().items()}
    theta1 = {k: 1.1 * v if k.startswith(("head", "encoder.visual.attnpool")) else v for k, v in theta0.items()}
    theta1["head.weight"] = theta1["head.weight"].flip(0)
    for alpha in (0.0, 0.5, 1.0):
        clip, head = split_classifier_state(interpolate(theta0, theta1, alpha))
        save_tensors(Path("run") / "wise_ft" / f"alpha={alpha:.2f}.safetensors", clip)
        save_tensors(Path("run") / "wise_ft" / f"alpha={alpha:.2f}.head.safetensors", head)
    settings = {"model": {"class_path": "x.ClassifierFinetuning", "init_args": {"encoder": "scenes-clip"}}}
    Path("run/config.yaml").write_text(yaml.safe_dump(settings))
    assert main(["evaluate", "--device", "cpu", "--data", "toy.yaml", "--model", "run"]) == 0
    expected = read_evaluation("checkpoints/evaluate/001/results.json").models
    opened = opened_by()
    found = features_of(opened, "run")
    assert [one.model.alpha for one in found] == [0.0, 0.5, 1.0]
    for here, there in zip(found, expected, strict=True):
        assert judge(outcomes_of(opened, here), opened.sets, opened.baseline)[0] == there.rows
    assert not torch.allclose(found[0].model.head, found[2].model.head)
    assert len({model.reference.correct for model in expected}) > 1


def test_several_processes_and_unread_sets_are_refused(images):
    write_config(images)
    parser = argparse.ArgumentParser()
    add_evaluation_options(parser)
    with pytest.raises(UserError, match="one process, and 2 were started"):
        open_evaluation(parser.parse_args(["--data", "toy.yaml"]), Processes(0, 2, 0))
    nothing = {one.name: SetOutcome(np.zeros(0, dtype=bool)) for one in opened_by().sets}
    with pytest.raises(ValueError, match="no image of reference could be read"):
        judge(nothing, opened_by().sets, None)
