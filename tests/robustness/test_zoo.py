"""The zero-shot zoo: every published model judged, in order, as one by one; other baselines are refused."""

import pytest
from standard_models import IMAGES, on_a_line

from lightning_robust.errors import UserError
from lightning_robust.robustness import Baseline, load_baseline
from lightning_robust.robustness.published import published_source
from lightning_robust.robustness.zoo import zero_shot_zoo


def test_every_model_is_judged_the_most_robust_first():
    baseline = load_baseline("imagenet")
    zoo = zero_shot_zoo(baseline, replicates=200)
    assert len(zoo) == 121
    estimates = [entry.robustness.mean.estimate for entry in zoo]
    assert estimates == sorted(estimates, reverse=True)
    by_name = {entry.accuracies.name: entry for entry in zoo}
    openai = {"RN50": 0.2301, "RN101": 0.2676, "ViT-B-32": 0.2679, "ViT-B-16": 0.3310, "ViT-L-14": 0.3902}
    for architecture, er in openai.items():
        assert round(by_name[f"{architecture}/openai"].robustness.mean.estimate, 4) == er
    entry = zoo[17]
    alone = baseline.effective_robustness(
        entry.accuracies.reference,
        entry.accuracies.shifts,
        published_source("imagenet_zero_shot")["images"],
        replicates=200,
    )
    assert alone == entry.robustness


def test_models_below_the_baselines_are_extrapolated():
    zoo = zero_shot_zoo(load_baseline("imagenet"), replicates=0)
    outside = {entry.accuracies.name for entry in zoo if entry.robustness.mean.extrapolated}
    assert "nllb-clip-large-siglip/v1" in outside
    assert all(
        not 0.56522 <= entry.accuracies.reference <= 0.84726 for entry in zoo if entry.accuracies.name in outside
    )


def test_other_baselines_are_refused():
    with pytest.raises(UserError, match="the baseline own is of art"):
        zero_shot_zoo(Baseline.fit(on_a_line(scatter=0.1), n=IMAGES))
    with pytest.raises(UserError, match="take --x full"):
        zero_shot_zoo(load_baseline("imagenet", x="matched"))
