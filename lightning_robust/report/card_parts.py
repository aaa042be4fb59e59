"""Parts that cards share: results and table of accuracies, how to load weights elsewhere, provenance."""

import re
from collections.abc import Mapping, Sequence

from lightning_robust.report.card import CardResult
from lightning_robust.report.card_words import code, escaped, fenced, one_line, percent, points, table
from lightning_robust.results.effective_robustness import EffectiveRobustness, ShiftRobustness
from lightning_robust.results.provenance import Provenance

__all__ = ["accuracy_results", "accuracy_table", "base_model_of", "loading", "provenance_list"]

_MEAN = "mean of the shifts"


def accuracy_results(
    dataset: str, split: str, accuracies: Mapping[str, float], robustness: EffectiveRobustness | None
) -> tuple[CardResult, ...]:
    """Accuracies and effective robustness as entries of the head.

    Args:
        dataset: The data, in words.
        split: Which images.
        accuracies: By evaluation set, the reference first, as fractions.
        robustness: Against a baseline; None without one.
    """
    shifts = list(accuracies.values())[1:]
    values = {**accuracies} | ({_MEAN: sum(shifts) / len(shifts)} if shifts else {})
    found = []
    for part, value in values.items():
        found.append(_result(dataset, part, split, "accuracy", "top-1 accuracy", value))
        one = _robust(robustness, part)
        if one is not None:
            name = f"effective robustness{_within(one)}"
            found.append(_result(dataset, part, split, "effective_robustness", name, one.estimate))
    return tuple(found)


def accuracy_table(accuracies: Mapping[str, float], robustness: EffectiveRobustness | None) -> str:
    """The same as a table, in percent and points.

    Args:
        accuracies: By evaluation set, the reference first, as fractions.
        robustness: Against a baseline; None without one.
    """
    shifts = list(accuracies.values())[1:]
    values = {**accuracies} | ({_MEAN: sum(shifts) / len(shifts)} if shifts else {})
    if robustness is None:
        return table(("set", "accuracy, %"), [(escaped(part), percent(value)) for part, value in values.items()])
    rows = []
    for part, value in values.items():
        one = _robust(robustness, part)
        cells = ("", "") if one is None else (points(one.estimate) + ("\\*" if one.extrapolated else ""), _range(one))
        rows.append((escaped(part), percent(value), *cells))
    header = ("set", "accuracy, %", "effective robustness, points", "95 % prediction interval")
    star = any(one.extrapolated for one in (*robustness.shifts.values(), robustness.mean))
    note = "\n\n\\* extrapolated: the reference accuracy lies outside the range of the baseline." if star else ""
    return table(header, rows) + note


def loading(encoder: str | None, file: str, head: str | None = None) -> str:
    """How weights under open_clip's or timm's own names load without this package.

    Args:
        encoder: Name of the encoder as `load_encoder` takes it; None where it is not known.
        file: The file.
        head: The head's file beside it; None without one.
    """
    lines = ["from safetensors.torch import load_file", ""]
    name = one_line(encoder or "")
    strip = ""
    if name.startswith("timm:"):
        model, imports = f"timm.create_model({_timm(name)!r}, num_classes=0)", "import timm"
        strip = '.removeprefix("visual.")'
    elif name.startswith("transformers:") or not name:
        model, imports = f"load_encoder({name or 'YOUR ENCODER'!r}).model", _OURS
    elif name.startswith("hf-hub:") or name.startswith("local-dir:"):
        model, imports = f"open_clip.create_model({name!r}, load_weights=False)", "import open_clip"
    elif "/" in name or "@" in name:
        architecture = name.partition("@")[0].partition("/")[0]
        model, imports = f"open_clip.create_model({architecture!r})", "import open_clip"
    else:  # bundled: its folder says the architecture
        place = f'f"local-dir:{{load_encoder({name!r}).folder}}"'
        model, imports = f"open_clip.create_model({place}, load_weights=False)", f"import open_clip\n{_OURS}"
    state = f"load_file({file!r})"
    if strip:
        state = f"{{name{strip}: value for name, value in {state}.items()}}"
    lines += [f"model = {model}", f"model.load_state_dict({state})"]
    if head is not None:
        lines += [f'W = load_file({head!r})["weight"]  # (classes, d); reads h scaled to unit length']
    return fenced(f"{imports}\n" + "\n".join(lines))


_OURS = "from lightning_robust.models import load_encoder"


def base_model_of(encoder: str | None) -> str | None:
    """The Hub's identifier that an encoder's name holds; None for one that is not on the Hub.

    Args:
        encoder: As `load_encoder` takes it.

    Example:
        >>> base_model_of("hf-hub:laion/CLIP-ViT-B-32-laion2B-s34B-b79K")
        'laion/CLIP-ViT-B-32-laion2B-s34B-b79K'
        >>> base_model_of("scenes-clip") is None
        True
    """
    name = one_line(encoder or "")
    found = re.fullmatch(r"hf-hub:([\w.-]+/[\w.-]+)(@.*)?", name, flags=re.ASCII)
    return None if found is None else found[1]


def provenance_list(
    provenance: Provenance, seeds: Mapping[str, int], hashes: Mapping[str, str], facts: Sequence[tuple[str, str]] = ()
) -> str:
    """Where the weights come from, as a list.

    Args:
        provenance: Versions, machine, revision, time.
        seeds: By what they seed.
        hashes: SHA-256 by file.
        facts: What else is known, a name and a text from data each.
    """
    packages = ", ".join(f"{name} {version}" for name, version in provenance.packages.items() if version)
    rows = [(name, escaped(text)) for name, text in facts]
    rows += [("seeds", escaped(", ".join(f"{name} {seed}" for name, seed in seeds.items()) or "none"))]
    rows += [("packages", escaped(packages)), ("Python", escaped(f"{provenance.python}, {provenance.platform}"))]
    rows += [("device", escaped(f"{provenance.device}, {provenance.threads} threads"))]
    rows += [("revision of lightning-robust", escaped(provenance.git_revision or "not a checkout"))]
    rows += [("made", escaped(provenance.created))]
    rows += [(f"SHA-256 of {code(file)}", code(digest)) for file, digest in hashes.items()]
    return "\n".join(f"- {name}: {text}" for name, text in rows)


def _result(dataset: str, part: str, split: str, metric: str, name: str, value: float) -> CardResult:
    return CardResult(dataset=dataset, part=part, split=split, metric=metric, metric_name=name, value=value)


def _robust(robustness: EffectiveRobustness | None, part: str) -> ShiftRobustness | None:
    if robustness is None:
        return None
    return robustness.mean if part == _MEAN else robustness.shifts.get(part)


def _within(one: ShiftRobustness) -> str:
    if one.prediction is None:
        return ""
    low, high = one.prediction.low, one.prediction.high
    return f" ({100 * one.prediction.level:g} % prediction interval {low:.4f} to {high:.4f})"


def _range(one: ShiftRobustness) -> str:
    return "–" if one.prediction is None else f"{points(one.prediction.low)} to {points(one.prediction.high)}"


def _timm(name: str) -> str:
    return name.removeprefix("timm:").partition("@")[0]
