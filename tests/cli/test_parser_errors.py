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
