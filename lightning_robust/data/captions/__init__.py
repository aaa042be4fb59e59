"""Image–caption pairs: CSV tables, tar shards, parquet, the Hub and its streams, as data sets and a data module."""

from lightning_robust.data.captions.datamodule import CaptionsDataModule
from lightning_robust.data.captions.spec import CAPTION_SPECS, open_captions

__all__ = ["CAPTION_SPECS", "CaptionsDataModule", "open_captions"]
