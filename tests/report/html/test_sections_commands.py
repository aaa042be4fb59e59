"""Sections on single commands: what they say is what the record says, and hostile text is escaped."""

import dataclasses
import math
import re

import pytest
from command_pages import ENTRY, ablated_unit, ablation_record, everything, pictures
from compression_record import compress_record
from diagnosis_data import diagnosed, diagnosis
from page_data import HOSTILE, Parsed, probe_record
from PIL import Image
from prune_data import pruned, twin
from prune_data import record as prune_record
from study_data import made_up

from lightning_robust.report.html import (
    Found,
    Sources,
    sections_ablation,
    sections_comparison,
    sections_compression,
    sections_concepts,
    sections_diagnosis,
    sections_pruning,
    sections_study,
)
from lightning_robust.report.html.several import MOST_RECORDS, each, evenly, told
from lightning_robust.report.html.thumbnails import Thumbnails

MODULES = (
    sections_ablation, sections_comparison, sections_compression, sections_concepts, sections_diagnosis,
    sections_pruning, sections_study,
)  # fmt: skip


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    return everything(tmp_path_factory.mktemp("runs"))


def sources(tmp_path, **parts):
    return Sources(folder=tmp_path, **{name: tuple(Found(tmp_path, one) for one in own) for name, own in parts.items()})


@pytest.mark.parametrize("module", MODULES)
def test_a_section_is_well_formed_and_escapes(found, module):
    section = module.section(found)
    parsed = Parsed(section.body)
    assert not parsed.problems
    assert "script" not in {name for name, _ in parsed.elements}
    assert "b" not in {name for name, _ in parsed.elements}
    if module is not sections_comparison:
        assert HOSTILE in parsed.text + section.lead


@pytest.mark.parametrize("module", MODULES)
def test_without_results_there_is_no_section(tmp_path, module):
    assert module.section(Sources(folder=tmp_path)) is None


def test_the_table_of_pruning_has_the_headlines_of_the_record(tmp_path):
    model = pruned()
    section = sections_pruning.section(sources(tmp_path, prunings=[prune_record(model, twin())]))
    headline = model.curve("importance", "raw").headlines["reference"][0].fraction
    ends = [f"{100 * value:.0f}" for value in (headline.estimate, headline.low, headline.high)]
    assert f"{ends[0]} [{ends[1]}, {ends[2]}]" in Parsed(section.body).text
    assert "scenes-supervised" in Parsed(section.body).text
    assert not section.lead.startswith("Scenes")  # a model's name is spelt as it is


def test_a_model_near_chance_has_no_headline(tmp_path):
    model = dataclasses.replace(pruned(), near_chance=True)
    section = sections_pruning.section(sources(tmp_path, prunings=[prune_record(model)]))
    assert "nothing can be concluded" in section.lead


def test_of_many_models_some_curves_are_drawn_and_all_are_listed(tmp_path):
    models = [dataclasses.replace(pruned(), name=f"model {k}") for k in range(9)]
    text = sections_pruning.section(sources(tmp_path, prunings=[prune_record(*models)])).body
    parsed = Parsed(text)
    assert sum("data-option" in attrs for _, attrs in parsed.elements) == 4
    assert all(f"model {k}" in parsed.text for k in range(9))


def test_compression_says_what_is_kept_and_lists_every_network(tmp_path):
    record = compress_record()
    section = sections_compression.section(sources(tmp_path, compressions=[record]))
    text = Parsed(section.body).text
    for point in record.points:
        assert f"{100 * point.reference.accuracy:.1f}" in text
    own = next(p for p in record.points if p.differences)
    change = own.differences[own.reference.set]
    assert f"[{100 * change.low:+.1f}".replace("-", "−").replace("[+0.0", "[0.0").replace("[−0.0", "[0.0") in text
    near = dataclasses.replace(record, chance=record.dense.reference.accuracy)
    lead = sections_compression.section(sources(tmp_path, compressions=[near])).lead
    assert "near to guessing" in lead


def test_a_network_that_loses_the_shifts_is_not_praised_for_the_reference(tmp_path):
    record = compress_record()
    lead = sections_compression.section(sources(tmp_path, compressions=[record])).lead
    assert "on the shifts at" in lead
    lost = [
        dataclasses.replace(
            point, rows=(point.rows[0], *(dataclasses.replace(row, correct=0) for row in point.rows[1:]))
        )
        for point in record.points[1:]
    ]
    poor = dataclasses.replace(record, points=(record.points[0], *lost))
    lead = sections_compression.section(sources(tmp_path, compressions=[poor])).lead
    assert "keeps its accuracy on the reference" in lead
    assert "while on the shifts every size loses more than a point" in lead


def test_ablation_shows_each_unit_the_group_and_its_controls(tmp_path):
    section = sections_ablation.section(sources(tmp_path, ablations=[ablation_record()]))
    text = Parsed(section.body).text
    assert "−5" in text  # 10 of 200 answers
    assert "−25" in text  # all together
    assert "all 2 together" in text
    assert "1 random, head" in text
    assert "2 random, head" in text
    assert "−2" in text  # mean of 3 and 5 of 200
    assert section.lead.startswith("Raw directions, the 2 together set to zero: −25.0 points")
    said = section.lead.partition(", ")[2]
    assert said not in text  # once is enough


def test_concepts_name_what_is_encoded_and_what_random_directions_reach(tmp_path):
    names = pictures(tmp_path)
    section = sections_concepts.section(sources(tmp_path, ablations=[ablation_record(names)]))
    assert (
        section.lead == f"Raw direction 1 encodes {HOSTILE} with an average precision of 0.95, the most of those shown."
    )
    parsed = Parsed(section.body)
    assert "Of 2 random directions the best concept has 0.40 to 0.50" in parsed.text
    assert len(parsed.all("img")) == 3
    assert all(one["src"].startswith("data:image/") and HOSTILE in one["alt"] for one in parsed.all("img"))
    weak = dataclasses.replace(ENTRY, average_precision=0.5)
    units = (ablated_unit(0, concepts=(weak,)), ablated_unit(2, concepts=()))
    lead = sections_concepts.section(sources(tmp_path, ablations=[ablation_record(units=units)])).lead
    assert lead.startswith("None of the directions shown encodes a concept with an average precision of 0.9")


def test_diagnosis_says_the_verdict_and_its_reasons(tmp_path):
    one = diagnosed(reasons=("confidence/mean is low",), verdict="undetermined", outside=("confidence/mean",))
    section = sections_diagnosis.section(sources(tmp_path, diagnoses=[diagnosis(one)]))
    assert section.lead == (
        "Undetermined: its effective robustness is predicted at +31 points [18, 44] (90 % interval)."
    )
    text = Parsed(section.body).text
    assert "mean confidence is low" in text
    assert "52 of 60" in text
    nothing = diagnosed(predicted=math.nan, low=math.nan, high=math.nan, contributions={}, verdict="undetermined")
    two = sections_diagnosis.section(sources(tmp_path, diagnoses=[diagnosis(one, nothing, points=())]))
    assert "cannot be predicted" in two.lead
    assert not Parsed(two.body).problems


def test_a_study_without_correlations_still_has_its_scatters_and_failures(tmp_path):
    record = made_up(failures=[("rn-web-0", "train", "first line\nlast line")])
    section = sections_study.section(sources(tmp_path, studies=[record]))
    parsed = Parsed(section.body)
    assert "rn-web-0, train: last line" in parsed.text
    assert all(row.name in parsed.text for row in record.rows)
    assert "Spearman" not in parsed.text
    (tmp_path / "correlations.csv").write_text("another,table\n1,2\n")
    assert "Spearman" not in sections_study.section(sources(tmp_path, studies=[record])).body


def test_two_models_are_compared_set_by_set(found):
    section = sections_comparison.section(found)
    text = Parsed(section.body).text
    assert section.lead.startswith("finetune/001, α = 1 less evaluate/second: on the reference 0.0, on the shifts")
    assert "ER, mean" in text
    assert "not paired" in text
    assert "kurtosis of h" not in text  # of one of them alone


def test_signatures_stand_under_the_model_that_they_are_of(found, tmp_path):
    probes = [Found(tmp_path / f"p{k}", probe_record(f"model {k}", digest=str(k) * 64)) for k in range(2)]
    other = dataclasses.replace(found.second, probes=tuple(probes[1:]))
    both = dataclasses.replace(found, runs=(), curves=(), evaluations=(), probes=tuple(probes[:1]), second=other)
    names = re.findall(r'<th scope="col">([^<]*)</th>', sections_comparison.section(both).body)
    assert {f"model {k} ({tmp_path.name}/p{k})" for k in range(2)} <= set(names)
    trained = dataclasses.replace(found, probes=tuple(probes[:1]), second=other)
    body = sections_comparison.section(trained).body
    assert "finetune/001, α = 1</th>" in body.partition("signature")[2]
    assert "model 0" not in body  # not the training's model


def test_pictures_come_from_the_runs_folder_alone_and_within_a_budget(tmp_path):
    run = tmp_path / "run"
    names = pictures(run)
    Image.new("RGB", (8, 8)).save(tmp_path / "secret.png")
    (run / "text.png").write_text("no picture")
    (run / "link.png").symlink_to(tmp_path / "secret.png")
    album = Thumbnails()
    assert 'width="64" height="48"' in album.of(run, names[0], "a")
    for file in ("../secret.png", str(tmp_path / "secret.png"), "link.png", "text.png", "none.png", None):
        assert album.of(run, file, "a") is None
    assert Thumbnails(budget=10).of(run, names[0], "a") is None


def test_a_large_picture_is_made_small(tmp_path):
    rough = Image.effect_noise((900, 600), 90).convert("RGB")
    rough.save(tmp_path / "large.png")
    assert len(Thumbnails().of(tmp_path, "large.png", "noise")) < 8_000


def test_lists_and_choices_of_records(tmp_path):
    assert told([]) is None
    assert evenly([1, 2], 4) == [1, 2]
    assert evenly(list(range(100)), 4) == [0, 33, 66, 99]
    found = [Found(tmp_path / f"run{k}", k) for k in range(MOST_RECORDS + 1)]
    text = Parsed(each(found, lambda one: told([("", str(one.record))]))).text
    assert f"run{MOST_RECORDS}" in text.partition("Not shown")[2]
