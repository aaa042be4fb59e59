"""How sure models are, as `probe` prints it."""

import dataclasses
import io

from rich.console import Console

from lightning_robust.report import print_probe
from lightning_robust.report.probe_confidence import confidence_table
from lightning_robust.results import DataDescription, ModelDescription, ProbedLayer, ProbeRecord, collect_provenance

SURE = {"mean": 0.8188, "entropy": 0.1886, "margin": 0.7247}
RIGHT = {"accuracy": 0.84, "overconfidence": -0.0212, "ece": 0.0737}


def record(**figures):
    return ProbeRecord(
        provenance=collect_provenance(threads=1),
        seeds={},
        model=ModelDescription(name="a", origin="b", checkpoint_hash="0" * 64, parameters=1, classes=20),
        data=DataDescription(dataset="scenes", protocol="own", images={"reference": 500}),
        conventions=(),
        layers=(ProbedLayer(name="h", form="128 features", d=128),),
        scalars={f"confidence/{name}": value for name, value in figures.items()},
        curves={},
        indices={},
    )


def printed(records, folder):
    text = io.StringIO()
    print_probe(records, folder, Console(file=text, width=110))
    return text.getvalue()


def cells(table, row):
    return [list(column.cells)[row] for column in table.columns]


def test_one_model(tmp_path):
    table = confidence_table({"": record(**SURE, **RIGHT)})
    assert cells(table, 0) == ["0.819", "0.189", "0.725", "84.0%", "-0.021", "0.074"]
    out = printed({"": record(**SURE, **RIGHT)}, tmp_path)
    assert "Confidence of the answers" in out
    assert "15 bins of equal width" in " ".join(out.split())


def test_several_models_one_of_them_without_classes_and_one_without_a_head(tmp_path):
    without = dataclasses.replace(record(), model=dataclasses.replace(record().model, classes=0))
    table = confidence_table({"A": record(**SURE, **RIGHT), "B": record(**SURE), "C": without})
    assert table.row_count == 2
    assert cells(table, 1) == ["B", "0.819", "0.189", "0.725", "–", "–", "–"]
    assert "Confidence of the answers" not in printed({"": without}, tmp_path)
