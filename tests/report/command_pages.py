"""Everything that a page can show, made up, with hostile text as model, class, concept, set and file name."""

import dataclasses
import math

from compression_record import compress_record
from diagnosis_data import diagnosed, diagnosis
from page_data import HOSTILE, evaluation_folder, probe_folder, probe_record, run_folder
from PIL import Image
from prune_data import pruned, twin
from prune_data import record as prune_record
from study_data import made_up

from lightning_robust.report.html import Found, find_sources
from lightning_robust.results import (
    AccuracyRow,
    ConceptEntry,
    DataDescription,
    DirectionConcepts,
    Interval,
    ModelDescription,
    collect_provenance,
    write_table,
)
from lightning_robust.results.ablation_record import AblatedUnit, Ablation, AblationRecord, TopImage, UnitGroup
from lightning_robust.robustness.study_correlations import correlation_rows, study_correlations

N = 200
ENTRY = ConceptEntry(concept=HOSTILE, category="style", average_precision=0.95, prevalence=0.2, sign=-1)


def rows(*right):
    sets = ("reference", HOSTILE)
    return tuple(
        AccuracyRow(set=name, protocol="top-1", correct=k, images=N, low=k / N - 0.05, high=k / N + 0.05)
        for name, k in zip(sets, right, strict=True)
    )


def ablation(members, lost, *, control="", draw=None):
    change = Interval(-lost / N, -lost / N - 0.01, -lost / N + 0.01, 0.95, 2000, 0)
    return Ablation(
        unit="direction", form="raw", kind="zero", members=members, count=len(members), together=len(members) > 1,
        control=control, draw=draw, rows=rows(180 - lost, 120 - lost),
        differences={} if control else {"reference": change, HOSTILE: change, "shifts": change},
        changed={"reference": lost, HOSTILE: lost},
    )  # fmt: skip


def ablated_unit(index, files=(), **changes):
    images = tuple(
        TopImage(image=f"v2/{k}", set=HOSTILE, place=k, label=HOSTILE, score=9.0 - k, file=file)
        for k, file in enumerate(files)
    )
    fields = {
        "unit": "direction", "form": "raw", "by_rule": True, "far_out": math.nan, "mean_z": math.nan, "share": 0.05,
        "importance": 0.02, "importance_share": 0.4, "common": 0.3, "mean": 1.0, "std": 2.0, "low": -5.0, "high": 7.0,
        "concepts": (ENTRY,), "top": images,
    }  # fmt: skip
    return AblatedUnit(index=index, **fields | changes)


def ablation_record(files=(), **changes):
    control = {"control": "random directions of the head"}
    fields = {
        "provenance": collect_provenance(threads=1), "seeds": {"draw 1": 0}, "conventions": (HOSTILE,),
        "data": DataDescription(dataset="toy", protocol="own", images={"reference": N, HOSTILE: N}), "split": "test",
        "model": ModelDescription(name=HOSTILE, origin="o", checkpoint_hash="h", parameters=7, classes=6),
        "layer": "encoder.visual", "form": "64 features", "d": 64, "at_head": True, "calibration": 50,
        "untouched": rows(180, 120), "robustness": None, "baseline": None, "notes": (HOSTILE,),
        "groups": (
            UnitGroup(
                unit="direction", form="raw", words=f"privileged {HOSTILE}", members=(0, 2), by_rule=True, found=2, of=6
            ),
        ),
        "units": (ablated_unit(0, files), ablated_unit(2, common=0.99)),
        "ablations": (
            ablation((0,), 10), ablation((2,), 40), ablation((0, 2), 50),
            ablation((3,), 1, draw=0, **control), ablation((3, 4), 3, draw=0, **control),
            ablation((5,), 2, draw=1, **control), ablation((4, 5), 5, draw=1, **control),
        ),
        "random_concepts": (0.4, 0.5, math.nan),
    }  # fmt: skip
    return AblationRecord(**fields | changes)


def pictures(folder, count=3, size=(40, 30)):
    """Small pictures in a run's folder, and their names as records give them."""
    (folder / "top_images").mkdir(parents=True)
    names = [f"top_images/{k}.png" for k in range(count)]
    for k, name in enumerate(names):
        Image.new("RGB", size, (40 * k, 90, 160)).save(folder / name)
    return names


def everything(root):
    """Sources of every kind, with hostile text; the folders that hold pictures and tables lie below `root`."""
    run = run_folder(root / "finetune" / "001")
    evaluation_folder(root / "evaluate" / "001")
    probe_folder(root / "probe" / "001")
    found = find_sources(run, below=root)
    direction = DirectionConcepts(direction=0, importance=0.4, privileged=True, concepts=(ENTRY,))
    probe = Found(root / "probe" / "001", probe_record(HOSTILE, directions=(direction, direction)))
    model = dataclasses.replace(pruned(), name=HOSTILE)
    study = made_up()
    named = dataclasses.replace(study.rows[0], name=HOSTILE, labels=dict.fromkeys(study.rows[0].labels, HOSTILE))
    study = dataclasses.replace(study, rows=(named, *study.rows[1:]))
    (root / "study" / "s").mkdir(parents=True)
    correlations = study_correlations(study, ("kurtosis/h/width_adjusted",), replicates=20, permutations=20)
    write_table(root / "study" / "s" / "correlations.csv", correlation_rows(correlations))
    other = find_sources(evaluation_folder(root / "evaluate" / "second"), below=None)
    return dataclasses.replace(
        found,
        probes=(probe,),
        prunings=(Found(root / "prune" / "001", prune_record(model, twin())),),
        compressions=(Found(root / "compress" / "001", dataclasses.replace(compress_record(), model=HOSTILE)),),
        ablations=(Found(root / "ablate" / "001", ablation_record(pictures(root / "ablate" / "001"))),),
        diagnoses=(Found(root / "diagnose" / "001", diagnosis(diagnosed(name=HOSTILE, reasons=(HOSTILE,)))),),
        studies=(Found(root / "study" / "s", study),),
        second=other,
    )
