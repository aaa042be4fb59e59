"""Heads on disk: the same head without reading a text, and never another's."""

import open_clip
import pytest
import torch

from lightning_robust.models import load_encoder, save_tensors, write_clip_folder, zero_shot_head
from lightning_robust.models.head_cache import head_file, head_key, read_head

NAMES, TEMPLATES = ["star", "fire truck", "heart"], ["a photo of a {}.", "the red {}"]


@pytest.fixture
def readings(tiny, monkeypatch):
    """How many heads the text tower makes: batches of all texts; the few that tell towers apart are read always."""
    calls = []
    encode = tiny.model.encode_text

    def counted(tokens, **options):
        calls.extend([1] if len(tokens) > 3 else [])
        return encode(tokens, **options)

    monkeypatch.setattr(tiny.model, "encode_text", counted)
    return calls


def head(clip, names=NAMES, templates=TEMPLATES, **options):
    return zero_shot_head(clip.model, clip.tokenizer, names, templates, cache=True, **options)


def test_a_kept_head_is_the_same_and_reads_no_text(tiny, readings, cache):
    first = head(tiny)
    assert len(readings) == 1
    assert torch.equal(head(tiny), first)
    assert len(readings) == 1
    assert torch.equal(first, zero_shot_head(tiny.model, tiny.tokenizer, NAMES, TEMPLATES))
    assert [file.suffix for file in cache.iterdir()] == [".safetensors"]


def test_without_asking_nothing_is_kept(tiny, cache):
    zero_shot_head(tiny.model, tiny.tokenizer, NAMES, TEMPLATES)
    assert list(cache.iterdir()) == []


def test_other_texts_weights_or_scales_are_other_heads(tiny, readings):
    heads = [head(tiny)]
    heads += [head(tiny, NAMES[::-1]), head(tiny, NAMES, TEMPLATES[::-1]), head(tiny, NAMES[:2])]
    with torch.no_grad():
        tiny.model.logit_scale += 1.0
    heads.append(head(tiny))
    with torch.no_grad():
        tiny.model.token_embedding.weight *= 2.0
    heads.append(head(tiny))
    assert len(readings) == len(heads)
    torch.testing.assert_close(heads[4], heads[0] * torch.tensor(1.0).exp())


def test_a_text_tower_that_training_left_alone_keeps_its_head(tiny, readings):
    first = head(tiny)
    with torch.no_grad():
        tiny.model.visual.conv1.weight *= 2.0
    assert torch.equal(head(tiny), first)
    assert len(readings) == 1


def test_the_activation_and_the_tokenizer_count(architectures, tiny, tmp_path):
    keys = set()
    for name in architectures:
        clip = load_encoder(name, pretrained=False)
        keys.add(head_key(clip.model, clip.tokenizer, NAMES, TEMPLATES))
    assert len(keys) == 2
    words = ["star", "heart", "a", "photo", "of", "the", "red", "blue", "fire", "truck"]  # another order: other tokens
    write_clip_folder(tmp_path, words)
    other = load_encoder(f"local-dir:{tmp_path}", pretrained=False).tokenizer
    own = head_key(tiny.model, tiny.tokenizer, NAMES, TEMPLATES)
    assert own != head_key(tiny.model, other, NAMES, TEMPLATES)


@pytest.mark.parametrize("text_cfg", [{"heads": 4}, {"pool_type": "last"}, {"no_causal_mask": True}])
def test_what_is_no_weight_and_not_printed_counts(architectures, text_cfg, monkeypatch):
    clip = load_encoder("tiny", pretrained=False)
    config = open_clip.factory._MODEL_CONFIGS["tiny"]
    monkeypatch.setitem(
        open_clip.factory._MODEL_CONFIGS, "tiny", {**config, "text_cfg": {**config["text_cfg"], **text_cfg}}
    )
    other = load_encoder("tiny", pretrained=False)
    assert not torch.equal(head(other), head(clip))
    plain = zero_shot_head(other.model, other.tokenizer, NAMES, TEMPLATES)
    assert torch.equal(head(other), plain)


def test_functions_count_by_the_texts_they_give(tiny, readings):
    first = head(tiny, templates=[lambda name: f"the {name}"])
    assert not torch.equal(head(tiny, templates=[lambda name: f"the {name.removeprefix('fire ')}"]), first)
    assert torch.equal(head(tiny, templates=["the {}"]), first)


def test_a_head_made_under_autocast_is_that_of_the_weights(tiny):
    plain = zero_shot_head(tiny.model, tiny.tokenizer, NAMES, TEMPLATES)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(head(tiny), plain)
    assert torch.equal(head(tiny), plain)


def test_damaged_foreign_and_wrong_files_are_made_again(tiny, readings):
    first = head(tiny)
    key = head_key(tiny.model, tiny.tokenizer, NAMES, TEMPLATES)
    file = head_file(key)
    whole = file.read_bytes()
    damaged = [
        lambda: file.write_bytes(whole[:-5]),
        lambda: file.write_bytes(b""),
        lambda: save_tensors(file, {"weight": first}, {"key": "another"}),
        lambda: save_tensors(file, {"weight": first[:2]}, {"key": key}),
        lambda: save_tensors(file, {"other": first}, {"key": key}),
        lambda: save_tensors(file, {"weight": first * float("nan")}, {"key": key}),
    ]
    for number, damage in enumerate(damaged, start=2):
        damage()
        assert read_head(key, 3) is None
        assert torch.equal(head(tiny), first)
        assert len(readings) == number
        assert torch.equal(read_head(key, 3), first)


def test_a_home_that_cannot_be_written_costs_only_time(tiny, readings, cache, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("LIGHTNING_ROBUST_CACHE", str(tmp_path / "file" / "cache"))
    assert torch.equal(head(tiny), head(tiny))
    assert len(readings) == 2


def test_refusals_come_before_the_cache(tiny):
    head(tiny)
    with pytest.raises(ValueError, match="'zebra' of the class name"):
        head(tiny, [*NAMES, "zebra"])
