"""Cards of what a training run leaves: beside `last.ckpt`, in `wise_ft/`, and in the folder that it exported."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lightning_robust.report.card import CARD, Card, CardResult
from lightning_robust.report.card_parts import (
    accuracy_results,
    accuracy_table,
    base_model_of,
    loading,
    provenance_list,
)
from lightning_robust.report.card_words import code, escaped, fenced, percent, points, table
from lightning_robust.results.curves import CurveRow
from lightning_robust.results.hashing import file_sha256
from lightning_robust.results.run_record import AlphaRow, RunRecord

__all__ = ["run_cards"]

_CHECKPOINT, _PATH = "last.ckpt", "wise_ft"
_OPEN_CLIP, _OPEN_CLIP_WEIGHTS = "open_clip_config.json", "open_clip_model.safetensors"
_CLASSIFIER = "model.safetensors"
#: Beginnings and endings of the tags that a card shows; the rest is in signatures.csv.
_SHOWN = ("kurtosis/", "outliers/", "spectrum/", "importance/", "concepts/", "massive/")
_ENDINGS = ("/features", "/neuron_norm_kurtosis", "/rankme", "/max_over_median", "/privileged", "/largest",
            "/mean_best_ap", "/unique_0.9")  # fmt: skip


def run_cards(record: RunRecord, folder: Path, curves: Sequence[CurveRow] = ()) -> dict[Path, Card]:
    """The cards of a finished run, by the file that each belongs in; only of what is there.

    Args:
        record: What the run found.
        folder: The run's folder.
        curves: Its curves; the last accuracies of them stand where no path was judged on test images.
    """
    cards: dict[Path, Card] = {}
    name = f"{folder.parent.name}/{folder.name}"
    end = record.wise_ft[-1] if record.wise_ft else None
    if any(folder.glob("*.ckpt")):
        cards[folder / CARD] = _card(record, name, end, curves, _trained(folder), folder)
    points_of_path = sorted(path.name for path in (folder / _PATH).glob("alpha=*.safetensors"))
    if points_of_path and end is not None:
        cards[folder / _PATH / CARD] = _path_card(record, name, folder, points_of_path)
    exported = _exported(record, folder)
    if exported is not None:
        cards[exported / CARD] = _card(record, name, end, curves, _export(exported), exported)
    return cards


def _trained(folder: Path) -> str:
    lines = [
        "import torch",
        "",
        f'state = torch.load("{_CHECKPOINT}", weights_only=True, map_location="cpu")["state_dict"]',
    ]
    said = "`model.encoder.…` are the encoder's own names, `model.head.weight` is the linear head."
    if (folder / _PATH).is_dir():
        said += " The same weights under plain names are in `wise_ft/`."
    again = fenced(f"python -m lightning_robust fit --config {folder.parent.name}.yaml --run_name {folder.name} "
                   "--ckpt_path last", "bash")  # fmt: skip
    return f"{fenced(chr(10).join(lines))}\n\n{said} With the package, training goes on from it:\n\n{again}"


def _export(folder: Path) -> str:
    if (folder / _OPEN_CLIP).is_file():
        return fenced(
            "import open_clip\n\n"
            'model, _, preprocess = open_clip.create_model_and_transforms("local-dir:THIS FOLDER")\n'
            'tokenizer = open_clip.get_tokenizer("local-dir:THIS FOLDER")'
        )
    return (
        fenced(
            "from lightning_robust.models import load_classifier\n\n"
            'classifier = load_classifier("THIS FOLDER")\n\n'
            "# without the package\n"
            "from safetensors.torch import load_file\n\n"
            f'state = load_file("{_CLASSIFIER}")  # encoder.visual.…: the image tower, head.weight: (classes, d)'
        )
        + "\n\nThe file's header names the architecture and the classes."
    )


def _exported(record: RunRecord, folder: Path) -> Path | None:
    """The folder that the model was exported to; None where there is none with weights."""
    name = _arguments(record).get("export_to")
    if not isinstance(name, str):
        return None
    path = folder / name
    known = any((path / file).is_file() for file in (_OPEN_CLIP_WEIGHTS, _CLASSIFIER))
    return path if known and path.resolve() != folder.resolve() else None


def _arguments(record: RunRecord) -> Mapping[str, Any]:
    model = record.config.get("model")
    found = model.get("init_args") if isinstance(model, dict) else None
    return found if isinstance(found, dict) else {}


def _encoder(record: RunRecord) -> str | None:
    found = _arguments(record).get("encoder")
    return found if isinstance(found, str) else None


def _card(
    record: RunRecord, name: str, row: AlphaRow | None, curves: Sequence[CurveRow], load: str, folder: Path
) -> Card:
    results, accuracy = _judged(record, row, curves)
    exported = (folder / _OPEN_CLIP).is_file()
    return Card(
        title=name if folder.name in name else f"{name}: {folder.name}",
        summary=_summary(record),
        library="open_clip" if exported else "lightning-robust",
        task="zero-shot-image-classification" if "Contrastive" in record.kind and row is None else _TASK,
        base_model=base_model_of(_encoder(record)),
        tags=(record.kind, *(("clip",) if exported else ())),
        results=results,
        sections=(
            ("Accuracy", accuracy),
            ("Signatures", _signatures(record, row)),
            ("How to load", load),
            ("Provenance", _provenance(record, folder)),
            ("How the figures were taken", _conventions(record)),
        ),
    )


_TASK = "image-classification"


def _path_card(record: RunRecord, name: str, folder: Path, files: Sequence[str]) -> Card:
    chosen = record.choice.alpha_star if record.choice is not None else 1.0
    row = next((one for one in record.wise_ft if one.alpha == chosen), record.wise_ft[-1])
    results, accuracy = _judged(record, row, ())
    rows = []
    for one in record.wise_ft:
        er = "–" if one.effective_robustness is None else points(one.effective_robustness.mean.estimate)
        rows.append((f"{one.alpha:g}", percent(one.reference), percent(one.shifts_mean), er))
    header = ("α", "reference, %", "mean of the shifts, %", "effective robustness, points")
    heads = [file for file in files if file.endswith(".head.safetensors")]
    plain = [file for file in files if file not in heads]
    middle = next((file for file in plain if file == f"alpha={chosen:.2f}.safetensors"), plain[-1])
    head = middle.replace(".safetensors", ".head.safetensors")
    why = "" if record.choice is None else "\n\n" + escaped(record.choice.sentence)
    return Card(
        title=f"{name}: Wise-FT path",
        summary=f"{_summary(record)} Each file is a mixture of the weights before (α = 0) and after (α = 1) "
        f"finetuning; the head of this card gives the figures of α = {row.alpha:g}.",
        library="open_clip" if not (_encoder(record) or "").startswith("timm:") else "timm",
        base_model=base_model_of(_encoder(record)),
        tags=(record.kind, "wise-ft"),
        results=results,
        sections=(
            ("The path", table(header, rows) + why),
            (f"Accuracy at α = {row.alpha:g}", accuracy),
            (f"Signatures at α = {row.alpha:g}", _signatures(record, row)),
            ("How to load", loading(_encoder(record), middle, head if head in heads else None)),
            ("Provenance", _provenance(record, folder / _PATH)),
            ("How the figures were taken", _conventions(record)),
        ),
    )


def _summary(record: RunRecord) -> str:
    start = "" if record.start is None else f", begun from {escaped(record.start)}"
    encoder = _encoder(record)
    of = "" if encoder is None else f" of {code(encoder)}"
    trained = "" if record.data.training is None else f" It was trained on {escaped(record.data.training)}."
    return f"What `{record.kind}`{of} trained{start}, written by lightning-robust.{trained}"


def _judged(record: RunRecord, row: AlphaRow | None, curves: Sequence[CurveRow]) -> tuple[tuple[CardResult, ...], str]:
    if row is not None:
        accuracies = {"reference": row.reference, **row.shifts}
        results = accuracy_results(record.data.dataset, "test", accuracies, row.effective_robustness)
        baseline = "" if record.baseline is None else f"\n\nBaseline: {escaped(record.baseline)}."
        words = (
            f"On test images, α = {row.alpha:g}.\n\n{accuracy_table(accuracies, row.effective_robustness)}{baseline}"
        )
        return results, words
    last: dict[str, float] = {}
    for one in curves:
        part = one.tag.removeprefix("val/").removesuffix("/accuracy")
        if one.tag == f"val/{part}/accuracy" and part != "shifts":
            last[part] = one.value
    if not last:
        return (), "Not measured while training: `python -m lightning_robust evaluate` judges it on test images."
    results = accuracy_results(record.data.dataset, "validation", last, None)
    return results, f"On validation images, at the end of training.\n\n{accuracy_table(last, None)}"


def _signatures(record: RunRecord, row: AlphaRow | None) -> str:
    if row is None:
        return ""
    untrained = record.reference_lines.get("untrained", {})
    rows = []
    for tag, value in sorted(row.signatures.items()):
        if tag.startswith(_SHOWN) and (tag.endswith(_ENDINGS) or tag.count("/") == 1):
            other = untrained.get(tag)
            rows.append((code(tag), _figure(value), "" if other is None else _figure(other)))
    return table(("figure", "this model", "untrained"), rows) if rows else ""


def _figure(value: float) -> str:
    return "–" if value != value else f"{value:.4g}"


def _provenance(record: RunRecord, folder: Path) -> str:
    files = sorted(path for path in folder.iterdir() if path.suffix in (".ckpt", ".safetensors") and path.is_file())
    hashes = {path.name: file_sha256(path) for path in files}
    known = [(f"SHA-256 of {file}", digest) for file, digest in record.checkpoints.items() if " " in file]
    facts = [("data", f"{record.data.dataset}; {record.data.protocol}"), *known]
    return provenance_list(record.provenance, record.seeds, hashes, facts)


def _conventions(record: RunRecord) -> str:
    return "\n".join(f"- {escaped(sentence)}" for sentence in record.conventions)
