"""What docs/scale.md says of the bytes of a measurement is what the states of the metrics have."""

import re

import pytest
import torch
from repository import ROOT

from lightning_robust.signatures import (
    ActivationKurtosis,
    DirectionImportance,
    FeatureSpectrum,
    MassiveActivations,
    OutlierFeatures,
)
from lightning_robust.signatures.importance_controls import ImportanceControls

PAGE = (ROOT / "docs" / "scale.md").read_text(encoding="utf-8")
MADE = {
    "kurtosis with quantiles": lambda W: [ActivationKurtosis()],
    "outlier features": lambda W: [OutlierFeatures()],
    "massive activations": lambda W: [MassiveActivations()],
    "spectrum": lambda W: [FeatureSpectrum()],
    "importance, raw and centred": lambda W: [DirectionImportance(W), DirectionImportance(W, centred=True)],
    "`controls=True`": lambda W: [ImportanceControls(W)],
}


def row(start):
    """The cells of the row of a table that starts with this."""
    (line,) = [line for line in PAGE.splitlines() if line.startswith(f"| {start}")]
    return [cell.strip() for cell in line.strip("|").split("|")]


def sent(metrics, d, n=8):
    features = torch.randn(n, d, generator=torch.Generator().manual_seed(d))
    for metric in metrics:
        metric.update(features)
    states = [state for metric in metrics for state in metric.metric_state.values()]
    return sum(state.numel() * state.element_size() for state in states)


def by_formula(text, d, r):
    plain = text.strip("`").replace(",", "").replace("²", "**2")
    plain = re.sub(r"(\d) (?=[(dr])", r"\1 * ", plain)
    return eval(plain, {"__builtins__": {}}, {"d": d, "r": r})


@pytest.mark.parametrize("name", MADE)
def test_the_formula_is_the_size_of_the_state(name):
    d = 24
    head = torch.randn(40, d, generator=torch.Generator().manual_seed(0))
    assert sent(MADE[name](head), d) == by_formula(row(name)[1], d, min(head.shape))


@pytest.mark.parametrize("name", MADE)
def test_the_figures_are_those_of_the_formula(name):
    _, formula, *figures = row(name)
    assert [int(figure.replace(",", "")) for figure in figures] == [by_formula(formula, d, d) for d in (512, 768)]


def test_the_shipped_measurement_is_the_sum_of_its_layers():
    def figure(name, column):
        return int(row(name)[column].replace(",", ""))

    each = list(MADE)[:4]
    h = sum(figure(name, 2) for name in [*each, "importance, raw and centred"])
    block = sum(figure(name, 3) for name in each)
    for name, size in {"`encoder.visual` |": h, "last block": block, "a measurement": h + block}.items():
        cells = row(name)
        assert int(cells[1].replace(",", "")) == size
        assert cells[2:] == [f"{others * size / 1e6:.1f} MB" for others in (7, 31)]
