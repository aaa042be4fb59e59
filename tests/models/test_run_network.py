"""Networks from runs of contrastive pretraining with other losses and starts."""

import pytest
import torch
import yaml

from lightning_robust.models import load_encoder
from lightning_robust.models.checkpoint_files import save_tensors
from lightning_robust.models.logit_bias import give_logit_bias
from lightning_robust.models.networks import load_network


@pytest.fixture
def run_folder(tmp_path):
    """A run of SigLIP's loss, whose weights have a bias that the encoder's architecture has not."""
    model = load_encoder("scenes-clip", pretrained=False, seed=5).model
    give_logit_bias(model, -9.5)
    torch.save({"state_dict": {f"encoder.{n}": v for n, v in model.state_dict().items()}}, tmp_path / "last.ckpt")
    save_tensors(tmp_path / "steps" / "step=000008.safetensors", model.state_dict())
    return tmp_path, model


def write_config(folder, **arguments):
    arguments = {"encoder": "scenes-clip", "loss": "siglip"} | arguments
    settings = {"model": {"class_path": "x.ContrastivePretraining", "init_args": arguments}}
    (folder / "config.yaml").write_text(yaml.safe_dump(settings))


@pytest.mark.parametrize("file", ["last.ckpt", "steps/step=000008.safetensors"])
def test_weights_with_a_logit_bias_are_measured(run_folder, file):
    folder, model = run_folder
    write_config(folder)
    network = load_network(str(folder / file), class_names=["star", "heart"])
    images = torch.rand(2, 3, 32, 32)
    torch.testing.assert_close(network.model.encoder.encode_image(images), model.encode_image(images))
    assert network.head.shape == (2, 128)
    assert network.origin == "pretrained from random weights by a run of fit, architecture of scenes-clip"
    loaded = load_encoder(f"scenes-clip@{folder / file}").model
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in loaded.state_dict().items())
    assert loaded.logit_bias.item() == -9.5


def test_the_origin_of_a_pretrained_start_is_its_encoder(run_folder):
    folder, _ = run_folder
    write_config(folder, pretrained=True)
    assert load_network(str(folder / "last.ckpt")).origin == "trained on with captions from scenes-clip by a run of fit"


def test_other_entries_that_an_architecture_lacks_are_still_refused(run_folder):
    folder, model = run_folder
    write_config(folder)
    state = {f"encoder.{name}": value for name, value in model.state_dict().items()}
    torch.save({"state_dict": state | {"encoder.other": torch.ones(1)}}, folder / "last.ckpt")
    with pytest.raises(ValueError, match="does not hold the weights of 'scenes-clip'"):
        load_network(str(folder / "last.ckpt"))
    with pytest.raises(ValueError, match="other"):
        load_encoder(f"scenes-clip@{folder / 'last.ckpt'}")
