"""The texts are read once per validation, whatever looks at the head, and training is the same either way."""

import itertools

import pytest
import torch
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import EMAWeightAveraging
from torch.utils.data import DataLoader, TensorDataset

from lightning_robust.callbacks import ConceptMonitor, EffectiveRobustness, LogSteps, SignatureMonitor
from lightning_robust.models import zero_shot_head
from lightning_robust.robustness import Baseline, ModelAccuracies
from lightning_robust.training import ContrastiveFinetuning, ContrastivePretraining


def baseline():
    models = []
    for k, reference in enumerate((0.2, 0.35, 0.5, 0.65, 0.8, 0.9)):
        off = 0.05 + 0.8 * reference + 0.01 * (-1) ** k
        models.append(ModelAccuracies(f"model {k}", reference, {"sketch": off, "rendition": off - 0.03}))
    return Baseline.fit(models, n={"reference": 500, "sketch": 500, "rendition": 500}, name="made up")


@pytest.fixture
def watched_data(captioned):
    """With concept images, which the head's directions are compared on."""
    images, targets = captioned.sets[1]
    concepts = torch.stack([targets == 0, targets == 1, images[:, 2].mean(dim=(1, 2)) > 1.0], dim=1).to(torch.int8)
    captioned.concept_dataloader = lambda: DataLoader(TensorDataset(images, concepts, targets), batch_size=8)
    captioned.concept_categories = ("shape", "shape", "colour")
    return captioned


def monitors(layer):
    shown = {"layers": [layer], "untrained": True}
    return [
        SignatureMonitor(signatures=["kurtosis", "spectrum"], **shown), ConceptMonitor(**shown),
        EffectiveRobustness(baseline(), replicates=5),
    ]  # fmt: skip


class Texts(Callback):
    """Counts the texts that the tower of a module reads without gradient: those of heads, not of training."""

    def __init__(self):
        self.read, self.heads, self.at = 0, [], []

    def on_fit_start(self, trainer, pl_module):
        model = getattr(pl_module, "encoder", None) or pl_module.model.encoder

        def count(module, args):
            self.read += 0 if torch.is_grad_enabled() else len(args[0])

        model.token_embedding.register_forward_pre_hook(count)

    def on_validation_batch_start(self, trainer, pl_module, batch, batch_idx, dataloader_idx=0):
        if batch_idx == dataloader_idx == 0:  # averages are in place
            self.heads.append(pl_module.head_weight().clone())

    def on_validation_end(self, trainer, pl_module):
        self.at.append((trainer.global_step, self.read))


def zero_shot(module, data):
    encoder = getattr(module, "encoder", None) or module.model.encoder
    tokenizer = module.tokenizer if hasattr(module, "tokenizer") else module.loaded.tokenizer
    return zero_shot_head(encoder, tokenizer, data.class_names, data.templates)


class Anew(Callback):
    """The head of every validation as it was made before, from the weights that are validated."""

    def __init__(self):
        self.heads = []

    def on_validation_batch_start(self, trainer, pl_module, batch, batch_idx, dataloader_idx=0):
        if batch_idx == dataloader_idx == 0:
            self.heads.append(zero_shot(pl_module, trainer.datamodule))


@pytest.mark.filterwarnings("ignore:effective robustness is an extrapolation")
@pytest.mark.parametrize("averaged", [False, True], ids=["plain", "averaged"])
def test_one_head_for_each_validation_and_training_is_the_same(tiny_folder, watched_data, trainer, averaged):
    def fit(*callbacks):
        module = ContrastivePretraining(f"local-dir:{tiny_folder}", lr=3e-3, warmup_steps=1)
        averages = [EMAWeightAveraging(decay=0.5)] if averaged else []
        run = trainer(max_epochs=2, callbacks=[*averages, *callbacks])
        run.fit(module, datamodule=watched_data)
        return module

    texts, anew, log = Texts(), Anew(), LogSteps(checkpoints=False)
    watched = fit(log, *monitors("encoder.visual"), texts)
    each = len(watched_data.class_names) * len(watched_data.templates)
    assert [step for step, _ in texts.at] == log.done == [0, 1, 2, 3, 4, 6]
    assert [read for _, read in texts.at] == [each * (k + 1) for k in range(6)]
    assert texts.read == 6 * each  # and none in between or later
    assert all(not torch.equal(one, other) for one, other in itertools.pairwise(texts.heads))

    alone = fit(LogSteps(checkpoints=False), anew)
    state = alone.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in watched.state_dict().items())
    assert all(torch.equal(one, other) for one, other in zip(texts.heads, anew.heads, strict=True))


def test_loaded_weights_have_a_head_of_their_own(tiny_folder, captioned, trainer, tmp_path):
    """Without a step in between."""
    module, other = (ContrastivePretraining(f"local-dir:{tiny_folder}", seed=seed, warmup_steps=1) for seed in (1, 2))
    run = trainer(max_epochs=1)
    run.fit(module, datamodule=captioned)
    run.save_checkpoint(tmp_path / "a.ckpt")
    first = module.head_weight()
    assert torch.equal(first, module.head_weight())
    module.load_state_dict(other.state_dict())
    assert torch.equal(module.head_weight(), zero_shot(module, captioned))
    assert not torch.equal(module.head_weight(), first)
    run.validate(module, datamodule=captioned, ckpt_path=tmp_path / "a.ckpt", weights_only=True, verbose=False)
    assert torch.equal(module.head_weight(), first)


@pytest.mark.filterwarnings("ignore:effective robustness is an extrapolation")
def test_finetuning_with_captions_reads_them_once_too(tiny_folder, watched_data, trainer):
    watched_data.captions = False
    module = ContrastiveFinetuning(f"local-dir:{tiny_folder}", lr=3e-3, warmup_steps=1)
    texts, log = Texts(), LogSteps(checkpoints=False)
    run = trainer(max_epochs=2, callbacks=[log, *monitors("model.encoder.visual"), texts])
    run.fit(module, datamodule=watched_data)
    each = len(watched_data.class_names) * len(watched_data.templates)
    # the head of step 0 was made in setup, before the count began
    assert [read for _, read in texts.at] == [each * k for k in range(len(log.done))]
    assert texts.read == each * (len(log.done) - 1)
    assert torch.equal(texts.heads[-1], zero_shot(module, watched_data))
