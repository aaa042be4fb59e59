"""Canonical tags: what a probe and a monitor measure gets one name, whatever the architecture calls its layers."""

import math
from typing import Final

import pytest

from lightning_robust.robustness import REFERENCE_ONLY, reference_figures

NAN: Final = math.nan


def measured(layers: list[str], start: float = 3.0) -> dict[str, float]:
    figures = {}
    for k, layer in enumerate(layers):
        figures |= {
            f"kurtosis/{layer}": start + k,
            f"kurtosis/{layer}/width_adjusted": (start + k) / 3,
            f"kurtosis/{layer}/q95": 99.0,
            f"outliers/{layer}/features": float(k),
            f"outliers/{layer}/neuron_norm_kurtosis": 1.5 + k,
            f"massive/{layer}/largest": 10.0 * k,
            f"spectrum/{layer}/rankme": 20.0 + k,
            f"spectrum/{layer}/covariance_effective_rank": 30.0 + k,
            f"spectrum/{layer}/participation_ratio": 5.0 + k,
        }
    return figures


RESNET: Final = ["encoder.visual.layer1", "encoder.visual.layer2", "encoder.visual"]
VIT: Final = ["blocks.0", "blocks.1", "head:input"]


@pytest.mark.parametrize("layers", [RESNET, VIT])
def test_tags_do_not_depend_on_the_names_of_layers(layers: list[str]) -> None:
    found = reference_figures(measured(layers), layers, layers[-1])
    assert found == {
        "kurtosis/h": 5.0,
        "kurtosis/h/width_adjusted": 5 / 3,
        "outliers/h": 2.0,
        "neuron_norm_kurtosis/h": 3.5,
        "rankme/h": 22.0,
        "kurtosis/last": 4.0,
        "kurtosis/last/width_adjusted": 4 / 3,
        "outliers/last": 1.0,
        "neuron_norm_kurtosis/last": 2.5,
        "rankme/last": 21.0,
        "massive/h/largest": 20.0,
        "covariance_effective_rank/h": 32.0,
        "participation_ratio/h": 7.0,
        "kurtosis/largest": 5.0,
        "kurtosis/mean": 4.0,
        "kurtosis/largest/width_adjusted": 5 / 3,
        "kurtosis/mean/width_adjusted": pytest.approx(4 / 3),
        "outliers/largest": 2.0,
    }


def test_the_representation_is_h_wherever_it_stands() -> None:
    layers = [RESNET[2], RESNET[0], RESNET[1]]
    found = reference_figures(measured(layers), layers, RESNET[2])
    assert (found["kurtosis/h"], found["kurtosis/last"]) == (3.0, 5.0)
    assert found == reference_figures(measured(layers), layers[1:], RESNET[2])  # as where h is not named among them


def test_what_was_not_measured_is_absent() -> None:
    assert reference_figures({}, RESNET, RESNET[2]) == {}
    alone = reference_figures(measured([RESNET[2]]), [RESNET[2]], RESNET[2])
    assert not [tag for tag in alone if "last" in tag]
    assert alone["kurtosis/largest"] == alone["kurtosis/mean"] == alone["kurtosis/h"]


def test_undefined_figures_are_nan_and_narrow_layers_do_not_hide_the_others() -> None:
    figures = measured(RESNET) | {f"outliers/{RESNET[2]}/features": NAN}
    found = reference_figures(figures, RESNET, RESNET[2])
    assert math.isnan(found["outliers/h"])
    assert found["outliers/largest"] == 1.0
    figures |= {f"outliers/{layer}/features": NAN for layer in RESNET} | {f"kurtosis/{RESNET[0]}": NAN}
    found = reference_figures(figures, RESNET, RESNET[2])
    assert math.isnan(found["outliers/largest"])
    assert math.isnan(found["kurtosis/largest"])
    assert math.isnan(found["kurtosis/mean"])
    assert found["kurtosis/largest/width_adjusted"] == 5 / 3


def test_heads_and_the_mean_exponent_of_weights() -> None:
    weights = {
        "weights/conv1.weight/alpha": NAN,
        "weights/conv2.weight/alpha": 2.0,
        "weights/conv2.weight/stable_rank": 7.0,
        "weights/fc.weight/alpha": 4.0,
        "weights/fc.weight/stable_rank": 3.0,
        "weights/fc.weight/effective_rank": 9.0,
    }
    found = reference_figures(weights, ["layer4", "fc:input"], "fc:input")
    assert found == {"head/stable_rank": 3.0, "head/effective_rank": 9.0, "head/alpha": 4.0, "weights/alpha": 3.0}
    own = reference_figures(weights, [], "layer4", head="conv2.weight")
    assert own["head/stable_rank"] == 7.0
    none = reference_figures({"weights/a.weight/alpha": NAN}, [], "encoder.visual")
    assert set(none) == {"weights/alpha"}
    assert math.isnan(none["weights/alpha"])


def test_importance_confidence_and_concepts() -> None:
    h = RESNET[2]
    names = ("max_over_median", "privileged", "directions_for_90")
    figures = {f"importance/{h}/{form}/{name}": 1.0 for form in ("raw", "centred") for name in names}
    figures |= {f"importance/{h}/raw/random_head/{name}": 2.0 for name in names}
    figures |= {f"confidence/{name}": 0.5 for name in ("mean", "entropy", "margin")}
    figures |= {
        f"concepts/{h}/singular_vectors/unique_0.9": 4.0,
        f"concepts/{h}/neurons/unique_0.9": 2.0,
        f"concepts/{h}/random_rotation/monosemantic_share_0.5": 0.25,
        f"concepts/{h}/singular_vectors/permuted/unique_0.9": 0.0,
    }
    found = reference_figures(figures, RESNET, h)
    concepts = {tag: value for tag, value in found.items() if tag.startswith("concepts/")}
    assert concepts == {
        "concepts/unique_0.9": 4.0,
        "concepts/neurons/unique_0.9": 2.0,
        "concepts/random_rotation/monosemantic_share_0.5": 0.25,
    }
    others = set(found) - set(concepts)
    assert others == {f"importance/{form}/{name}" for form in ("raw", "centred") for name in names} | {
        "confidence/mean",
        "confidence/entropy",
        "confidence/margin",
    }
    assert others <= set(REFERENCE_ONLY)
    assert not set(concepts) & set(REFERENCE_ONLY)


def test_reference_only_is_what_reference_images_give() -> None:
    assert len(set(REFERENCE_ONLY)) == len(REFERENCE_ONLY)
    forbidden = ("concepts", "er/", "prune", "accuracy/")
    assert not [tag for tag in REFERENCE_ONLY if tag.startswith(forbidden)]
    assert set(reference_figures(measured(RESNET), RESNET, RESNET[2])) <= set(REFERENCE_ONLY)


def test_a_model_without_a_head_has_its_own_output_as_representation() -> None:
    found = reference_figures(measured(["layer4", ""]), ["layer4", ""], "")
    assert (found["kurtosis/h"], found["kurtosis/last"]) == (4.0, 3.0)
