"""Names of the files in a run's folder."""

from typing import Final

#: Everything that a finished run found, `RunRecord`.
RESULTS: Final = "results.json"
#: Every figure by epoch and step, `CurveFile`.
CURVES: Final = "signatures.csv"
#: The picture of the curves.
PICTURE: Final = "signatures.png"
#: Every accuracy of an evaluation, a row for each model and set.
ACCURACIES: Final = "accuracies.csv"
