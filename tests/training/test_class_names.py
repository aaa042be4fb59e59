"""Which class names fit which data: one rule for every module that trains a classifier."""

import pytest

from lightning_robust.training import ClassifierFinetuning, ContrastiveFinetuning, SupervisedPretraining


@pytest.fixture(params=["zero-shot", "probe", "flyp", "supervised"])
def fresh(request, tiny_folder):
    def make(names):
        options = {"encoder": f"local-dir:{tiny_folder}", "warmup_steps": 1, "class_names": names}
        if request.param == "flyp":
            return ContrastiveFinetuning(**options)
        if request.param == "supervised":
            return SupervisedPretraining(**options)
        return ClassifierFinetuning(**options, head="linear-probe" if request.param == "probe" else "zero-shot")

    return make


@pytest.mark.parametrize(
    ("names", "match"),
    [
        (["truck", "heart", "star"], "'truck' stands for another label"),
        (["red star", "star", "truck"], "'star' stands for another label"),
        (["star", "heart"], "the 2 classes .* has the 3 classes"),
    ],
)
def test_names_that_would_read_the_labels_otherwise_are_refused(fresh, data, trainer, names, match):
    with pytest.raises(ValueError, match=match):
        trainer(max_epochs=1).fit(fresh(names), datamodule=data)


def test_other_words_for_the_classes_are_allowed_again_and_again(fresh, data, trainer):
    module, run = fresh(["red star", "heart", "fire truck"]), trainer(max_epochs=1)
    run.fit(module, datamodule=data)
    run.validate(module, datamodule=data, verbose=False)
    assert module.class_names == ["red star", "heart", "fire truck"]


def test_names_of_the_data_stay_those_of_the_data(fresh, data, trainer):
    module, run = fresh(None), trainer(max_epochs=1)
    run.fit(module, datamodule=data)
    data.class_names = ["red star", "heart", "truck"]
    with pytest.raises(ValueError, match=r"classes .* but the data module has"):
        run.validate(module, datamodule=data, verbose=False)


def test_a_module_says_what_it_starts_from(fresh, data, trainer):
    module = fresh(None)
    trainer(max_epochs=1).fit(module, datamodule=data)
    zero_shot = "zero-shot, 3 classes × 2 prompts"
    expected = {ContrastiveFinetuning: zero_shot, SupervisedPretraining: "random weights"}
    probe = module.hparams.get("head") == "linear-probe"
    assert module.start == ("a linear probe, l2 = 0.01" if probe else expected.get(type(module), zero_shot))
