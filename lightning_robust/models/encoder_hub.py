"""Files of the Hub: this machine's cache first, then one quick question whether the Hub answers, then a download."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from huggingface_hub import constants, utils
from huggingface_hub.errors import LocalEntryNotFoundError, OfflineModeIsEnabled

from lightning_robust.models.encoder_base import first_line, quiet_loading

T = TypeVar("T")
_PATIENCE = 5.0


class NotFetchedError(Exception):
    """Something is not on this machine and was not fetched; the message says why, in a few words."""


def fetched(load: Callable[[], T], *, download: bool) -> T:
    """Run a loader that reads files of the Hub: from this machine alone, and only then with the network.

    Loaders of open_clip, timm and transformers ask the network first and retry for a minute where there is none. Here
    an offline machine, `HF_HUB_OFFLINE=1` or `download=False` answers within seconds.

    Args:
        load: The loader; may be called twice.
        download: Whether it may use the network.

    Returns:
        What the loader gives.

    Raises:
        NotFetchedError: If the files are not here, and may not or cannot be fetched.
    """
    try:
        with quiet_loading(), _from_here_alone():
            return load()
    except Exception as error:
        here = error
    try:
        _ask_network(download)
    except NotFetchedError as silent:
        # an error of another kind than "not in the cache" says more than that there is no network
        reason = str(silent) if _missing_in_cache(here) else first_line(here)
        raise NotFetchedError(reason) from here
    try:
        with quiet_loading():
            return load()
    except Exception as error:
        raise NotFetchedError(first_line(error)) from error


def _ask_network(download: bool) -> None:
    """Raise with the reason where the network may not be used or the Hub does not answer."""
    if not download:
        raise NotFetchedError("download=False")
    if constants.HF_HUB_OFFLINE:
        raise NotFetchedError("HF_HUB_OFFLINE is set")
    try:
        hub: Any = utils  # newer versions do not list it
        session = hub.get_session()  # httpx, with the proxies of the environment
        session.head(constants.ENDPOINT, timeout=_PATIENCE)
    except Exception as error:
        raise NotFetchedError(f"{constants.ENDPOINT} does not answer, {first_line(error)}") from error


@contextmanager
def _from_here_alone() -> Iterator[None]:
    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before


def _missing_in_cache(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, LocalEntryNotFoundError | OfflineModeIsEnabled):
            return True
        error = error.__cause__ or error.__context__
    return False
