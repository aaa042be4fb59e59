"""`study` with stand-ins for training and measuring, as a program of its own, to be killed."""

import sys
from pathlib import Path

import study_stand_in

from lightning_robust.cli import study, study_files, study_run
from lightning_robust.cli.main import main
from lightning_robust.cli.study_run import MeasureTask
from lightning_robust.cli.study_train_task import TrainTask

TRAIN = """
import os, sys, time
from pathlib import Path
folder = Path(sys.argv[1])
folder.mkdir(parents=True, exist_ok=True)
time.sleep(float(os.environ.get("MOMENT", "0")))
behaviour = Path(os.environ["BEHAVIOUR"]) / f"train-{sys.argv[2]}"
if behaviour.exists():
    sys.exit("out of luck")
(folder / "last.ckpt").write_text("a checkpoint")
time.sleep(float(os.environ.get("MOMENT", "0")))
with (Path(os.environ["BEHAVIOUR"]) / "trained.txt").open("a") as file:
    file.write(sys.argv[2] + "\\n")
for alpha in ("0.00", "0.50", "1.00"):
    (folder / "wise_ft").mkdir(exist_ok=True)
    (folder / "wise_ft" / f"alpha={alpha}.safetensors").write_text(sys.argv[2] + alpha)
(folder / "clip").mkdir(exist_ok=True)
others = Path(os.environ["BEHAVIOUR"]) / "weights"
(folder / "clip" / "open_clip_model.safetensors").write_text(others.read_text() if others.exists() else sys.argv[2])
(folder / "results.json").write_text("{}")
"""


COMMAND, MEASURE = TrainTask.command, MeasureTask.command


def train(task):
    COMMAND(task)  # for what it does beside
    return [sys.executable, "-c", TRAIN, str(task.training.folder), task.model]


def measure(task):
    return [sys.executable, study_stand_in.__file__, *MEASURE(task)[3:]]


def install(setattr=setattr):
    """Put the stand-ins in their places."""
    study_stand_in.install(setattr)
    setattr(study, "open_context", study_stand_in.open_stand_in)
    setattr(study_files, "show_study", lambda record, folder: None)
    setattr(study_run, "_POLL_SECONDS", 0.02)
    setattr(TrainTask, "command", train)
    setattr(MeasureTask, "command", measure)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    install()
    sys.exit(main(sys.argv[1:]))
