"""Errors of a store and of a file of sessions. Every message is one line for the user."""

from __future__ import annotations

from pathlib import Path


class StoreError(Exception):
    """The store cannot be read; the message is one line that says what to do."""


class StoreMissingError(StoreError):
    """There is no file at this path."""


class StoreFormatError(StoreError):
    """The file is not a DuckDB file that this DuckDB can read."""


class StoreDamagedError(StoreError):
    """The file was a store, and parts of it cannot be read any more."""

    @classmethod
    def of(cls, path: Path, error: Exception) -> StoreDamagedError:
        """The error for the store at `path`, with the first line of what DuckDB says."""
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        return cls(f"{path} is damaged ({reason}): publish the store again, or copy it here anew")


class StoreBusyError(StoreError):
    """Another process has the file open for writing."""


class StoreTableError(StoreError):
    """A table or a column of the contract is missing, or a view stands in the place of a table."""


class StoreVersionError(StoreError):
    """The store follows another version of the contract."""


class StoreEmptyError(StoreError):
    """The store holds nothing to show."""


class UnknownIdError(StoreError, LookupError):
    """No row has this id."""


class SessionFileError(StoreError):
    """The file of listening sessions cannot be used."""
