"""`SignatureTrainerCallback` in transformers' Trainer, on tiny random models."""

import ast
import json
import math
import re
import textwrap
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import kurtosis
from torch import nn
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset

pytest.importorskip("accelerate", reason="transformers.Trainer needs accelerate: pip install accelerate")

from documented_tags import documented
from processes import run_script
from transformers import (
    CLIPConfig,
    CLIPModel,
    CLIPVisionModel,
    SiglipConfig,
    SiglipModel,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)

from lightning_robust.callbacks import ConceptMonitor, KurtosisMonitor, SpectrumMonitor
from lightning_robust.callbacks.transformers_trainer import SignatureTrainerCallback
from lightning_robust.errors import UserError

LOOPS = (Path(__file__).parents[2] / "docs" / "loops.md").read_text(encoding="utf-8")
SIZES = {"hidden_size": 48, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
TEXT = SIZES | {"vocab_size": 50, "max_position_embeddings": 8, "bos_token_id": 0, "eos_token_id": 1}
VISION = SIZES | {"image_size": 16, "patch_size": 8}
OWN = "transformers_trainer.py"
PROMPTS = torch.arange(2, 42).reshape(5, 8)


def clip(seed=0, **options):
    torch.manual_seed(seed)
    return CLIPModel(CLIPConfig(text_config=TEXT | options, vision_config=VISION | options, projection_dim=40))


def images(n, seed=1):
    return torch.randn(n, 3, 16, 16, generator=torch.Generator().manual_seed(seed))


def pairs(n=16):
    draw = torch.Generator().manual_seed(5)
    return [
        {"pixel_values": image, "input_ids": torch.randint(2, 50, (8,), generator=draw)} for image in images(n, seed=2)
    ]


def collate(batch):
    return {name: torch.stack([pair[name] for pair in batch]) for name in batch[0]} | {"return_loss": True}


class Owl(nn.Module):
    """A vision model of one's own, no CLIP, with two classes."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.tower = CLIPVisionModel(CLIPConfig(vision_config=VISION).vision_config)
        self.drop, self.fc = nn.Dropout(0.5), nn.Linear(48, 2)

    def forward(self, pixel_values, labels=None):
        logits = self.fc(self.drop(self.tower(pixel_values=pixel_values).pooler_output))
        return logits if labels is None else {"loss": nn.functional.cross_entropy(logits, labels), "logits": logits}


def make_trainer(folder, model=None, callbacks=(), **options):
    given = {
        "output_dir": str(folder), "num_train_epochs": 2, "per_device_train_batch_size": 4, "logging_steps": 1,
        "remove_unused_columns": False, "save_strategy": "no", "report_to": "none", "use_cpu": True,
        "disable_tqdm": True, "learning_rate": 1e-2,
    }  # fmt: skip
    return Trainer(
        model=model if model is not None else clip(attention_dropout=0.3),
        args=TrainingArguments(**given | options),
        train_dataset=pairs(),
        eval_dataset=pairs(8),
        data_collator=collate,
        callbacks=list(callbacks),
    )


def watch(trainer, given=None, **options):
    made = SignatureTrainerCallback(trainer, images=[images(20), images(12, 3)] if given is None else given, **options)
    trainer.add_callback(made)
    return made


def uneven(*, sampled=False):
    """33 images: two processes get 17 each, one of them repeated."""
    dataset = TensorDataset(images(33))
    return DataLoader(dataset, batch_size=5, sampler=DistributedSampler(dataset, shuffle=False) if sampled else None)


def zero_shot_head(model):
    return nn.functional.normalize(model.get_text_features(input_ids=PROMPTS).pooler_output, dim=-1)


def embeddings(model):
    with torch.no_grad():
        model.eval()
        given = torch.cat([images(20), images(12, 3)])
        return model.get_image_features(pixel_values=given).pooler_output.double().numpy()


def ours(trainer):
    return [entry for entry in trainer.state.log_history if any("/" in tag for tag in entry)]


def as_json(value):
    return json.loads(json.dumps(value))


def steps(callback):
    return [entry["step"] for entry in callback.history]


def test_figures_are_those_of_the_pooled_features(tmp_path):
    trainer = make_trainer(tmp_path)
    callback = watch(trainer, signatures=["kurtosis"])
    trainer.train()
    h = embeddings(trainer.model)
    last = callback.history[-1]["scalars"]
    assert last["kurtosis/visual_projection"] == pytest.approx(kurtosis(h, axis=1, fisher=False).mean(), rel=1e-6)
    expected = kurtosis(embeddings(clip()), axis=1, fisher=False).mean()
    assert callback.history[0]["scalars"]["kurtosis/visual_projection"] == pytest.approx(expected, rel=1e-6)


def test_importance_is_that_of_the_zero_shot_head_at_that_moment(tmp_path):
    trainer = make_trainer(tmp_path)
    callback = watch(trainer, signatures=["spectrum"], head=zero_shot_head)
    trainer.train()
    h = embeddings(trainer.model)
    with torch.no_grad():
        W = zero_shot_head(trainer.model).double().numpy()
    _, sigma, V = np.linalg.svd(W, full_matrices=False)
    cosine = np.abs(h @ V.T) / np.linalg.norm(h, axis=1, keepdims=True)
    importance = sigma * cosine.mean(axis=0)
    last = callback.history[-1]["scalars"]
    found = last["importance/visual_projection/raw/max_over_median"]
    assert found == pytest.approx(importance.max() / np.median(importance), rel=1e-5)


def test_a_weight_or_a_name_serves_as_head(tmp_path):
    W = torch.randn(6, 40, generator=torch.Generator().manual_seed(0))
    given, named = make_trainer(tmp_path), make_trainer(tmp_path, Owl())
    callbacks = [watch(given, head=W, signatures=["spectrum"])]
    callbacks.append(watch(named, head="fc", layers=["fc:input"], signatures=["spectrum"]))
    named.train_dataset = [{"pixel_values": pair["pixel_values"], "labels": torch.tensor(0)} for pair in pairs()]
    named.data_collator = lambda batch: {name: torch.stack([one[name] for one in batch]) for name in batch[0]}
    given.train()
    named.train()
    assert all(any(tag.startswith("importance/") for tag in c.history[-1]["scalars"]) for c in callbacks)


def test_tags_are_those_of_the_lightning_monitors(tmp_path):
    labels = torch.tensor([1, 0, -1]).repeat(32 * 5 // 3 + 1)[: 32 * 5].reshape(32, 5)
    labels[:12, 0], labels[12:, 0] = 1, 0
    loader = DataLoader(TensorDataset(torch.cat([images(20), images(12, 3)]), labels), batch_size=16)
    trainer = make_trainer(tmp_path, num_train_epochs=1)
    callback = watch(
        trainer, loader, signatures=["kurtosis", "spectrum", "concepts"], head=zero_shot_head,
        weights=["visual_projection.weight"], categories=["a"] * 5,
    )  # fmt: skip
    trainer.train()
    layer, weight = ["visual_projection"], ["visual_projection.weight"]
    expected = documented(KurtosisMonitor, "Logged tags", layer=layer)
    expected |= documented(SpectrumMonitor, "Logged tags", layer=layer, name=weight)
    bases, thresholds = ["singular_vectors", "neurons", "random_rotation"], [f"{t / 10:g}" for t in range(5, 10)]
    expected |= documented(ConceptMonitor, "Logged tags", layer=layer, basis=bases, t=thresholds)
    measured = set(callback.history[-1]["scalars"])
    assert measured <= expected
    assert {tag.split("/")[0] for tag in measured} == {tag.split("/")[0] for tag in expected}


@pytest.mark.parametrize(
    ("schedule", "at"),
    [
        ({}, [0, 4, 8]),
        ({"every_n_epochs": 2}, [0, 8]),
        ({"every_n_epochs": 0, "every_n_steps": 3}, [0, 3, 6]),
        ({"every_n_steps": 2}, [0, 2, 4, 6, 8]),
        ({"every_n_epochs": 0, "at_evaluations": True}, [0, 3, 6]),  # newer Trainers evaluate at the end too
    ],
)
def test_moments(schedule, at, tmp_path):
    trainer = make_trainer(tmp_path, eval_strategy="steps", eval_steps=3)
    callback = watch(trainer, signatures=["kurtosis"], **schedule)
    trainer.train()
    if schedule.get("at_evaluations"):
        at = sorted({*at, *(entry["step"] for entry in trainer.state.log_history if "eval_loss" in entry)})
    assert steps(callback) == at
    assert [entry["epoch"] for entry in callback.history] == [step / 4 for step in at]
    trainer.evaluate()
    assert steps(callback) == at


def test_gradient_accumulation_counts_optimiser_steps(tmp_path):
    trainer = make_trainer(tmp_path, gradient_accumulation_steps=2)
    callback = watch(trainer, signatures=["kurtosis"], every_n_steps=1)
    trainer.train()
    assert steps(callback) == [0, 1, 2, 3, 4]


def test_training_is_the_same_with_and_without(tmp_path):
    options = {"eval_strategy": "epoch", "logging_steps": 2}
    watched = make_trainer(tmp_path, **options)  # which seeds
    watch(watched, every_n_steps=1, at_evaluations=True, head=zero_shot_head)
    watched.train()
    plain = make_trainer(tmp_path, **options)
    plain.train()
    weights = plain.model.state_dict()
    assert all(torch.equal(value, weights[name]) for name, value in watched.model.state_dict().items())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in watched.model.modules())
    # and every loss is logged, though the flag for it is down after a log of figures
    losses = [[e["loss"] for e in t.state.log_history if "loss" in e] for t in (watched, plain)]
    assert losses[0] == losses[1]
    assert len(losses[0]) == 4


def test_figures_go_through_the_trainer_to_whoever_reports(tmp_path, monkeypatch):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    class Listener(TrainerCallback):
        def __init__(self):
            self.heard = []

        def on_log(self, args, state, control, logs=None, **kwargs):
            self.heard.append((state.global_step, dict(logs)))

    monkeypatch.setenv("TENSORBOARD_LOGGING_DIR", str(tmp_path / "board"))
    listener = Listener()
    trainer = make_trainer(tmp_path, callbacks=[listener], report_to="tensorboard")
    callback = watch(trainer, signatures=["kurtosis"], prefix="held_out")
    trainer.train()
    tag = "held_out/kurtosis/visual_projection"
    expected = [(entry["step"], entry["scalars"][tag]) for entry in callback.history]
    assert [(step, logs[tag]) for step, logs in listener.heard if tag in logs] == expected
    assert [(entry["step"], entry[tag]) for entry in ours(trainer)] == expected
    events = EventAccumulator(str(tmp_path / "board")).Reload().Scalars(f"train/{tag}")
    assert [(e.step, e.value) for e in events] == [(step, pytest.approx(value, rel=1e-6)) for step, value in expected]


def test_a_resumed_run_has_its_earlier_figures(tmp_path):
    whole = make_trainer(tmp_path / "whole", save_strategy="epoch")
    options = {"layers": ["visual_projection", "vision_model.encoder.layers.*"], "signatures": ["kurtosis"]}
    unbroken = watch(whole, **options)
    whole.train()
    resumed = make_trainer(tmp_path / "resumed", restore_callback_states_from_checkpoint=True)
    callback, other = watch(resumed, **options), watch(resumed, signatures=["kurtosis"], prefix="other")
    resumed.train(resume_from_checkpoint=str(tmp_path / "whole" / "checkpoint-4"))
    assert steps(callback) == [0, 4, 8]
    np.testing.assert_equal(as_json(callback.history), as_json(unbroken.history))
    assert steps(other) == [8]  # it is new in this run


def test_weights_are_followed_since_the_start(tmp_path):
    name = "visual_projection.weight"
    trainer = make_trainer(tmp_path, save_strategy="epoch")
    callback = watch(trainer, signatures=["spectrum"], weights=[name], controls=True, head=zero_shot_head)
    before = trainer.model.visual_projection.weight.detach().double()
    trainer.train()
    change = trainer.model.visual_projection.weight.detach().double() - before
    first, last = callback.history[0]["scalars"], callback.history[-1]["scalars"]
    found = last[f"weights/{name}/change_relative_frobenius"]
    assert found == pytest.approx(float(change.norm() / before.norm()), rel=1e-6)
    assert first[f"weights/{name}/change_relative_frobenius"] == 0
    assert "importance/visual_projection/raw/random_head/max_over_median" in last
    resumed = make_trainer(tmp_path)
    callback = watch(resumed, signatures=["spectrum"], weights=[name])
    resumed.train(resume_from_checkpoint=str(tmp_path / "checkpoint-4"))
    assert last[f"weights/{name}/alpha"] == callback.history[-1]["scalars"][f"weights/{name}/alpha"]
    assert not any("change" in tag for tag in callback.history[-1]["scalars"])


def test_a_second_training_starts_afresh(tmp_path):
    trainer = make_trainer(tmp_path, num_train_epochs=1)
    callback = watch(trainer, signatures=["kurtosis"])
    trainer.train()
    trainer.train()
    assert steps(callback) == [0, 4]


def test_siglip_and_a_vision_model_of_ones_own(tmp_path):
    torch.manual_seed(0)
    text = {name: value for name, value in TEXT.items() if not name.startswith(("bos", "eos"))} | {
        "projection_size": 48
    }
    siglip = SiglipModel(SiglipConfig(text_config=text, vision_config=VISION))
    trainer = make_trainer(tmp_path, siglip, num_train_epochs=1)
    callback = watch(trainer, signatures=["kurtosis"])
    trainer.train()
    h = embeddings(siglip)
    last = callback.history[-1]["scalars"]
    assert last["kurtosis/vision_model.head"] == pytest.approx(kurtosis(h, axis=1, fisher=False).mean(), rel=1e-6)
    own = make_trainer(tmp_path, Owl())
    with pytest.raises(UserError, match=r"give layers=.*no visual_projection or vision_model\.head; it has tower"):
        watch(own).on_train_begin(own.args, own.state, own.control, model=own.model)


def test_mappings_and_mixed_precision(tmp_path):
    batches = [{"pixel_values": images(20)}, {"pixel_values": images(12, 3)}]
    rounded, exact = make_trainer(tmp_path, bf16=True), make_trainer(tmp_path)
    found = [watch(trainer, batches, signatures=["kurtosis"], layers=["forward"]) for trainer in (rounded, exact)]
    rounded.train()
    exact.train()
    first = [callback.history[0]["scalars"]["kurtosis/forward"] for callback in found]
    assert first[0] == pytest.approx(first[1], rel=0.02)
    assert first[0] != first[1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"signatures": ["kurtosiss"]}, "kurtosis, spectrum, concepts"),
        ({"layers": "visual_projection"}, "list of names"),
        ({"images": "validation"}, "images is a loader"),
        ({"images": iter([images(4)])}, "once only"),
        ({"signatures": ["kurtosis"], "head": "fc"}, "no effect"),
        ({"head": nn.Linear(3, 3)}, "got a Linear"),
        ({"every_n_steps": 0}, "at least 1"),
    ],
)
def test_settings_that_cannot_be(options, message, tmp_path):
    with pytest.raises(UserError, match=message):
        SignatureTrainerCallback(make_trainer(tmp_path), **{"images": [images(4)]} | options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layers": ["visual_projektion"]}, "visual_projection"),
        ({"head": "visual_projektion"}, "no linear head.*visual_projection"),
        ({"weights": ["visual_projektion.weight"]}, "no matrix.*visual_projection.weight"),
        ({"head": torch.ones(3, 7)}, "no layer is as wide"),
        ({"head": torch.ones(7)}, r"a weight \(C, d\).*shape \(7,\)"),
        ({"head": lambda model: model.get_text_features(input_ids=PROMPTS)}, "got a BaseModelOutputWithPooling"),
        ({"images": []}, "no batch"),
        ({"images": ["a.png"]}, "no images"),
    ],
)
def test_what_is_wrong_is_said_before_the_first_step(options, message, tmp_path):
    trainer = make_trainer(tmp_path)
    watch(trainer, options.pop("images", None), **options)
    before = {name: value.clone() for name, value in trainer.model.state_dict().items()}
    with pytest.raises(UserError, match=message):
        trainer.train()
    assert all(torch.equal(value, before[name]) for name, value in trainer.model.state_dict().items())
    assert all(module.training for module in trainer.model.modules())


def test_a_callback_belongs_to_its_trainer(tmp_path):
    trainer = make_trainer(tmp_path)
    trainer.add_callback(SignatureTrainerCallback(make_trainer(tmp_path), images=[images(4)]))
    with pytest.raises(UserError, match="another Trainer"):
        trainer.train()


def test_images_without_finite_features_are_told_of_once(tmp_path):
    given = images(8)
    given[3] = torch.nan
    trainer = make_trainer(tmp_path)
    callback = watch(trainer, [given], signatures=["kurtosis"])
    with pytest.warns(UserWarning, match="1 of 8 images") as told:
        trainer.train()
    assert len([each for each in told if "of 8 images" in str(each.message)]) == 1
    assert [e["scalars"]["not_finite/visual_projection/kurtosis"] for e in callback.history] == [1, 1, 1]
    assert all(math.isfinite(e["scalars"]["kurtosis/visual_projection"]) for e in callback.history)


def test_two_callbacks_keep_apart(tmp_path):
    trainer = make_trainer(tmp_path, num_train_epochs=1)
    watched = [watch(trainer, signatures=["kurtosis"]), watch(trainer, [images(9)], prefix="few")]
    trainer.train()
    assert [len(entry) for entry in ours(trainer)] == [len(c.history[0]["scalars"]) + 2 for c in watched] * 2
    watch(trainer, layers=["visual_projection"], signatures=["kurtosis", "spectrum"])
    with pytest.raises(UserError, match="two callbacks log kurtosis of 'visual_projection'"):
        trainer.train()


def test_the_example_in_the_docs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    [block] = re.findall(r"^## transformers' Trainer\n.*?^```python\n(.*?)^```", LOOPS, flags=re.M | re.S)
    names = {"__name__": "example"}
    exec(compile(block, "docs/loops.md", "exec"), names)
    scalars = [entry["scalars"] for entry in names["callback"].history]
    assert len(scalars) == 3
    assert all(math.isfinite(one["importance/visual_projection/raw/max_over_median"]) for one in scalars)
    assert "weights/visual_projection.weight/stable_rank" in scalars[0]
    assert len(ours(names["trainer"])) == 3
    assert capsys.readouterr().out


def test_no_other_callback_imports_transformers():
    """`lightning_robust.callbacks` must serve those who have no transformers Trainer."""
    import lightning_robust.callbacks

    files = [path for path in Path(lightning_robust.callbacks.__file__).parent.glob("*.py") if path.name != OWN]
    trees = {path.name: ast.walk(ast.parse(path.read_text(encoding="utf-8"))) for path in files}
    imports = {
        (name, alias.name if isinstance(node, ast.Import) else node.module)
        for name, tree in trees.items()
        for node in tree
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    assert [(name, what) for name, what in imports if "transformers" in what] == []
    assert ("__init__.py", "lightning_robust.callbacks.monitor") in imports


TWO = """
    import importlib.util, json, os, sys
    from pathlib import Path
    sys.path += {paths!r}
    spec = importlib.util.spec_from_file_location("cases", {file!r})
    cases = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(cases)
    folder, rank = Path({folder!r}), os.environ["RANK"]
    trainer = cases.make_trainer(folder, cases.clip(), report_to="tensorboard", per_device_train_batch_size=2)
    whole = cases.watch(trainer, head=cases.zero_shot_head)
    shared = cases.watch(trainer, cases.uneven(sampled=True), signatures=["kurtosis"], prefix="shared")
    trainer.train()
    (folder / f"{{rank}}.json").write_text(json.dumps([trainer.args.world_size, whole.history, shared.history]))
"""


@pytest.mark.slow
def test_two_processes_measure_whole_images_and_the_first_writes(tmp_path):
    helpers = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "contracts")]
    script = tmp_path / "two.py"
    code = textwrap.dedent(TWO.format(paths=helpers, file=__file__, folder=str(tmp_path)))
    script.write_text(code, encoding="utf-8")
    run_script(script, processes=2, environment={"TENSORBOARD_LOGGING_DIR": str(tmp_path / "board")})
    found, second = (json.loads((tmp_path / f"{rank}.json").read_text()) for rank in (0, 1))
    np.testing.assert_equal(found, second)
    world, first, shared = found
    assert world == 2
    assert [entry["step"] for entry in first] == [0, 4, 8]
    alone = make_trainer(tmp_path, clip(), num_train_epochs=0.01)
    callbacks = [watch(alone, head=zero_shot_head), watch(alone, uneven(), signatures=["kurtosis"], prefix="shared")]
    alone.train()
    for measured, callback in zip((first, shared), callbacks, strict=True):
        assert measured[0]["images"] == callback.history[0]["images"]
        # forwards of other batches round otherwise, in float32
        assert measured[0]["scalars"] == pytest.approx(callback.history[0]["scalars"], rel=1e-5, nan_ok=True)
    assert len(list((tmp_path / "board").rglob("events*"))) == 1
