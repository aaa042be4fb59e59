"""The word tokenizer, as plain open_clip reads it back from a folder."""

import open_clip
import pytest
import torch

from lightning_robust.models import build_word_tokenizer, unknown_words

WORDS = ["a", "photo", "of", "the", "red", "blue", "star", "heart", "fire", "truck"]


def test_plain_open_clip_reads_it_and_pads_to_the_context_length(tiny_folder):
    tokenizer = open_clip.get_tokenizer(f"local-dir:{tiny_folder}")
    tokens = tokenizer(["A photo of a red Star.", "the heart"])
    known = build_word_tokenizer(WORDS)
    expected = [known.token_to_id(word) for word in ["<start>", "a", "photo", "of", "a", "red", "star", "<end>"]]
    assert tokens.dtype == torch.int64
    assert tokens.shape == (2, 18)
    assert tokens[0].tolist() == expected + [0] * 10


def test_the_end_token_has_the_highest_id_and_survives_truncation(tiny_folder):
    tokenizer = open_clip.get_tokenizer(f"local-dir:{tiny_folder}")
    vocabulary = tokenizer.tokenizer.get_vocab()
    assert vocabulary["<end>"] == max(vocabulary.values()) == len(vocabulary) - 1
    assert vocabulary["<pad>"] == 0
    tokens = tokenizer(["a star", "star " * 40])
    assert tokens.argmax(dim=1).tolist() == [3, 17]  # where open_clip's text tower reads its output
    assert tokens[1, -1] == vocabulary["<end>"]


def test_case_punctuation_and_underscores_do_not_matter():
    tokenizer = build_word_tokenizer(["fire truck", "A", "a"])
    same = [tokenizer.encode(text).ids for text in ("a fire truck", "A FIRE-TRUCK!", " a  fire_truck.")]
    assert same[0] == same[1] == same[2] == [1, 5, 3, 4, 6]
    assert tokenizer.get_vocab_size() == 4 + 3


@pytest.mark.parametrize("words", [[], ["star", "?!"]])
def test_a_vocabulary_without_words_is_refused(words):
    with pytest.raises(ValueError, match="word"):
        build_word_tokenizer(words)


def test_unknown_words_are_found_through_every_kind_of_tokenizer(tiny_folder):
    texts = ["a Zebra, red", "a star", "a Zebra, red", "quagga"]
    expected = [("a Zebra, red", "Zebra"), ("quagga", "quagga")]
    wrapped = open_clip.get_tokenizer(f"local-dir:{tiny_folder}")
    wrapped(["star " * 40])  # leaves truncation switched on inside
    far = "star " * 40 + "zebra"
    assert unknown_words(build_word_tokenizer(WORDS), texts) == expected
    assert unknown_words(wrapped, [*texts, far]) == [*expected, (far, "zebra")]
    assert unknown_words(open_clip.SimpleTokenizer(), texts) == []
