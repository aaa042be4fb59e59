"""Encoders of every source finetune, and their checkpoints load again under the encoder's own name."""

import lightning.pytorch as pl
import pytest
import torch
import transformers
from tokenizers import Tokenizer, models
from torch.utils.data import DataLoader

from lightning_robust.models import ImageClassifier, ImageTower, load_encoder, split_classifier_state


class Module(pl.LightningModule):
    """A linear classifier on an encoder, as the trainings of this project build it."""

    def __init__(self, name):
        super().__init__()
        encoder = load_encoder(name, pretrained=False)
        self.model = ImageClassifier(encoder.model, torch.eye(2, encoder.embed_dim)).train()

    def training_step(self, batch, _):
        return torch.nn.functional.cross_entropy(self.model(batch[0]), batch[1])

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


@pytest.fixture
def siglip(tmp_path):
    """A SigLIP without a tokenizer of its own kind: its configuration and preprocessing."""
    text = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    vision = {**text, "image_size": 32, "patch_size": 16}
    text |= {"vocab_size": 4, "max_position_embeddings": 8, "projection_size": 16}
    folder = tmp_path / "siglip"
    transformers.SiglipModel(transformers.SiglipConfig(vision_config=vision, text_config=text)).save_pretrained(folder)
    raw = Tokenizer(models.WordLevel({"<pad>": 0, "<unk>": 1, "star": 2}, unk_token="<unk>"))
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=raw, pad_token="<pad>", unk_token="<unk>")
    tokenizer.save_pretrained(folder)
    transformers.SiglipImageProcessor(size={"height": 32, "width": 32}).save_pretrained(folder)
    return f"transformers:{folder}"


@pytest.mark.parametrize("source", ["local-dir", "timm", "transformers"])
def test_a_finetuned_checkpoint_loads_under_its_encoders_name(source, tiny_folder, siglip, tmp_path):
    name = {"local-dir": f"local-dir:{tiny_folder}", "timm": "timm:resnet10t", "transformers": siglip}[source]
    torch.manual_seed(0)
    module, items = Module(name), [(torch.rand(3, 32, 32), number % 2) for number in range(8)]
    trainer = pl.Trainer(
        accelerator="cpu", max_steps=2, logger=False, enable_progress_bar=False, enable_model_summary=False,
        default_root_dir=tmp_path, enable_checkpointing=False,
    )  # fmt: skip
    trainer.fit(module, DataLoader(items, batch_size=4))
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    loaded = load_encoder(f"{name}@{tmp_path / 'last.ckpt'}")
    encoder, _ = split_classifier_state(module.model.state_dict())
    state = loaded.model.state_dict()
    assert state.keys() == encoder.keys()
    assert all(torch.equal(state[entry], value) for entry, value in encoder.items())
    start = load_encoder(name, pretrained=False).model.state_dict()
    moved = {entry for entry, value in encoder.items() if not torch.equal(start[entry], value)}
    assert moved
    assert all(entry.startswith("visual.") for entry in moved)
    assert isinstance(loaded.model, ImageTower) == (source == "timm")
