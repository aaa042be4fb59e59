"""What is printed and drawn of a study."""

import csv
import io
import math
import re
from dataclasses import replace

import pytest
from matplotlib.image import imread
from rich.console import Console
from study_data import ALPHAS, made_up

from lightning_robust.report import print_study, write_study_figures
from lightning_robust.report.study_figure import correlation_words, study_figure
from lightning_robust.report.study_findings import direction, study_findings
from lightning_robust.report.study_style import family_paths, study_style
from lightning_robust.report.study_words import FIGURES, SCATTERED, figure_words
from lightning_robust.report.tradeoff_figure import TRADED, tradeoff_figure
from lightning_robust.robustness.study_correlations import SIGNATURES, study_correlations
from lightning_robust.robustness.study_paths import along_alpha


@pytest.fixture(scope="module")
def record():
    return made_up(failures=[("rn-web-9", "train", "out [of] memory")])


@pytest.fixture(scope="module")
def correlations(record):
    return study_correlations(record, list(FIGURES), replicates=100, permutations=999)


def printed(record, correlations, width=80):
    out = io.StringIO()
    print_study(record, "checkpoints/study/made_up", Console(file=out, width=width), correlations)
    return out.getvalue()


def words(text):
    return " ".join(text.split())


def with_figures(record, tag, value):
    return replace(record, rows=tuple(replace(row, figures={**row.figures, tag: value}) for row in record.rows))


def test_every_signature_has_words():
    assert set(SIGNATURES) <= set(FIGURES)
    assert all(len(one.short) <= 23 for one in FIGURES.values())
    assert figure_words("accuracy/photo").factor == 100.0


def test_eighty_characters_are_enough(record, correlations):
    assert max(len(line) for line in printed(record, correlations).splitlines()) <= 80


def test_models_stand_with_robustness_its_interval_and_what_is_extrapolated(record, correlations):
    text = printed(record, correlations)
    row = record.rows[0]
    line = next(line for line in text.splitlines() if line.startswith(f" {row.name} "))
    accuracy, robust = 100 * row.value("accuracy/reference"), 100 * row.value("er/mean")
    assert f"{accuracy:.1f}" in line
    assert f"{robust:+.1f} [{robust - 3:+.1f}, {robust + 3:+.1f}]†" in line
    assert text.count("†") == 1 + sum(r.value("er/extrapolated") == 1 and r.kind != "interpolated" for r in record.rows)
    assert "α = 0.5" not in text, "points inside paths are in the files alone"


def test_correlations_stand_with_intervals_and_stars(record, correlations):
    text = printed(record, correlations)
    found = {(one.figure, one.scope): one for one in correlations if not one.given and not one.without_extrapolated}
    for scope in ("pretrained", "paths", "families"):
        one = found["concepts/mean_best_ap", scope]
        cell = f"{one.correlation.estimate:+.2f}".replace("0.", ".").replace("-", "−")
        assert f"{cell}{'*' if one.p_holm < 0.05 else ''} [" in text
    assert found["concepts/mean_best_ap", "pretrained"].p_holm < 0.05
    assert found["importance/raw/max_over_median", "pretrained"].p_holm > 0.05


def test_failures_are_printed_as_they_are(record, correlations):
    assert "rn-web-9, train failed: out [of] memory" in printed(record, correlations)


def test_without_correlations_given_they_are_computed():
    small = made_up(corpora=("diverse",), seeds=(0,))
    small = replace(small, rows=small.rows[:5])
    text = printed(small, None)
    assert "along paths" in text
    assert not any(line.split()[:2] == ["between", "CLIPs"] for line in text.splitlines()), "one pretrained model"


def test_a_study_of_nothing_but_names_is_printed():
    small = made_up(corpora=("diverse",), backbones=("rn",), seeds=(0,))
    bare = replace(small, rows=tuple(replace(row, figures={}) for row in small.rows))
    text = printed(bare, None)
    assert "rn-diverse-0" in text
    assert "What follows" not in text


def test_without_a_baseline_there_are_models_and_no_pictures(record, tmp_path):
    bare = with_figures(with_figures(record, "er/mean", math.nan), "er/extrapolated", math.nan)
    text = printed(bare, study_correlations(bare))
    assert "No effective robustness was measured" in text
    assert "What follows" not in text
    assert write_study_figures(bare, tmp_path) == list(tmp_path.iterdir()) == []


def test_findings_are_what_was_built_in(record, correlations):
    sentences = "\n".join(study_findings(record, correlations))
    both = "higher where robustness is higher between pretrained models and along Wise-FT paths"
    assert f"mean best AP of concepts: {both}." in sentences
    assert "importance, raw head: undetermined between pretrained models and along Wise-FT paths." in sentences
    assert "one concept at AP ≥ 0.5: lower where robustness is higher between pretrained models" in sentences
    assert "directions that can go: undetermined between pretrained models; not compared along" in sentences
    assert "8 families are left between pretrained models: too few." in sentences


def test_what_reference_accuracy_explains_is_said(record, correlations):
    (one,) = [s for s in study_findings(record, correlations) if s.startswith("several concepts")]
    assert one.endswith("no longer with reference accuracy held fixed, along Wise-FT paths.")


def test_below_ten_families_nothing_is_concluded():
    few = made_up(backbones=("rn",))
    found = study_correlations(few, ["concepts/mean_best_ap"], replicates=100)
    sentences = study_findings(few, found)
    assert sentences[0].startswith(
        "mean best AP of concepts: undetermined between pretrained models (8 families) and along Wise-FT paths (8 fam"
    )
    assert "the pretrained models are of 8 families, fewer than 10" in sentences[1]


def test_one_family_has_no_interval_and_what_never_changes_is_called_the_same(record):
    one = replace(record, rows=tuple(row for row in record.rows if row.family == record.rows[0].family), failures=())
    one = with_figures(one, "outliers/largest", 0.0)
    found = study_correlations(one, ["outliers/largest", "concepts/mean_best_ap"], replicates=100)
    paths = next(c for c in found if c.figure == "concepts/mean_best_ap" and c.scope == "paths" and not c.given)
    assert math.isfinite(paths.correlation.estimate)
    assert math.isnan(paths.correlation.low)
    assert "[" not in correlation_words(paths)
    text = words(printed(one, found))
    assert "nan" not in text
    assert "Outlier features: not compared between pretrained models; the same along Wise-FT paths." in text
    assert "undetermined along Wise-FT paths (1 family)" in text
    assert "The pretrained models are of 1 family, fewer than 10" in text


def test_a_direction_needs_its_interval_and_its_chance(correlations):
    one = next(one for one in correlations if one.figure == "concepts/mean_best_ap" and one.scope == "pretrained")
    assert direction(one) == "higher"
    assert direction(replace(one, p_holm=0.06)) == "undetermined"
    assert direction(replace(one, correlation=replace(one.correlation, low=-0.1))) == "undetermined"
    assert direction(replace(one, correlation=replace(one.correlation, estimate=math.nan))) == "the same"
    flipped = replace(one.correlation, estimate=-0.9, low=-0.95, high=-0.8)
    assert direction(replace(one, correlation=flipped)) == "lower"


def panels(figure):
    return {axes.get_title(loc="left").splitlines()[0]: axes for axes in figure.axes if axes.get_title(loc="left")}


def marks(axes):
    return [line for line in axes.lines if line.get_linestyle() == "None"]


def test_every_model_is_a_mark_at_its_figures(record, correlations):
    figure = study_figure(record, correlations)
    axes = panels(figure)["mean best AP of concepts"]
    places = [place for line in marks(axes) for place in line.get_xydata().tolist()]
    assert sorted(places) == sorted(
        [row.value("concepts/mean_best_ap"), 100 * row.value("er/mean")] for row in record.rows
    )
    paths = [line for line in axes.lines if line.get_linestyle() == "-" and len(line.get_xdata()) == 1 + len(ALPHAS)]
    assert len(paths) == len(family_paths(record)) == 16


def test_intervals_are_drawn_and_extrapolations_are_pale(record):
    axes = panels(study_figure(record))["mean best AP of concepts"]
    shown = [row for row in record.rows if row.kind != "interpolated"]
    bars = [segment.tolist() for found in axes.collections for segment in found.get_segments()]
    x, ends = "concepts/mean_best_ap", ("er/mean/low", "er/mean/high")
    assert sorted(bars) == sorted([[row.value(x), 100 * row.value(end)] for end in ends] for row in shown)
    pale = sum(len(line.get_xdata()) for line in marks(axes) if line.get_alpha() < 1)
    assert pale == sum(row.value("er/extrapolated") == 1 for row in record.rows) > 0


def test_above_each_panel_stand_its_correlations(record, correlations):
    titles = [axes.get_title(loc="left") for axes in study_figure(record, correlations).axes]
    found = {(one.figure, one.scope): one for one in correlations if not one.given and not one.without_extrapolated}
    for tag in SCATTERED:
        title = next(title for title in titles if title.startswith(figure_words(tag).words))
        assert f"CLIPs {correlation_words(found[tag, 'pretrained'])}" in title
        assert ("paths" in title) == ((tag, "paths") in found)


def test_what_never_changes_is_said_and_not_drawn(record):
    figure = study_figure(with_figures(record, "outliers/largest", 0.0))
    assert "outlier features" not in panels(figure)
    assert "the same in every model: outlier features (0)" in figure.get_supxlabel()


def test_colours_are_the_corpora_else_the_backbones(record):
    style = study_style(record)
    assert list(style.colours) == ["diverse", "web", "snapshots", "stock"]
    assert (style.filled, style.hollow) == ("rn", "vit")
    twin = record.of_kind("supervised")[0]
    alike = replace(twin, labels={**twin.labels, "corpus": "web"})
    assert style.colour(alike) == style.colour(twin) not in style.colours.values()
    bare = replace(record, rows=tuple(replace(row, labels={"backbone": row.labels["backbone"]}) for row in record.rows))
    style = study_style(bare)
    assert (style.label, list(style.colours), style.hollow) == ("backbone", ["rn", "vit"], "")
    none = study_style(replace(record, rows=tuple(replace(row, labels={}) for row in record.rows)))
    assert (none.label, none.colours) == ("", {})


def test_the_trade_off_along_alpha_is_the_mean_over_families(record, correlations):
    figure = tradeoff_figure(record, correlations)
    axes = [axes for axes in figure.axes if axes.get_xlabel().startswith("α")]
    assert len(axes) == 1 + len(TRADED)
    for panel, tag, factor in ((axes[0], "er/mean", 100), (axes[1], TRADED[0], 100), (axes[3], TRADED[2], 1)):
        expected = [factor * one.mean.estimate for one in along_alpha(record, tag)]
        assert any(list(line.get_ydata()) == pytest.approx(expected) for line in panel.lines)
    assert [len(panel.lines) for panel in axes] == [1, 3, 3, 3], "two controls beside the singular vectors"


def test_without_concepts_there_is_no_trade_off_and_without_paths_no_alpha(record):
    bare = replace(
        record,
        rows=tuple(
            replace(row, figures={k: v for k, v in row.figures.items() if not k.startswith("concepts/")})
            for row in record.rows
        ),
    )
    assert tradeoff_figure(bare) is None
    still = replace(record, rows=record.of_kind("zero-shot"))
    assert not [axes for axes in tradeoff_figure(still).axes if axes.get_xlabel().startswith("α")]


def test_files_are_written_and_names_with_formulas_are_drawn_as_they_are(correlations, tmp_path):
    few = made_up(seeds=(0,))
    rows = [replace(row, labels={**row.labels, "corpus": f"${row.labels.get('corpus')}"}) for row in few.rows]
    odd = replace(few, name="a$x^{$b", rows=tuple(rows))
    files = write_study_figures(odd, tmp_path, correlations)
    names = ["correlations.csv", "signatures.png", "signatures.svg", "tradeoff.png", "tradeoff.svg"]
    assert sorted(file.name for file in files) == sorted(p.name for p in tmp_path.iterdir()) == names
    assert imread(tmp_path / "signatures.png").shape[1] > 1600
    assert re.search(r"<svg", (tmp_path / "tradeoff.svg").read_text(encoding="utf-8"))
    with (tmp_path / "correlations.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(correlations)
    assert float(rows[0]["spearman"]) == correlations[0].correlation.estimate
