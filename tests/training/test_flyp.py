"""FLYP: its loss, its captions, and real runs of a few steps."""

import math

import open_clip
import pytest
import torch
from lightning.pytorch import Callback
from open_clip.loss import ClipLoss
from safetensors.torch import load_file
from torch.utils.data import DataLoader, TensorDataset

from lightning_robust.callbacks import WiseFT
from lightning_robust.models import load_encoder, zero_shot_head
from lightning_robust.models.interpolate import interpolate
from lightning_robust.training import ContrastiveFinetuning, contrastive_loss, info_nce
from lightning_robust.training.class_captions import ClassCaptions


@pytest.fixture
def fresh(tiny_folder):
    def make(**options):
        return ContrastiveFinetuning(f"local-dir:{tiny_folder}", lr=3e-3, warmup_steps=1, **options)

    return make


@pytest.fixture
def embeddings():
    generator = torch.Generator().manual_seed(0)
    return [torch.nn.functional.normalize(torch.randn(7, 5, generator=generator), dim=1) for _ in range(2)]


def naive(images, texts, scale):
    """One image and one caption at a time."""
    total = 0.0
    for rows, columns in ((images, texts), (texts, images)):
        for i, row in enumerate(rows):
            scores = [math.exp(scale * float(row @ column)) for column in columns]
            total -= math.log(scores[i] / sum(scores))
    return total / (2 * len(images))


def test_the_loss_is_open_clips_and_that_of_a_loop(embeddings):
    images, texts = embeddings
    texts[3] = texts[0]  # the same caption twice stays a negative of itself
    found = info_nce(images, texts, torch.tensor(12.0))
    assert float(found) == pytest.approx(naive(images.double(), texts.double(), 12.0), rel=1e-5)
    torch.testing.assert_close(found, ClipLoss()(images, texts, torch.tensor(12.0)))


def test_a_step_has_the_loss_of_the_captions_that_are_drawn(fresh, data, trainer, tiny_folder):
    clip = load_encoder(f"local-dir:{tiny_folder}")
    images, targets = data.sets[0][0][:8], data.sets[0][1][:8]
    for positives in ("own", "same-caption"):
        module = fresh(positives=positives, seed=5)
        run = trainer(max_steps=1, max_epochs=None)
        run.fit(module, datamodule=data)
        captions = ClassCaptions(clip.tokenizer, data.class_names, data.templates)
        tokens = captions.draw(targets, 5, 0, 0, 0)
        with torch.no_grad():
            clip.model.train()
            pair = clip.model.encode_image(images, normalize=True), clip.model.encode_text(tokens, normalize=True)
            scale = clip.model.logit_scale.exp()
            expected = info_nce(*pair, scale) if positives == "own" else contrastive_loss(*pair, scale, tokens)
        clip = load_encoder(f"local-dir:{tiny_folder}")
        assert float(run.callback_metrics["train/loss"]) == pytest.approx(float(expected), rel=1e-5)


def test_captions_are_a_function_of_seed_and_place():
    def words(texts):
        return torch.tensor([[int(text.split()[0]), int(text.split()[1])] for text in texts])

    captions = ClassCaptions(words, ["0", "1", "2"], [f"{number} {{}}" for number in range(10)])
    targets = torch.arange(300) % 3
    first = captions.draw(targets, 3, 0, 4, 0)
    assert torch.equal(first[:, 1], targets)
    assert set(first[:, 0].tolist()) == set(range(10))
    assert torch.equal(first, captions.draw(targets, 3, 0, 4, 0))
    for other in ((4, 0, 4, 0), (3, 1, 4, 0), (3, 0, 5, 0), (3, 0, 4, 1)):
        assert not torch.equal(first, captions.draw(targets, *other))


def test_a_run_learns_in_both_towers_and_logs_what_the_docstring_says(fresh, data, trainer, tiny_folder):
    module, run = fresh(), trainer(max_epochs=20)
    run.fit(module, datamodule=data)
    tags = {f"val/{name}/accuracy" for name in [*data.val_loader_names, "shifts"]}
    assert set(run.callback_metrics) == {"train/loss", "train/logit_scale"} | tags
    assert run.callback_metrics["val/reference/accuracy"] > 0.9
    before = load_encoder(f"local-dir:{tiny_folder}").model.state_dict()
    moved = {n for n, value in module.model.clip_state_dict().items() if not torch.equal(before[n], value)}
    assert {"visual.conv1.weight", "token_embedding.weight", "logit_scale"} <= moved


def test_accuracies_are_those_of_the_head_that_plain_open_clip_makes(fresh, data, trainer, tiny_folder, tmp_path):
    module, run = fresh(), trainer(max_epochs=3)
    run.fit(module, datamodule=data)
    values = {k: v for part in run.validate(module, datamodule=data, verbose=False) for k, v in part.items()}
    clip = load_encoder(f"local-dir:{tiny_folder}")
    clip.model.load_state_dict(module.model.clip_state_dict())
    head = open_clip.build_zero_shot_classifier(clip.model, clip.tokenizer, data.class_names, data.templates)
    scale = clip.model.logit_scale.exp()
    torch.testing.assert_close(module.head_weight(), scale * head.T, rtol=1e-5, atol=1e-5)
    for name, (images, targets) in zip(data.val_loader_names, data.sets[1:], strict=True):
        with torch.no_grad():
            right = (clip.model.encode_image(images, normalize=True) @ head).argmax(dim=1) == targets
        assert values[f"val/{name}/accuracy"] == pytest.approx(right.float().mean().item())


def test_every_point_of_a_path_is_a_clip_with_its_own_zero_shot_head(fresh, data, trainer, tiny_folder, tmp_path):
    path = WiseFT(replicates=50, alphas=[0.0, 0.3, 0.5, 1.0], folder=tmp_path / "wise_ft")
    module, run = fresh(), trainer(max_epochs=4, callbacks=[path])
    run.fit(module, datamodule=data)
    theta0 = load_encoder(f"local-dir:{tiny_folder}").model.state_dict()
    theta1 = module.model.clip_state_dict()
    clip = load_encoder(f"local-dir:{tiny_folder}")
    images, targets = data.sets[1]
    for row in path.path.rows:
        state = load_file(tmp_path / "wise_ft" / f"alpha={row.alpha:.2f}.safetensors")
        expected = interpolate(theta0, theta1, row.alpha)
        assert all(torch.equal(state[name], value) for name, value in expected.items())
        clip.model.load_state_dict(state)
        head = zero_shot_head(clip.model, clip.tokenizer, data.class_names, data.templates)
        written = load_file(tmp_path / "wise_ft" / f"alpha={row.alpha:.2f}.head.safetensors")["weight"]
        torch.testing.assert_close(written, head, rtol=1e-6, atol=1e-6)
        with torch.no_grad():
            right = (clip.model.encode_image(images, normalize=True) @ head.T).argmax(dim=1) == targets
        assert row.reference == pytest.approx(right.float().mean().item())
    mixed = interpolate(path.theta0, module.model.state_dict(), 0.5)["head.weight"]
    half = load_file(tmp_path / "wise_ft" / "alpha=0.50.head.safetensors")["weight"]
    assert not torch.allclose(mixed, half, rtol=1e-3, atol=1e-3)  # the mixture of two heads would be another model


def test_a_stopped_and_resumed_run_equals_the_whole_one(fresh, data, trainer, stop_after, tmp_path):
    whole, first, second = fresh(), fresh(), fresh()
    trainer(max_epochs=3).fit(whole, datamodule=data)
    stopped = trainer(max_epochs=3, callbacks=[stop_after(2)])
    stopped.fit(first, datamodule=data)
    stopped.save_checkpoint(tmp_path / "last.ckpt")
    trainer(max_epochs=3).fit(second, datamodule=data, ckpt_path=tmp_path / "last.ckpt", weights_only=True)
    assert all(torch.equal(value, second.state_dict()[name]) for name, value in whole.state_dict().items())
    loaded = ContrastiveFinetuning.load_from_checkpoint(tmp_path / "last.ckpt", weights_only=True)
    assert loaded.class_names == data.class_names
    assert torch.equal(loaded.model.head.weight, first.head_weight())
    assert not torch.equal(first.head_weight(), whole.head_weight())
    images = data.sets[2][0]
    with torch.no_grad():
        expected = first.eval()(images)
    batches = DataLoader(TensorDataset(images, images), batch_size=24)
    torch.testing.assert_close(torch.cat(trainer().predict(loaded, batches)), expected)


def test_the_untrained_control_has_random_towers_and_their_own_head(fresh, data, trainer, tiny_folder):
    module = fresh()
    trainer(max_epochs=1).fit(module, datamodule=data)
    control = module.untrained_model()
    random = load_encoder(f"local-dir:{tiny_folder}", pretrained=False, seed=0)
    head = zero_shot_head(random.model, random.tokenizer, data.class_names, data.templates)
    assert torch.equal(control.head_weight(), head)
    assert not control.training


def test_a_frozen_text_tower_is_locked(fresh, data, trainer, tiny_folder):
    parts = ("transformer", "token_embedding", "ln_final", "positional_embedding", "text_projection", "logit_scale")
    frozen = [f"model.encoder.{part}" for part in parts]
    module = fresh(freeze=frozen)
    trainer(max_epochs=2).fit(module, datamodule=data)
    before = load_encoder(f"local-dir:{tiny_folder}").model.state_dict()
    moved = {n for n, value in module.model.clip_state_dict().items() if not torch.equal(before[n], value)}
    assert moved
    assert all(name.startswith("visual.") for name in moved)
    assert not module.model.encoder.transformer.training
    assert module.model.encoder.visual.training


def test_what_does_not_fit_is_refused(tiny_folder, data, trainer, fresh):
    with pytest.raises(ValueError, match="not 'all'"):
        fresh(positives="all")
    with pytest.raises(ValueError, match="freeze names nothing"):
        fresh(freeze=[])
    data.class_names = ["star", "zebra", "truck"]
    with pytest.raises(ValueError, match="'zebra'"):
        trainer().fit(fresh(), datamodule=data)
    with pytest.raises(ValueError, match="not known yet"):
        fresh().untrained_model()
    with pytest.raises(ValueError, match="not written by ContrastiveFinetuning"):
        fresh().on_load_checkpoint({"state_dict": {}})
    with pytest.raises(ValueError, match=r"'timm:resnet18' has no text tower"):
        ContrastiveFinetuning("timm:resnet18", pretrained=False)


def test_a_bias_that_the_loss_does_not_read_is_not_trained(fresh, data, trainer):
    module = fresh()
    module.loaded.model.logit_bias = torch.nn.Parameter(torch.tensor(-10.0))  # as a SigLIP has
    without = []

    class Look(Callback):
        def on_before_optimizer_step(self, trainer, pl_module, optimizer):
            without.extend(n for n, p in pl_module.named_parameters() if p.requires_grad and p.grad is None)

    trainer(max_epochs=1, callbacks=[Look()]).fit(module, datamodule=data)
    assert without == []  # parallel training stops at a trainable parameter without a gradient
    assert module.model.encoder.logit_bias.item() == -10.0
