"""A run on two CPU processes whose first judges the path for longer than any collective may take; a script."""

import sys
import time
import warnings
from datetime import timedelta
from pathlib import Path

import torch
from callback_cases import Data, Ours, seed_all, trainer
from lightning.pytorch import Callback
from torch.distributed.distributed_c10d import _set_pg_timeout

from lightning_robust.callbacks import WiseFT

TIMEOUT, JUDGING = 3.0, 9.0


class Impatient(Callback):
    """From the end of training on collectives take seconds; the processes' start needs longer."""

    def on_train_end(self, trainer, pl_module):
        _set_pg_timeout(timedelta(seconds=TIMEOUT))


class Slow(WiseFT):
    def _write_all(self, *arguments):
        time.sleep(JUDGING)
        super()._write_all(*arguments)


if __name__ == "__main__":
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    seed_all()
    folder = Path(sys.argv[1])
    wise = Slow([0.5], module="", folder=folder / "wise_ft", evaluate=False)
    run = trainer(folder, devices=2, strategy="ddp", callbacks=[Impatient(), wise], max_epochs=1)
    run.fit(Ours(), datamodule=Data())
    (folder / f"rank{run.global_rank}").write_text(str(len(wise.files)))
