"""Cards of merged weights: the path of `interpolate`, a soup."""

from pathlib import Path

from lightning_robust.report.card import Card
from lightning_robust.report.card_parts import base_model_of, loading, provenance_list
from lightning_robust.report.card_words import code, escaped, percent, table
from lightning_robust.results.merge_record import MergeRecord

__all__ = ["merge_card"]


def merge_card(record: MergeRecord, name: str) -> Card:
    """The card of a path or a soup. It has no accuracies: merging measures none on test images.

    Args:
        record: What was merged, and how.
        name: Of the folder or file.

    Raises:
        ValueError: The record has no output.
    """
    if not record.outputs:
        raise ValueError("a card is about weights, and this record of merging has no output")
    soup = record.kind == "soup"
    output = record.outputs[len(record.outputs) // 2]
    hashes = {one.file: one.checkpoint_hash for one in record.outputs}
    hashes |= {_head(one.file): one.head_hash for one in record.outputs if one.head_hash is not None}
    facts = [("method", record.method)]
    facts += [] if record.data is None else [("images", f"{record.data}: {_images(record)}")]
    what = "A soup" if soup else "A path"
    return Card(
        title=name,
        summary=f"{what} of {len(record.inputs)} models, written by lightning-robust: {escaped(record.method)}. "
        "Nothing was judged on test images: `python -m lightning_robust evaluate` does that.",
        library="timm" if (record.encoder or "").startswith("timm:") else "open_clip",
        base_model=base_model_of(record.encoder),
        tags=("model-soup" if soup else "wise-ft", "merge"),
        sections=(
            ("What was merged", _inputs(record)),
            ("How to load", loading(record.encoder, output.file, _head(output.file) if output.head_hash else None)),
            ("Provenance", provenance_list(record.provenance, record.seeds, hashes, facts)),
            ("How it was done", "\n".join(f"- {escaped(sentence)}" for sentence in record.conventions)),
        ),
    )


def _inputs(record: MergeRecord) -> str:
    scored = any(one.score is not None or one.kept is not None for one in record.inputs)
    rows = []
    for one in record.inputs:
        cells = [code(Path(one.file).name), escaped(one.form), code(one.checkpoint_hash)]
        if scored:
            score = "–" if one.score is None else percent(one.score)
            cells += [score, {True: "yes", False: "no", None: "–"}[one.kept]]
        rows.append(cells)
    header = ("file", "what it was", "SHA-256", *(("validation accuracy, %", "kept") if scored else ()))
    return table(header, rows)


def _images(record: MergeRecord) -> str:
    return ", ".join(f"{number:,} for {purpose}" for purpose, number in record.images.items()) or "none read"


def _head(file: str) -> str:
    return file.removesuffix(".safetensors") + ".head.safetensors"
