"""Photos in a folder for each class, small and quickly told apart, and what a run is asked to measure on them."""

import numpy as np
from PIL import Image

from lightning_robust.data import ImageFolderDataModule
from lightning_robust.data.concept_sets import concept_loader, open_concept_set
from lightning_robust.results import collect_provenance
from lightning_robust.results.baseline_record import write_baseline
from lightning_robust.robustness import Baseline, ModelAccuracies

COLOURS = {"brick": (200, 40, 40), "grass": (40, 200, 40), "sea": (40, 40, 200), "road": (120, 120, 120)}


class Photos(ImageFolderDataModule):
    """With a concept set, as a data module of one's own has it."""

    def concept_dataloader(self):
        return concept_loader(open_concept_set("csv:photos/concepts.csv", self.transform), 8)


def write_photos(folder):
    """Extra data of four classes, a reference of three of them, a shift of that, and concepts; a baseline beside."""
    rng = np.random.default_rng(0)
    for domain, classes, noise in (("extra", 4, 20), ("reference", 3, 20), ("sketch", 3, 60)):
        for name in list(COLOURS)[:classes]:
            (folder / domain / name).mkdir(parents=True)
            for k in range(10):
                pixels = np.array(COLOURS[name]) + rng.normal(0, noise, (40, 48, 3))
                Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / domain / name / f"{k}.jpg")
    files = [f"extra/{name}/{k}.jpg" for name in COLOURS for k in range(10)]
    rows = [f"{file},{int('brick' in file)},{int('grass' in file or 'sea' in file)}" for file in files]
    (folder / "concepts.csv").write_text("\n".join(["image,red,nature", *rows]) + "\n")
    models = [
        ModelAccuracies(f"model {k}", reference, {"sketch": 0.05 + 0.8 * reference + 0.01 * (-1) ** k})
        for k, reference in enumerate((0.02, 0.2, 0.4, 0.6, 0.8, 0.98))
    ]
    baseline = Baseline.fit(models, n={"reference": 500, "sketch": 500}, name="photos")
    write_baseline(baseline.to_record(collect_provenance()), folder.parent / "baseline.json")


def settings(model, data, **arguments):
    """A config of one epoch with every monitor at log-spaced steps."""
    layers = [f"model.encoder.visual{block}" for block in ("", *data.pop("blocks"))]
    callbacks = {
        "lightning.pytorch.callbacks.ModelCheckpoint": {"filename": "last", "enable_version_counter": False},
        "lightning_robust.callbacks.LogSteps": {},
        "lightning_robust.callbacks.SignatureMonitor": {
            "signatures": ["kurtosis", "spectrum"], "layers": layers, "weights": ["model.head.weight"],
            "untrained": True,
        },
        "lightning_robust.callbacks.ConceptMonitor": {"layers": layers[:1]},
        "lightning_robust.callbacks.EffectiveRobustness": {"baseline": "baseline.json", "replicates": 10},
    }  # fmt: skip
    return {
        "trainer": {
            "max_epochs": 1, "accelerator": "cpu", "devices": 1, "enable_progress_bar": False,
            "callbacks": [{"class_path": name, "init_args": given} for name, given in callbacks.items()],
        },
        "model": {"class_path": f"lightning_robust.training.{model}", "init_args": {"warmup_steps": 1, **arguments}},
        "data": {
            "class_path": "vision_photos.Photos",
            "init_args": {"root": "photos", "shifts": ["sketch"], "batch_size": 8, **data},
        },
    }  # fmt: skip
