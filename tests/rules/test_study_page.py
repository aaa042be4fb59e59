"""`docs/study.md` says what its files say: every row of its tables is computed again from the committed figures."""

import csv
import math
from pathlib import Path

import pytest
from scipy.stats import spearmanr

from lightning_robust.results import DataDescription, collect_provenance
from lightning_robust.results.study_record import StudyRecord, StudyRow
from lightning_robust.robustness.study_correlations import RIVALS, SIGNATURES
from lightning_robust.robustness.study_paths import along_alpha

DOCS = Path(__file__).parents[2] / "docs"
FOLDER = DOCS / "study"
LABELS = ("backbone", "corpus", "seed")
COLUMNS = (
    ("kurtosis/h/width_adjusted", 1, ".2f"), ("kurtosis/last/width_adjusted", 1, ".2f"), ("outliers/largest", 1, ".0f"),
    ("importance/raw/max_over_median", 1, ".0f"), ("importance/centred/max_over_median", 1, ".0f"),
    ("importance/raw/privileged", 1, ".0f"), ("prune/reference/fraction", 100, ".0f"),
    ("concepts/unique_0.9", 1, ".0f"), ("concepts/mean_best_ap", 1, ".3f"),
)  # fmt: skip
KINDS = {"zero-shot": "zero-shot", "finetuned": "finetuned", "supervised": "supervised", "random": "untrained"}
NAMES = {
    "kurtosis/h/width_adjusted": "kurtosis of h",
    "kurtosis/last/width_adjusted": "kurtosis of the layer before h",
    "outliers/largest": "outlier features",
    "importance/raw/max_over_median": "importance, raw head",
    "importance/centred/max_over_median": "importance, centred head",
    "importance/raw/privileged": "privileged directions, raw head",
    "importance/centred/privileged": "privileged directions, centred head",
    "prune/reference/fraction": "share that can be pruned",
    "concepts/unique_0.9": "unique concepts (AP ≥ 0.9)",
    "concepts/mean_best_ap": "mean best AP",
    "concepts/polysemantic_share_0.5": "polysemantic share (AP ≥ 0.5)",
    "concepts/monosemantic_share_0.5": "monosemantic share (AP ≥ 0.5)",
    "accuracy/reference": "*reference accuracy*",
    "confidence/mean": "*mean confidence*",
    "rankme/h": "*RankMe of h*",
    "covariance_effective_rank/h": "*effective rank of the covariance*",
    "weights/alpha": "*WeightWatcher's alpha*",
}
SCOPES = (
    ("pretrained", ""), ("pretrained", "reference accuracy"), ("pretrained", "backbone"), ("families", ""),
    ("paths", ""), ("paths", "reference accuracy"),
)  # fmt: skip
TRADED = ("concepts/polysemantic_share_0.5", "concepts/monosemantic_share_0.5", "concepts/mean_best_ap")
#: Tables stand between a comment with their name and one that ends them; `tables()` fills them.


def rows_of(name, folder=FOLDER):
    with (folder / name).open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def row(*cells):
    return "| " + " | ".join(cells) + " |"


def number(text):
    return float(text) if text not in (None, "") else math.nan


def is_figure(column):
    return "/" in column and not column.startswith(("label/", "seconds/"))


def study(folder=FOLDER):
    """The record that the table is of, as far as the correlations need it."""
    rows = []
    for one in rows_of("study.csv", folder):
        figures = {tag: number(value) for tag, value in one.items() if value and is_figure(tag)}
        rows.append(
            StudyRow(
                name=one["name"], model=one["model"], family=one["family"], kind=one["kind"],
                alpha=number(one["alpha"]) if one["alpha"] else None,
                labels={label: one[f"label/{label}"] for label in LABELS if one.get(f"label/{label}")}, figures=figures,
            )
        )  # fmt: skip
    sets = {tag.removeprefix("accuracy/") for r in rows for tag in r.figures if tag.startswith("accuracy/")}
    return StudyRecord(
        name="scenes", provenance=collect_provenance(), seeds={}, conventions=(), rows=tuple(rows),
        data=DataDescription(dataset="scenes", protocol="", images={}), shifts=tuple(sets - {"reference", "shifts"}),
    )  # fmt: skip


def shown(value, factor, form):
    return f"{factor * value:{form}}" if math.isfinite(value) else "–"


def robust(one):
    return f"{100 * one.value('er/mean'):+.1f}" + (" †" if one.value("er/extrapolated") == 1 else "")


def models(record):
    """Runs of one recipe in a row, seed by seed."""
    together = {}
    for one in record.rows:
        if one.kind in KINDS:
            place = (one.labels.get("backbone", ""), one.labels.get("corpus", ""), one.kind)
            together.setdefault(place, []).append(one)
    for (backbone, corpus, kind), own in together.items():
        yield row(
            backbone, corpus, KINDS[kind],
            ", ".join(shown(one.value("accuracy/reference"), 100, ".1f") for one in own),
            ", ".join(shown(one.value("accuracy/shifts"), 100, ".1f") for one in own),
            ", ".join(robust(one) for one in own),
            *(", ".join(shown(one.value(tag), factor, form) for one in own) for tag, factor, form in COLUMNS),
        )  # fmt: skip


def correlations(folder=FOLDER):
    """Signatures, then rivals; a star where Holm's p is below 0.05."""
    found = {
        (one["figure"], one["scope"], one["given"]): one
        for one in rows_of("correlations.csv", folder)
        if one["without_extrapolated"] == "False"
    }
    for tag in (*SIGNATURES, "accuracy/reference", *RIVALS):
        cells = [correlation(found.get((tag, *place))) for place in SCOPES]
        if set(cells) != {"–"}:
            yield row(NAMES[tag], *cells)


def correlation(one):
    if one is None or not one["spearman"]:
        return "–"
    star = "*" if one["p_holm"] and float(one["p_holm"]) < 0.05 else ""
    low, high = (f"{float(one[end]):+.2f}" for end in ("low", "high"))
    return f"{float(one['spearman']):+.2f}{star} [{low}, {high}]".replace("*", "\\*")


def path_rows(record):
    """Means over families with a bootstrap over them, and the change from α = 0."""
    found = [along_alpha(record, tag) for tag in ("er/mean", *TRADED)]
    for points in zip(*found, strict=True):
        cells = []
        for point, factor, form in zip(points, (100, 100, 100, 1), ("+.1f", ".0f", ".0f", ".3f"), strict=True):
            ends = ", ".join(f"{factor * getattr(point.mean, end):{form}}" for end in ("low", "high"))
            change = [factor * getattr(point.change, end) for end in ("estimate", "low", "high")]
            signed = f"+{form}" if "+" not in form else form
            moved = f"; {change[0]:{signed}} [{change[1]:{signed}}, {change[2]:{signed}}]" if point.alpha else ""
            cells.append(f"{factor * point.mean.estimate:{form}} [{ends}]{moved}")
        yield row(f"{points[0].alpha:g}", *cells)


def tables(folder=FOLDER):
    """Every table of the page by its name."""
    record = study(folder)
    return {
        "models": list(models(record)),
        "correlations": list(correlations(folder)),
        "paths": list(path_rows(record)),
    }


if not (FOLDER / "study.csv").is_file():  # the page comes with its files
    pytest.skip("docs/study/study.csv is not there yet", allow_module_level=True)


@pytest.mark.parametrize("name", ["models", "correlations", "paths"])
def test_each_row_of_the_tables_is_computed_again(name):
    rows = tables()[name]
    page = (DOCS / "study.md").read_text(encoding="utf-8")
    assert len(rows) >= 5
    assert [one for one in rows if one not in page] == []


@pytest.mark.parametrize("figure", SIGNATURES)
def test_correlations_are_those_of_the_table_by_scipy(figure):
    found = [r for r in rows_of("correlations.csv") if r["figure"] == figure and not r["given"]]
    (one,) = [r for r in found if r["scope"] == "pretrained" and r["without_extrapolated"] == "False"]
    rows = [r for r in study().of_kind("zero-shot") if math.isfinite(r.value(figure))]
    values = [r.value(figure) for r in rows]
    # what never changes, as the outlier features of these CLIPs, has no ranks
    expected = math.nan if len(set(values)) == 1 else spearmanr(values, [r.value("er/mean") for r in rows]).statistic
    assert number(one["spearman"]) == pytest.approx(expected, nan_ok=True)
    assert int(one["rows"]) == len(rows)
