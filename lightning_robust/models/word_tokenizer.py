"""A word-level tokenizer for small CLIPs, in the file format that open_clip reads from a `local-dir:` folder."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors

PAD, START, UNKNOWN, END = "<pad>", "<start>", "<unk>", "<end>"

TOKENIZER_CONFIG: dict[str, Any] = {
    "tokenizer_class": "PreTrainedTokenizerFast",
    "pad_token": PAD,
    "bos_token": START,
    "unk_token": UNKNOWN,
    "eos_token": END,
    "padding_side": "right",
    "clean_up_tokenization_spaces": False,
}
"""What `tokenizer_config.json` says beside the `tokenizer.json` of `build_word_tokenizer`."""


def build_word_tokenizer(words: Sequence[str]) -> Tokenizer:
    """Build a tokenizer that knows exactly these words.

    Texts are lowercased, everything that is neither letter nor digit separates words, and a text becomes
    `<start> word … word <end>`. Ids: `<pad>` 0, `<start>` 1, `<unk>` 2, then the words in the given order, and `<end>`
    last, because open_clip's text tower reads its output at the position of the **highest** id of a text.

    Args:
        words: The vocabulary. An entry may hold several words ("fire truck"); repetitions count once.

    Returns:
        A `tokenizers.Tokenizer`; `get_vocab_size()` is the number of different words plus four.

    Raises:
        ValueError: If an entry holds no word, or there are no entries.

    Example:
        >>> tokenizer = build_word_tokenizer(["a", "photo", "of", "star"])
        >>> tokenizer.encode("A photo of a Star.").tokens
        ['<start>', 'a', 'photo', 'of', 'a', 'star', '<end>']
        >>> tokenizer.token_to_id("<end>") == tokenizer.get_vocab_size() - 1
        True
    """
    normalizer = normalizers.Sequence([normalizers.Lowercase(), normalizers.Replace(Regex(r"[\W_]+"), " ")])
    known: dict[str, None] = {}
    for entry in words:
        parts = normalizer.normalize_str(entry).split()
        if not parts:
            raise ValueError(f"{entry!r} holds no word: an entry of the vocabulary needs a letter or a digit.")
        known.update(dict.fromkeys(parts))
    if not known:
        raise ValueError("The list of words is empty: a word-level tokenizer needs at least one word.")
    vocabulary = {token: index for index, token in enumerate([PAD, START, UNKNOWN, *known, END])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=UNKNOWN))
    tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{START} $A {END}", special_tokens=[(START, vocabulary[START]), (END, vocabulary[END])]
    )
    tokenizer.add_special_tokens([PAD, START, UNKNOWN, END])
    return tokenizer


def unknown_words(tokenizer: Tokenizer | Callable[..., Any], texts: Iterable[str]) -> list[tuple[str, str]]:
    """Find the words that a tokenizer would turn into its unknown token, in silence.

    Args:
        tokenizer: A `tokenizers.Tokenizer`, an open_clip `HFTokenizer`, or any other callable. Byte-pair tokenizers
            have no unknown token, so nothing is unknown to them.
        texts: The texts to look through.

    Returns:
        Pairs (text, word as it stands in the text), each once, in order of appearance.

    Example:
        >>> unknown_words(build_word_tokenizer(["a", "star"]), ["a star", "a zebra!"])
        [('a zebra!', 'zebra')]
    """
    encode = _offset_encoder(tokenizer)
    if encode is None:
        return []
    found: dict[tuple[str, str], None] = {}
    for text in texts:
        for start, end in encode(text):
            found[text, text[start:end]] = None
    return list(found)


def _offset_encoder(tokenizer: Any) -> Callable[[str], list[tuple[int, int]]] | None:
    """A function from a text to the spans of its unknown tokens; None where a tokenizer has no unknown token."""
    if isinstance(tokenizer, Tokenizer):
        unknown = tokenizer.token_to_id(UNKNOWN)

        def spans(text: str) -> list[tuple[int, int]]:
            encoding = tokenizer.encode(text)
            return [span for index, span in zip(encoding.ids, encoding.offsets, strict=True) if index == unknown]

        return spans
    wrapped: Any = getattr(tokenizer, "tokenizer", None)
    if getattr(wrapped, "unk_token_id", None) is None or not getattr(wrapped, "is_fast", False):
        return None

    def spans_wrapped(text: str) -> list[tuple[int, int]]:
        out = wrapped(text, return_offsets_mapping=True, truncation=False)
        pairs = zip(out["input_ids"], out["offset_mapping"], strict=True)
        # an empty span is a special token that the template adds, not a word of the text
        return [(start, end) for index, (start, end) in pairs if index == wrapped.unk_token_id and end > start]

    return spans_wrapped
