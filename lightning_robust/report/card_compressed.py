"""Cards of compressed networks, one in each folder that `compress` wrote."""

from pathlib import Path

from lightning_robust.report.card import CARD, Card
from lightning_robust.report.card_parts import accuracy_results, accuracy_table, base_model_of, provenance_list
from lightning_robust.report.card_words import code, escaped, fenced, points, table
from lightning_robust.results.compress_record import CompressedPoint, CompressRecord
from lightning_robust.results.hashing import file_sha256

__all__ = ["compressed_cards"]

_WEIGHTS, _FACTS = "model.safetensors", "compressed.json"


def compressed_cards(record: CompressRecord, folder: Path) -> dict[Path, Card]:
    """The cards of the networks that were written, by the file that each belongs in.

    Args:
        record: What was compressed.
        folder: The run's folder.
    """
    written = [one for one in record.points if one.folder is not None]
    return {folder / str(one.folder) / CARD: _card(record, one, folder / str(one.folder)) for one in written}


def _card(record: CompressRecord, point: CompressedPoint, folder: Path) -> Card:
    accuracies = {row.set: row.accuracy for row in point.rows}
    split = {"val": "validation"}.get(record.split, record.split)
    hashes = {name: file_sha256(folder / name) for name in (_WEIGHTS, _FACTS) if (folder / name).is_file()}
    facts = [
        ("compressed from", f"{record.model}; {record.origin}; SHA-256 {record.checkpoint_hash}"),
        ("data", f"{record.data.dataset}; {record.data.protocol}"),
        ("calibration images", f"{record.calibration_images:,}, none of them judged"),
    ]
    baseline = "" if record.baseline is None else f"\n\nBaseline: {escaped(record.baseline)}."
    return Card(
        title=f"{record.model}, {folder.name}",
        summary=f"{code(record.model)} with matrices of lower rank, written by lightning-robust: image tower and head, "
        f"no text tower. Method: {escaped(point.method)}{_epochs(point)}.",
        library="lightning-robust",
        base_model=base_model_of(record.model),
        tags=("low-rank", "compression"),
        results=accuracy_results(record.data.dataset, split, accuracies, point.robustness),
        sections=(
            ("Size", _size(record, point)),
            ("Accuracy", f"On {split} images.\n\n{accuracy_table(accuracies, point.robustness)}{baseline}"),
            ("Against the dense network", _differences(point)),
            ("How to load", _loading()),
            ("Provenance", provenance_list(record.provenance, record.seeds, hashes, facts)),
            ("What to know", "\n".join(f"- {escaped(sentence)}" for sentence in record.notes)),
        ),
    )


def _epochs(point: CompressedPoint) -> str:
    return f", then finetuned for {point.finetuned_epochs} epochs" if point.finetuned_epochs else ""


def _size(record: CompressRecord, point: CompressedPoint) -> str:
    dense = record.dense
    rows = [
        ("parameters", f"{point.parameters:,}", f"{dense.parameters:,}"),
        ("floating-point operations of one image", f"{point.flops:,}", f"{dense.flops:,}"),
    ]
    if point.file_bytes is not None and dense.file_bytes is not None:
        rows.append(("bytes of the weights' file", f"{point.file_bytes:,}", f"{dense.file_bytes:,}"))
    for batch in point.latency:
        speedup = record.speedup(point, batch)
        if speedup is not None:
            rows.append((f"images at once: {escaped(batch)}, times as fast", f"{speedup:.2f}", "1"))
    return table(("", "this network", "dense"), rows)


def _differences(point: CompressedPoint) -> str:
    if not point.differences:
        return ""
    rows = [(escaped(part), points(one.estimate), f"{points(one.low)} to {points(one.high)}")
            for part, one in point.differences.items()]  # fmt: skip
    return table(("set", "accuracy less dense, points", "95 % interval, paired bootstrap"), rows)


def _loading() -> str:
    return (
        fenced(
            "from lightning_robust.models.networks import load_network\n\n"
            'network = load_network("THIS FOLDER")\n'
            "logits = network.model(network.transform(image)[None])"
        )
        + f"\n\n`{_WEIGHTS}` is read by any safetensors library; `{_FACTS}` names architecture, ranks and "
        "preprocessing. A matrix of rank k is two layers, whose names end in numbers of a `Sequential`."
    )
