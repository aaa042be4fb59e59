"""Pretraining with SigLIP's loss: its start, its export, its checkpoints; and both losses in other precisions."""

import open_clip
import pytest
import torch
from lightning.pytorch.callbacks import Callback, EMAWeightAveraging
from open_clip.loss import SigLipLoss

from lightning_robust.models import load_encoder
from lightning_robust.models.checkpoint_files import save_tensors
from lightning_robust.training import ContrastivePretraining, contrastive_losses

VIT = {"vision": "vit", "vision_layers": 2, "vision_width": 32, "vision_head_width": 16}


def siglip(name, **options):
    return ContrastivePretraining(name, loss="siglip", warmup_steps=1, **options)


def test_it_starts_from_ten_and_minus_ten_and_the_rest_is_the_seeds(tiny_folder):
    module = siglip(f"local-dir:{tiny_folder}", seed=4)
    assert module.encoder.logit_scale.exp().item() == pytest.approx(10.0)
    assert module.encoder.logit_bias.item() == -10.0
    assert module.encoder.logit_bias.requires_grad
    other = load_encoder(f"local-dir:{tiny_folder}", pretrained=False, seed=4).model.state_dict()
    state = module.encoder.state_dict()
    assert {name for name, value in state.items() if not torch.equal(value, other.get(name, torch.ones(0)))} == {
        "logit_scale",
        "logit_bias",
    }


def test_the_first_step_is_open_clips_loss(small_clip, captioned, trainer):
    name = small_clip(**VIT)
    module, run = siglip(name, identical=False), trainer(max_steps=1)
    clip = load_encoder(name, pretrained=False).model.train()
    images, captions = next(iter(captioned.train_dataloader()))
    tokens = module.tokenizer(list(captions))
    with torch.no_grad():
        pair = clip.encode_image(images, normalize=True), clip.encode_text(tokens, normalize=True)
        expected = SigLipLoss()(*pair, torch.tensor(10.0), torch.tensor(-10.0))
    run.fit(module, datamodule=captioned)
    assert run.callback_metrics["train/loss"].item() == pytest.approx(expected.item(), rel=1e-5)
    assert run.callback_metrics["train/logit_bias"] == -10.0
    assert module.encoder.logit_bias != -10.0


def test_it_learns_and_exports_what_plain_open_clip_loads(tiny_folder, captioned, trainer, tmp_path):
    module = siglip(f"local-dir:{tiny_folder}", lr=3e-3, export_to="out")
    run = trainer(max_epochs=15)
    run.fit(module, datamodule=captioned)
    assert run.callback_metrics["val/reference/accuracy"] > 0.9
    state = module.encoder.state_dict()
    clip, _, _ = open_clip.create_model_and_transforms(f"local-dir:{tmp_path / 'out'}")
    assert isinstance(clip.logit_bias, torch.nn.Parameter)
    assert set(clip.state_dict()) == set(state)
    assert all(torch.equal(clip.state_dict()[name], value) for name, value in state.items())
    # the folder as an architecture: SigLIP's start, and for InfoNCE a bias that stands still
    again = ContrastivePretraining(f"local-dir:{tmp_path / 'out'}", loss="siglip").encoder
    assert (again.logit_scale.exp().item(), again.logit_bias.item()) == (pytest.approx(10.0), -10.0)
    plain = ContrastivePretraining(f"local-dir:{tmp_path / 'out'}", warmup_steps=1)
    trainer(max_steps=2).fit(plain, datamodule=captioned)
    assert plain.encoder.logit_bias == -10.0


def test_its_checkpoints_go_on_and_load_by_name(tiny_folder, captioned, trainer, stop_after, tmp_path):
    name, file = f"local-dir:{tiny_folder}", tmp_path / "last.ckpt"
    whole, first, second = siglip(name), siglip(name), siglip(name)
    trainer(max_epochs=3).fit(whole, datamodule=captioned)
    stopped = trainer(max_epochs=3, callbacks=[stop_after(1)])
    stopped.fit(first, datamodule=captioned)
    stopped.save_checkpoint(file)
    trainer(max_epochs=3).fit(second, datamodule=captioned, ckpt_path=file, weights_only=True)
    assert all(torch.equal(value, second.state_dict()[entry]) for entry, value in whole.state_dict().items())
    save_tensors(tmp_path / "state.safetensors", first.encoder.state_dict())
    for path in (file, tmp_path / "state.safetensors"):
        loaded = load_encoder(f"{name}@{path}").model.state_dict()
        assert all(torch.equal(loaded[entry], value) for entry, value in first.encoder.state_dict().items())
    going_on = ContrastivePretraining(f"{name}@{file}", loss="siglip", pretrained=True)
    assert torch.equal(going_on.encoder.logit_bias, first.encoder.logit_bias)
    assert torch.equal(going_on.encoder.logit_scale, first.encoder.logit_scale)


@pytest.mark.parametrize("loss", ["infonce", "siglip"])
def test_a_run_in_bfloat16_is_near_that_in_float32(small_clip, captioned, trainer, loss):
    name, losses = small_clip(**VIT), []
    for precision in ("32-true", "bf16-mixed"):
        run = trainer(max_steps=4, max_epochs=None, limit_val_batches=0, precision=precision)
        run.fit(ContrastivePretraining(name, loss=loss, lr=1e-3, warmup_steps=2, chunk_size=3), datamodule=captioned)
        losses.append(run.callback_metrics["train/loss"].item())
    assert losses[1] != losses[0]
    assert losses[1] == pytest.approx(losses[0], rel=0.02)


@pytest.mark.parametrize("loss", ["infonce", "siglip"])
def test_the_contrast_itself_is_not_in_bfloat16(small_clip, captioned, loss):
    module = ContrastivePretraining(small_clip(**VIT), loss=loss)
    with torch.no_grad():
        module.encoder.logit_scale.fill_(4.6)  # nearly 100: a rounding of 1/256 would be 0.4 of a logit
    images, captions = next(iter(captioned.train_dataloader()))
    tokens = module.tokenizer(list(captions))
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        h, t = module.encoder.encode_image(images, normalize=True), module.encoder.encode_text(tokens, normalize=True)
        found = module._contrast(h, t, tokens, slice(None))
    pair = h.double(), t.double(), module.encoder.logit_scale.double().exp()
    bias = () if loss == "infonce" else (module.encoder.logit_bias.double(),)
    function = contrastive_losses.info_nce if loss == "infonce" else contrastive_losses.siglip
    expected = function(*pair, *bias, tokens)
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)


def test_the_average_is_validated_and_exported(tiny_folder, captioned, trainer, tmp_path):
    class ByHand(Callback):
        average, validated = None, None

        def on_train_batch_end(self, trainer, pl_module, *_):
            value = pl_module.encoder.text_projection.detach().clone()
            self.average = value if self.average is None else 0.5 * self.average + 0.5 * value

        def on_validation_batch_start(self, trainer, pl_module, *_):
            self.validated = pl_module.encoder.text_projection.detach().clone(), pl_module._head.clone()

    module, by_hand = siglip(f"local-dir:{tiny_folder}", lr=3e-3, export_to="out"), ByHand()
    trainer(max_epochs=2, callbacks=[by_hand, EMAWeightAveraging(decay=0.5)]).fit(module, datamodule=captioned)
    exported = load_encoder(f"local-dir:{tmp_path / 'out'}").model
    torch.testing.assert_close(by_hand.validated[0], by_hand.average, rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(exported.text_projection.detach(), by_hand.average, rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(by_hand.validated[1], module.head_weight())


@pytest.mark.parametrize("loss", ["infonce", "siglip"])
def test_chunks_leave_a_run_without_batch_norm_as_it_is(small_clip, captioned, trainer, loss):
    name, runs = small_clip(**VIT), []
    for size in (None, 3):
        module = ContrastivePretraining(name, loss=loss, lr=1e-3, warmup_steps=1, chunk_size=size).double()
        trainer(max_epochs=2, precision="64-true").fit(module, datamodule=captioned)
        runs.append(module.encoder.state_dict())
    torch.testing.assert_close(*runs, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"loss": "clip"}, "loss is 'infonce' or 'siglip', not 'clip'"),
        ({"chunk_size": 0}, "chunk_size is at least 1, not 0"),
        ({"lock_text": 0}, "lock_text is true, false or a number"),
    ],
)
def test_a_setting_out_of_range_is_refused(tiny_folder, options, sentence):
    with pytest.raises(ValueError, match=sentence):
        ContrastivePretraining(f"local-dir:{tiny_folder}", **options)
