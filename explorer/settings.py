"""Options of the explorer: one frozen dataclass that checks itself."""

from __future__ import annotations

import hashlib
import hmac
import importlib.util
import ipaddress
import secrets
import stat
from collections.abc import MutableMapping
from dataclasses import dataclass, field
from pathlib import Path

# In this order: a user's own results come before the shipped demo.
DEFAULT_STORES = (Path("data/whence.duckdb"), Path("assets/demo/store.duckdb"))
PASSWORD_VARIABLE = "WHENCE_PASSWORD"
OFFLINE = ("torch", "stable_audio_tools", "precompute")  # looked for, never imported
DEFAULT_CONFIG = Path(__file__).resolve().parent.parent / "precompute/configs/demo.toml"
PASSWORD_CHARS = 8  # at least
PASSWORD_BYTES = 1000  # at most, in UTF-8: a sign-in form is read up to 4 kB


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


@dataclass(frozen=True, eq=False)
class Password:
    """A password as salt and hash: the words themselves are kept nowhere."""

    salt: bytes = field(repr=False)
    digest: bytes = field(repr=False)

    @classmethod
    def of(cls, text: str) -> Password:
        """Raises SettingsError where `text` is empty, shorter than PASSWORD_CHARS or longer than PASSWORD_BYTES."""
        if not text:
            raise SettingsError("the password is empty: write one on the first line of the file, or in the variable")
        if len(text) < PASSWORD_CHARS:
            raise SettingsError(f"the password is too short: take at least {PASSWORD_CHARS} characters")
        if len(text.encode("utf-8", "surrogateescape")) > PASSWORD_BYTES:
            raise SettingsError(f"the password is too long: take at most {PASSWORD_BYTES} bytes")
        salt = secrets.token_bytes(16)
        return cls(salt, _stretch_password(text, salt))

    def check(self, text: str) -> bool:
        """True where `text` is the password; takes some 50 ms and 32 MB, however near `text` comes to it."""
        return hmac.compare_digest(_stretch_password(text, self.salt), self.digest)


def _stretch_password(text: str, salt: bytes) -> bytes:
    return hashlib.scrypt(text.encode("utf-8", "surrogateescape"), salt=salt, n=2**15, r=8, p=1, maxmem=2**26)


def read_password(file: Path | None, environment: MutableMapping[str, str]) -> Password | None:
    """The password of the file's first line, else of PASSWORD_VARIABLE, else None.

    The variable is removed from `environment` in any case. Raises SettingsError.
    """
    given = environment.pop(PASSWORD_VARIABLE, None)
    if file is None:
        return None if given is None else Password.of(given)
    try:
        with file.open(encoding="utf-8-sig", newline="") as lines:
            return Password.of(lines.readline(2 * PASSWORD_BYTES).rstrip("\r\n"))
    except UnicodeDecodeError as error:
        raise SettingsError(f"cannot read the password file {file}: it is not UTF-8 text") from error
    except OSError as error:
        raise SettingsError(f"cannot read the password file {file}: {error.strerror}") from error


def is_readable_by_others(file: Path) -> bool:
    """True where the file's mode lets its group or everybody read it."""
    return bool(file.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH))


def find_default_store() -> Path:
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
    password: Password | None = None  # asked for before anything is shown; None: nothing is asked
    threads: int = 2  # DuckDB worker threads
    memory_limit: str = "1GB"  # DuckDB memory, in its own notation
    sessions: Path | None = None  # SQLite file of listening sessions, made where none is; None: no sessions
    host_key: Password | None = None  # opens the host's page; sessions need one
    attribute: Path | None = (
        None  # --attribute: the config by which listeners' own clips are attributed; None: not at all
    )

    def __post_init__(self) -> None:
        if not 1 <= self.port <= 65535:
            raise SettingsError(f"port must lie between 1 and 65535, got {self.port}")
        if self.threads < 1:
            raise SettingsError(f"threads must be at least 1, got {self.threads}")
        if (self.sessions is None) != (self.host_key is None):
            raise SettingsError("listening sessions need both: --sessions PATH and a host's key")
        if self.password is None and not self.allow_remote and not is_loopback(self.host):
            raise SettingsError(
                f"host {self.host} can be reached by other machines: set a password "
                f"(--password-file PATH, or {PASSWORD_VARIABLE}), or add --i-know to go without one"
            )
        if self.attribute is not None:
            self._check_attribute(self.attribute)

    def _check_attribute(self, config: Path) -> None:
        if self.password is None:
            raise SettingsError(
                "--attribute lets listeners start work on this machine: set a password "
                f"(--password-file PATH, or {PASSWORD_VARIABLE})"
            )
        missing = [name for name in OFFLINE if importlib.util.find_spec(name) is None]
        if missing:
            raise SettingsError(
                f"--attribute needs the offline stage, and {missing[0]} is not installed: run `make install`, or "
                "pip install 'whence[precompute]'"
            )
        if not config.is_file():
            raise SettingsError(f"no config at {config}: name the one that made the store with --attribute CONFIG")
