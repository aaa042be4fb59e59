"""Contrastive pretraining: its loss, and real runs of a few steps."""

import math

import open_clip
import pytest
import torch
import transformers
from tokenizers import Tokenizer, models
from torch.nn import functional

from lightning_robust.models import load_encoder, zero_shot_head
from lightning_robust.training import ContrastivePretraining, contrastive_loss


def embeddings(n=6, d=8):
    generator = torch.Generator().manual_seed(0)
    return [functional.normalize(torch.randn(n, d, generator=generator, dtype=torch.float64), dim=1) for _ in range(2)]


def test_with_different_captions_it_is_open_clips_loss():
    images, texts = (x.requires_grad_() for x in embeddings())
    mine = contrastive_loss(images, texts, torch.tensor(7.0), torch.arange(6)[:, None])
    theirs = open_clip.ClipLoss()(images, texts, torch.tensor(7.0))
    torch.testing.assert_close(mine, theirs, rtol=1e-12, atol=1e-12)
    gradients = [torch.autograd.grad(loss, (images, texts)) for loss in (mine, theirs)]
    torch.testing.assert_close(*gradients, rtol=1e-10, atol=1e-12)


def test_identical_captions_are_positives_of_each_other():
    images, texts = embeddings(4)
    texts[1] = texts[0]
    tokens = torch.tensor([[1, 5], [1, 5], [1, 6], [2, 5]])  # equal in every position, not just in one
    logits = (3.0 * images @ texts.T).tolist()
    expected = 0.0
    for rows in (logits, list(zip(*logits, strict=True))):
        for i, row in enumerate(rows):
            positives = [0, 1] if i < 2 else [i]
            log_sum = math.log(sum(math.exp(x) for x in row))
            expected += sum(log_sum - row[j] for j in positives) / len(positives) / 8
    assert contrastive_loss(images, texts, torch.tensor(3.0), tokens).item() == pytest.approx(expected, rel=1e-12)


def test_a_run_learns_logs_and_exports_what_plain_open_clip_loads(tiny_folder, captioned, trainer, tmp_path):
    module = ContrastivePretraining(
        f"local-dir:{tiny_folder}", lr=3e-3, warmup_steps=2, seed=4, export_to=str(tmp_path / "out")
    )
    start = load_encoder(f"local-dir:{tiny_folder}", pretrained=False, seed=4).model.state_dict()
    assert all(torch.equal(start[name], tensor) for name, tensor in module.encoder.state_dict().items())
    run = trainer(max_epochs=12)
    run.fit(module, datamodule=captioned)
    metrics = run.callback_metrics
    assert set(metrics) == {
        "train/loss", "train/logit_scale", "val/shifts/accuracy",
        "val/reference/accuracy", "val/sketch/accuracy", "val/rendition/accuracy",
    }  # fmt: skip
    assert metrics["val/reference/accuracy"] > 0.9
    names = ["sketch", "rendition"]
    assert metrics["val/shifts/accuracy"] == sum(metrics[f"val/{name}/accuracy"] for name in names) / 2

    clip, _, _ = open_clip.create_model_and_transforms(f"local-dir:{tmp_path / 'out'}")
    assert all(torch.equal(clip.state_dict()[name], value) for name, value in module.encoder.state_dict().items())
    tokenizer = open_clip.get_tokenizer(f"local-dir:{tmp_path / 'out'}")
    head = open_clip.build_zero_shot_classifier(clip.eval(), tokenizer, captioned.class_names, captioned.templates)
    images, targets = captioned.sets[1]
    with torch.no_grad():
        right = (clip.encode_image(images, normalize=True) @ head).argmax(dim=1) == targets
    assert right.float().mean() == pytest.approx(metrics["val/reference/accuracy"].item())


def test_the_untrained_control_is_the_start_with_a_head_of_its_own(tiny_folder, captioned, trainer):
    module = ContrastivePretraining(f"local-dir:{tiny_folder}", seed=4)
    start = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    trainer(max_epochs=1).fit(module, datamodule=captioned)
    rng = torch.get_rng_state()
    module.hparams["_instantiator"] = "of LightningCLI"  # which adds it to every module that it makes
    control = module.untrained_model()
    assert all(torch.equal(start[name], tensor) for name, tensor in control.state_dict().items())
    head = zero_shot_head(control.encoder, control.tokenizer, captioned.class_names, captioned.templates)
    assert torch.equal(control.head_weight(), head)
    assert not torch.equal(module.head_weight(), head)
    assert torch.equal(rng, torch.get_rng_state())
    images = captioned.sets[0][0]
    with torch.no_grad():
        assert torch.equal(control(images), control.encoder.visual(images))


def test_captions_may_be_tokens_already(tiny_folder):
    module = ContrastivePretraining(f"local-dir:{tiny_folder}")
    tokens = module.tokenizer(["a star"])
    assert module._tokens(tokens) is tokens
    assert torch.equal(module._tokens(["a star"]), tokens)


def test_the_logit_scale_never_exceeds_100(tiny_folder, captioned, trainer):
    module = ContrastivePretraining(f"local-dir:{tiny_folder}", warmup_steps=0)
    with torch.no_grad():
        module.encoder.logit_scale.fill_(9.0)
    trainer(max_steps=1).fit(module, datamodule=captioned)
    assert module.encoder.logit_scale.exp().item() == pytest.approx(100.0)


def test_a_stopped_and_resumed_run_equals_the_whole_one(tiny_folder, captioned, trainer, stop_after, tmp_path):
    def fresh():
        return ContrastivePretraining(f"local-dir:{tiny_folder}", warmup_steps=2)

    whole, first, second = fresh(), fresh(), fresh()
    trainer(max_epochs=3).fit(whole, datamodule=captioned)
    # the schedule spans three epochs in both, so the first run is stopped, not shortened
    stopped = trainer(max_epochs=3, callbacks=[stop_after(1)])
    stopped.fit(first, datamodule=captioned)
    stopped.save_checkpoint(tmp_path / "last.ckpt")
    trainer(max_epochs=3).fit(second, datamodule=captioned, ckpt_path=tmp_path / "last.ckpt", weights_only=True)
    assert all(torch.equal(value, second.state_dict()[name]) for name, value in whole.state_dict().items())
    assert not torch.equal(first.encoder.visual.conv1.weight, whole.encoder.visual.conv1.weight)


def test_an_encoder_without_text_is_refused_when_the_module_is_made():
    with pytest.raises(ValueError, match=r"trains on captions, and 'timm:resnet10t' has no text tower.*Supervised"):
        ContrastivePretraining("timm:resnet10t")


def test_what_could_not_be_exported_is_refused_before_the_hours_of_training(tmp_path):
    """A SigLIP of transformers trains, but is no open_clip folder; its checkpoints load under its own name."""
    name = tiny_siglip(tmp_path)
    with pytest.raises(ValueError, match=r"export_to writes .* is none: leave export_to out .*siglip@FILE'"):
        ContrastivePretraining(name, export_to="out")
    module = ContrastivePretraining(name)
    with pytest.raises(ValueError, match="leave export_to out"):
        module.export(tmp_path / "out")
    assert not (tmp_path / "out").exists()
    torch.save({"state_dict": module.state_dict()}, tmp_path / "last.ckpt")  # as the sentence says
    loaded = load_encoder(f"{name}@{tmp_path / 'last.ckpt'}").model.state_dict()
    assert all(torch.equal(loaded[entry], value) for entry, value in module.encoder.state_dict().items())


@pytest.mark.filterwarnings("ignore:(Of the|All 8 captions of the) first batch")  # its tokenizer knows one word
@pytest.mark.parametrize("loss", ["infonce", "siglip"])
def test_a_siglip_of_transformers_trains_its_bias_where_the_loss_has_one(captioned, trainer, tmp_path, loss):
    captioned.class_names, captioned.templates = ["star"] * 3, ["star"]  # what its tokenizer knows
    module = ContrastivePretraining(tiny_siglip(tmp_path), loss=loss, warmup_steps=0, lock_text=True, pretrained=True)
    before = {name: value.clone() for name, value in module.encoder.state_dict().items()}
    trainer(max_steps=1, limit_val_batches=0).fit(module, datamodule=captioned)
    after = module.encoder.state_dict()
    moved = {name for name, value in after.items() if not torch.equal(value, before[name])}
    assert ("logit_bias" in moved) == (loss == "siglip")
    assert any(name.startswith("visual.") for name in moved)
    assert not any(name.startswith("text_model.") for name in moved)


def tiny_siglip(folder):
    text = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    vision = {**text, "image_size": 32, "patch_size": 16}
    text |= {"vocab_size": 4, "max_position_embeddings": 8, "projection_size": 16}
    folder = folder / "siglip"
    transformers.SiglipModel(transformers.SiglipConfig(vision_config=vision, text_config=text)).save_pretrained(folder)
    raw = Tokenizer(models.WordLevel({"<pad>": 0, "<unk>": 1, "star": 2}, unk_token="<unk>"))
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=raw, pad_token="<pad>", unk_token="<unk>")
    tokenizer.save_pretrained(folder)
    transformers.SiglipImageProcessor(size={"height": 32, "width": 32}).save_pretrained(folder)
    return f"transformers:{folder}"
