"""Removes what uploads have left behind: those that were never committed, never finished, or cut off with the process that took them."""

from hub import storage
from hub.hf import lfs, xet_store
from hub.services import direct, uploads


def tidy() -> int:
    """Forget and remove what is too old, and return how many uploads were forgotten. Doing it twice does nothing more."""
    lfs.sweep()
    xet_store.sweep()
    storage.sweep()
    forgotten = uploads.forget_old()
    direct.abort_old()  # last, because it needs a bucket that answers
    return forgotten
