"""Options of the explorer: one frozen dataclass that checks itself."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from pathlib import Path

# In this order: a user's own results come before the shipped demo.
DEFAULT_STORES = (Path("data/whence.duckdb"), Path("assets/demo/store.duckdb"))


class SettingsError(ValueError):
    """An option that cannot be used; the message is one line for the user."""


def is_loopback(host: str) -> bool:
    """True where only this machine can reach `host`."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def default_store() -> Path:
    """The store to open when none is named: looked for in the working folder, then in the repository.

    Returns the last candidate where none exists, so that the error names a path the user can act on.
    """
    repository = Path(__file__).resolve().parent.parent
    candidates = [root / store for root in (Path.cwd(), repository) for store in DEFAULT_STORES]
    return next((path for path in candidates if path.is_file()), candidates[-1])


@dataclass(frozen=True)
class Settings:
    """Raises SettingsError, naming the field, where a value cannot be used."""

    store: Path  # the DuckDB file to read
    host: str = "127.0.0.1"  # address to listen on
    port: int = 7860  # first TCP port to try
    allow_remote: bool = False  # --i-know: listen beyond loopback although nothing asks for a password
    threads: int = 2  # DuckDB worker threads
    memory_limit: str = "1GB"  # DuckDB memory, in its own notation

    def __post_init__(self) -> None:
        if not 1 <= self.port <= 65535:
            raise SettingsError(f"port must lie between 1 and 65535, got {self.port}")
        if self.threads < 1:
            raise SettingsError(f"threads must be at least 1, got {self.threads}")
        if not self.allow_remote and not is_loopback(self.host):
            raise SettingsError(
                f"host {self.host} can be reached by other machines and this version has no password "
                "(it arrives in a later one): use 127.0.0.1, or add --i-know"
            )
