"""What a person reads when a setting is wrong: one sentence, status 2, nothing left behind."""

import argparse

import pytest

from lightning_robust.cli.main import main
from lightning_robust.cli.parser_errors import user_error
from lightning_robust.errors import UserError


def test_the_sentence_of_a_cause_wins():
    wrapped = ValueError("Does not validate against any of …")
    wrapped.__cause__ = UserError("each α lies in [0, 1]; got [2.0]")
    assert str(user_error(wrapped)) == "each α lies in [0, 1]; got [2.0]"


def test_a_bug_stays_a_bug():
    assert user_error(ValueError("too many values to unpack")) is None


def test_a_tree_of_types_becomes_one_sentence():
    text = (
        'Parser key "trainer.max_epochs":\n  Does not validate against any of the Union subtypes\n'
        "  Subtypes: [<class 'int'>, <class 'NoneType'>]\n  Errors:\n    - Expected a <class 'int'>\n"
        "    - Expected a <class 'NoneType'>\n  Given value type: <class 'str'>\n  Given value: x"
    )
    assert str(user_error(argparse.ArgumentError(None, text))) == (
        "trainer.max_epochs: expected int; got x (see: fit --help)"
    )


def test_of_a_class_within_a_class_the_setting_is_told_and_its_value():
    inner = (
        '{0}Parser key "{1}":\n{0}  Does not validate against any of the Union subtypes\n{0}  Errors:\n'
        "{0}    - Problem with given class_path '{2}':\n{3}\n{0}    - Expected a <class 'NoneType'>\n"
        "{0}  Given value type: <class 'jsonargparse._util.NestedArg'>\n"
        "{0}  Given value: NestedArg(key='n_val', val='x')"
    )
    leaf = " " * 16 + 'Parser key "n_val":\n' + " " * 18 + "Expected a <class 'int'>. Got value: x"
    text = inner.format("", "data", "Captions", inner.format(" " * 8, "evaluation", "Scenes", leaf))
    assert str(user_error(argparse.ArgumentError(None, text))) == (
        "data: Captions: evaluation: Scenes: n_val: expected int; got x (see: fit --help)"
    )


def test_a_path_is_not_asked_for_where_a_class_is_and_what_is_no_tree_is_told_as_it_is():
    text = (
        'Parser key "evaluation":\n\n  - Expected a path but Foo either not accessible or invalid\n  Errors:\n'
        "    - Expected a dot import path string: Foo\n    - Expected a <class 'NoneType'>\n  Given value: Foo"
    )
    said = "evaluation: expected a dot import path string: Foo; got Foo (see: fit --help)"
    assert str(user_error(argparse.ArgumentError(None, text))) == said
    missing = "config: File does not exist: 'no.yaml' (see: fit --help)"
    raw = "Parser key \"config\": File does not exist: 'no.yaml'"
    assert str(user_error(argparse.ArgumentError(None, raw))) == missing


@pytest.mark.parametrize(
    ("setting", "value", "sentence"),
    [
        ("loss", "clip", "ContrastivePretraining: loss: expected 'infonce' or 'siglip'; got clip (see: fit --help)"),
        ("lock_image", "1.5", "ContrastivePretraining: lock_image: expected bool or int; got 1.5 (see: fit --help)"),
        ("class_names", "star", "ContrastivePretraining: class_names: expected list; got star (see: fit --help)"),
    ],
)
def test_what_would_work_is_told(setting, value, sentence, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["fit", "--config", "pretrain.yaml", f"--model.init_args.{setting}", value]) == 2
    assert capsys.readouterr().err.strip().splitlines()[-1].endswith(sentence)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--model.init_args.lrr", "1"], "Option 'lrr' is not accepted"),
        (["--model.init_args.encoder", "scene-clip"], "near names: 'scenes-clip'"),
        (["--model.class_path", "lightning_robust.training.Foo"], "has no attribute 'Foo'"),
        (["--data.init_args.n_val", "0"], "n_val must be at least 1, got 0"),
        (["--trainer.max_epochs", "x"], "trainer.max_epochs: expected int; got x"),
        (["--modell", "1"], "unrecognized arguments: --modell 1"),
        (["--ckpt_path", "last"], "there is no numbered run"),
        (["--ckpt_path", "gone.ckpt"], "there is no checkpoint gone.ckpt"),
    ],
)
def test_bad_settings(arguments, sentence, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["fit", "--config", "finetune.yaml", *arguments]) == 2
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert said.startswith("lightning-robust: error: ")
    assert sentence in said
    assert list(tmp_path.rglob("*.yaml")) == []
    assert list(tmp_path.glob("checkpoints/finetune/*")) == []
