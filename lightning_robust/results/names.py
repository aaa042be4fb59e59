"""Names of the files in a run's folder."""

from typing import Final

#: Everything that a finished run found, `RunRecord`.
RESULTS: Final = "results.json"
#: Every figure by epoch and step, `CurveFile`.
CURVES: Final = "signatures.csv"
#: The picture of the curves.
PICTURE: Final = "signatures.png"
#: The baseline of a run's effective robustness, `BaselineRecord`.
BASELINE: Final = "baseline.json"
#: The path above that baseline's line, as pictures.
SCATTERS: Final = ("robustness.png", "robustness.svg")
#: Every accuracy of an evaluation, a row for each model and set.
ACCURACIES: Final = "accuracies.csv"
