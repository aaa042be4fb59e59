"""`docs/pruning.md` says what its files say: every row of its tables is computed again from the committed figures."""

import csv
from pathlib import Path

import pytest
from scipy.stats import spearmanr

from lightning_robust.robustness import load_baseline

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "pruning.md").read_text(encoding="utf-8")
FAMILIES = ("contrastive_broad", "contrastive_reference", "supervised_broad", "supervised_reference")
METHODS = {
    "calibrated": "calibrated, one budget",
    "plain": "plain SVD, one budget",
    "uniform": "plain SVD, uniform ranks",
    "magnitude": "magnitude pruning, masked",
}


def rows_of(name):
    with (DOCS / "pruning" / name).open(newline="") as file:
        return list(csv.DictReader(file))


def row(*cells):
    return "| " + " | ".join(cells) + " |"


def percent(value):
    return f"{100 * float(value):.0f}"


def points(value):
    text = f"{100 * float(value):+.1f}"
    return text if float(text) else "0.0"


def headline(found, form, order, on):
    one = next(r for r in found if (r["form"], r["order"], r["on"]) == (form, order, on))
    if order == "random":
        return f"{percent(one['fraction'])} ({percent(one['low'])}–{percent(one['high'])})"
    return f"{percent(one['fraction'])} [{percent(one['low'])}, {percent(one['high'])}]"


def robustness(one):
    """In points; marked where the baseline's line is an extrapolation."""
    return points(one["er"]) + (" †" if one["extrapolated"] == "True" else "")


def models():
    found = {}
    for one in rows_of("headlines.csv"):
        found.setdefault((one["model"], one["seed"], one["alpha"]), []).append(one)
    return found


def headline_rows():
    """The bundled models, the ends and the middle of the path, and the pretrainings, three seeds in a row of each."""
    found = models()
    for key, name in (
        (("scenes-clip", "", ""), "scenes-clip"),
        (("finetuned from scenes-clip", "", "0.5"), "Wise-FT, α = 0.5"),
        (("finetuned from scenes-clip", "", "1"), "finetuned, α = 1"),
        (("scenes-supervised", "", ""), "scenes-supervised, the twin"),
    ):
        one = found[key]
        yield row(
            name, f"{100 * float(one[0]['reference']):.1f}", robustness(one[0]),
            *(headline(one, "raw", order, on) for order, on in (
                ("importance", "reference"), ("importance", "shifts"), ("reduced_rank", "reference"),
                ("random", "reference"), ("importance", "agreement"),
            )),
            headline(one, "centred", "importance", "reference"),
        )  # fmt: skip
    for family in FAMILIES:
        seeds = [found[family, seed, ""] for seed in "012"]

        def each(form, order, on, seeds=seeds):
            cells = [next(r for r in one if (r["form"], r["order"], r["on"]) == (form, order, on)) for one in seeds]
            if order == "random":
                return ", ".join(f"{percent(c['fraction'])} ({percent(c['low'])}–{percent(c['high'])})" for c in cells)
            return ", ".join(percent(cell["fraction"]) for cell in cells)

        yield row(
            f"`{family}`", ", ".join(f"{100 * float(one[0]['reference']):.1f}" for one in seeds),
            ", ".join(robustness(one[0]) for one in seeds),
            each("raw", "importance", "reference"), each("raw", "importance", "shifts"),
            each("raw", "reduced_rank", "reference"), each("raw", "random", "reference"),
            each("raw", "importance", "agreement"), each("centred", "importance", "reference"),
        )  # fmt: skip


def correlation():
    """Spearman's, of effective robustness and the share that can go on the reference, over the twelve pretrainings."""
    wanted = ("raw", "importance", "reference")
    rows = [r for r in rows_of("headlines.csv") if r["model"] in FAMILIES]
    rows = [r for r in rows if (r["form"], r["order"], r["on"]) == wanted]
    assert len(rows) == 12
    return float(spearmanr([float(r["er"]) for r in rows], [float(r["fraction"]) for r in rows]).statistic)


def compress_rows():
    for one in rows_of("compress.csv"):
        if one["method"] == "dense":
            dense = [f"{100 * float(one[name]):.1f}" for name in ("reference", "shifts")]
            flops = f"{float(one['flops']) / 1e6:.1f} M"
            yield row(one["network"], "100 %", "as it is", dense[0], "", dense[1], "", points(one["er"]), flops)
            continue
        yield row(
            one["network"], f"{percent(one['keep'])} %", METHODS[one["method"]],
            f"{100 * float(one['reference']):.1f}",
            f"{points(one['reference_change'])} [{points(one['reference_low'])}, {points(one['reference_high'])}]",
            f"{100 * float(one['shifts']):.1f}",
            f"{points(one['shifts_change'])} [{points(one['shifts_low'])}, {points(one['shifts_high'])}]",
            points(one["er"]) + (" †" if one["extrapolated"] == "True" else ""),
            f"{float(one['flops']) / 1e6:.1f} M",
        )  # fmt: skip


def ablation_rows():
    """Zeroed, with the interval of the difference; random ones as mean and range over their draws."""
    found = {}
    for one in rows_of("ablation.csv"):
        found.setdefault((one["unit"], one["form"], one["control"], one["together"], one["members"], one["draw"]), {})[
            one["set"]
        ] = one
    clip = next(r for r in rows_of("headlines.csv") if r["model"] == "scenes-clip")
    untouched = {"reference": float(clip["reference"]), "shifts": float(clip["shifts"])}
    lowest = load_baseline("scenes").reference_range[0]

    def change(one):
        return [
            *(
                f"{points(one[s]['difference'])} [{points(one[s]['difference_low'])}, "
                f"{points(one[s]['difference_high'])}]"
                for s in untouched
            ),
            points(float(one["shifts"]["er"]) - float(clip["er"]))
            + (" †" if float(one["reference"]["accuracy"]) < lowest else ""),
        ]

    def spread(drawn):
        lost = [[float(one[s]["accuracy"]) - untouched[s] for one in drawn] for s in untouched]
        lost.append([float(one["shifts"]["er"]) - float(clip["er"]) for one in drawn])
        return [f"{points(sum(v) / len(v))} ({points(min(v))} to {points(max(v))})" for v in lost]

    for form in ("raw", "centred"):
        for key, one in found.items():
            if key[:3] == ("direction", form, ""):
                together = f"{form}: all {len(key[4].split())} privileged"
                yield row(together if key[3] == "True" else f"{form}: direction {int(key[4]) + 1}", *change(one))
        for control in ("random directions of the head", "random directions of the space"):
            drawn = [v for k, v in found.items() if k[:4] == ("direction", form, control, "True")]
            yield row(f"{form}: as many {control}", *spread(drawn))
    (together,) = [v for k, v in found.items() if k[:4] == ("feature", "", "", "True")]
    yield row("the four largest features", *change(together))
    drawn = [v for k, v in found.items() if k[0] == "feature" and k[2] and k[3] == "True"]
    yield row("as many random features", *spread(drawn))


@pytest.mark.parametrize("made", [headline_rows, compress_rows, ablation_rows])
def test_each_row_of_the_tables_is_computed_again(made):
    rows = list(made())
    assert len(rows) > 5
    for one in rows:
        assert one in PAGE


def test_the_rank_correlation():
    assert f"ρ = {correlation():.2f}".replace("-", "−") in PAGE
