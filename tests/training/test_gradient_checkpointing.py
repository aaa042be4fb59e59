"""Gradient checkpointing: the same gradients from blocks that are computed twice."""

import pytest
import torch
import transformers

from lightning_robust.models import load_encoder
from lightning_robust.models.transformers_tower import TransformersClip
from lightning_robust.training import ContrastivePretraining
from lightning_robust.training.gradient_checkpointing import checkpoint_blocks

VIT = {"vision": "vit", "vision_layers": 2, "vision_width": 32, "vision_head_width": 16, "text_layers": 2}


def siglip():
    torch.manual_seed(0)
    part = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    text = {**part, "vocab_size": 12, "max_position_embeddings": 18, "projection_size": 16}
    text |= {"bos_token_id": 1, "eos_token_id": 2}
    config = transformers.SiglipConfig(vision_config={**part, "image_size": 32, "patch_size": 16}, text_config=text)
    return TransformersClip(transformers.SiglipModel(config))


def calls_and_gradients(model, parts):
    """Forward calls of a part of every block, and all gradients, of one step."""
    counts = [0] * len(parts)
    for index, part in enumerate(parts):
        part.register_forward_pre_hook(lambda *_, index=index: counts.__setitem__(index, counts[index] + 1))
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(3, 3, 32, 32, generator=generator, dtype=torch.float64)
    tokens = torch.randint(1, 12, (3, 18), generator=generator)
    (
        model.encode_image(images, normalize=True) @ model.encode_text(tokens, normalize=True).T
    ).diagonal().sum().backward()
    return counts, {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("kind", ["open_clip", "transformers"])
def test_blocks_run_twice_and_gradients_are_the_same(small_clip, kind):
    def fresh():
        made = siglip() if kind == "transformers" else load_encoder(small_clip(**VIT), pretrained=False, seed=2).model
        return made.double().train()

    def parts(model):
        if kind == "transformers":
            layers = [*model.visual.vision_model.encoder.layers, *model.text_model.encoder.layers]
            return [layer.layer_norm1 for layer in layers]
        return [block.ln_1 for block in (*model.visual.transformer.resblocks, *model.transformer.resblocks)]

    plain, saving = fresh(), fresh()
    checkpoint_blocks(saving)
    once, expected = calls_and_gradients(plain, parts(plain))
    twice, found = calls_and_gradients(saving, parts(saving))
    assert (once, twice) == ([1] * 4, [2] * 4)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-14)


def test_a_model_with_batch_norm_is_refused(tiny_folder):
    with pytest.raises(ValueError, match=r"would move the running statistics .* twice a step: .*take chunk_size"):
        ContrastivePretraining(f"local-dir:{tiny_folder}", gradient_checkpointing=True)


def test_a_tower_that_cannot_is_refused(small_clip):
    model = load_encoder(small_clip(**VIT), pretrained=False).model
    model.visual.set_grad_checkpointing = lambda enable=True: None  # as open_clip's towers of other kinds
    with pytest.raises(ValueError, match="no effect on a tower"):
        checkpoint_blocks(model)
