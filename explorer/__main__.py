"""python -m explorer: open a store, serve the page. A user's mistake gives one line on stderr, exit 1."""

from __future__ import annotations

import argparse
import errno
import os
import secrets
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

from explorer.settings import (
    DEFAULT_CONFIG,
    PASSWORD_VARIABLE,
    Password,
    Settings,
    SettingsError,
    find_default_store,
    is_loopback,
    is_readable_by_others,
    read_password,
)
from explorer.store import StoreError

PORTS_TRIED = 50
_TAKEN = (errno.EADDRINUSE,)


def parse_settings(arguments: Sequence[str] | None, new_key: str = "") -> Settings:
    """`new_key`: the host's key of listening sessions where no file holds one.

    Raises SettingsError; argparse itself exits on an unknown option.
    """
    parser = argparse.ArgumentParser(
        prog="python -m explorer",
        description="Hear whose music is in a generated clip.",
        epilog="`python -m explorer report --help`: evidence reports as files.",
    )
    parser.add_argument("--store", type=Path, help="DuckDB file (default: data/whence.duckdb, else the shipped demo)")
    parser.add_argument("--host", default=Settings.host, help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=int, default=Settings.port, help="first port to try (default: %(default)s)")
    parser.add_argument(
        "--password-file",
        type=Path,
        metavar="PATH",
        help=f"ask for the password on the first line of this file; it wins over the variable {PASSWORD_VARIABLE}",
    )
    parser.add_argument(
        "--i-know",
        action="store_true",
        dest="allow_remote",
        help="listen beyond this machine although no password is set",
    )
    parser.add_argument(
        "--sessions",
        type=Path,
        metavar="PATH",
        help="hold listening sessions, kept in this file (made where none is); off without it",
    )
    parser.add_argument(
        "--host-key-file",
        type=Path,
        metavar="PATH",
        help="the key of the sessions' host stands on the first line of this file; else a new one is printed",
    )
    parser.add_argument(
        "--attribute",
        type=Path,
        nargs="?",
        const=DEFAULT_CONFIG,
        metavar="CONFIG",
        help="let listeners bring clips of their own; the config that made the store and its index "
        "(default: precompute/configs/demo.toml)",
    )
    options = parser.parse_args(arguments)
    if options.host_key_file and not options.sessions:
        raise SettingsError("--host-key-file is for listening sessions: name their file with --sessions PATH")
    password = read_password(options.password_file, os.environ)
    key = read_password(options.host_key_file, {}) if options.host_key_file else None
    for what, file in (("password", options.password_file), ("host's key", options.host_key_file)):
        if file and is_readable_by_others(file):
            print(f"explorer: others can read the {what} file: chmod 600 {file}", file=sys.stderr)
    if options.sessions and key is None:
        key = Password.of(new_key)
    store = options.store or find_default_store()
    return Settings(
        store,
        options.host,
        options.port,
        options.allow_remote,
        password,
        sessions=options.sessions,
        host_key=key,
        attribute=options.attribute,
    )


def list_notes(settings: Settings) -> list[str]:
    """Sentences on who can listen, one a line."""
    if settings.password is None:
        reach = "" if is_loopback(settings.host) else ": whoever reaches this machine can listen"
        return [f"no password is asked for{reach}"]
    if is_loopback(settings.host):
        return ["a password is asked for"]
    return ["a password is asked for", "over http it travels unencrypted: put a TLS proxy in front"]


def bind_port(host: str, port: int) -> socket.socket:
    """A socket on the first free port from `port` on; held from here, so that nobody takes it in between.

    Raises SettingsError where the host is not of this machine, or no port is free.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for candidate in range(port, min(port + PORTS_TRIED, 65536)):
        # Named as TCP: only then does asyncio send small answers at once, instead of after 40 ms.
        listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host.strip("[]"), candidate))
            listener.listen()
            return listener
        except PermissionError as error:
            listener.close()
            raise SettingsError(
                f"port {candidate} needs more rights than this user has: choose one above 1023"
            ) from error
        except OSError as error:
            listener.close()
            if error.errno not in _TAKEN:
                raise SettingsError(f"cannot listen on {host}: {error}") from error
    raise SettingsError(f"no free port between {port} and {port + PORTS_TRIED - 1}: choose another with --port")


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve the page, or write reports; returns the exit status."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given[:1] == ["report"]:
        from explorer.report.command import main as report  # late: it brings the web framework

        return report(given[1:])
    new_key = secrets.token_urlsafe(12)
    try:
        settings = parse_settings(arguments, new_key)
        from explorer.server import create_server  # late: gradio takes two seconds, `--help` should not

        server = create_server(settings)
        listener = bind_port(settings.host, settings.port)
    except (SettingsError, StoreError) as error:
        print(f"explorer: {error}", file=sys.stderr)
        return 1
    import uvicorn

    port = listener.getsockname()[1]
    if port != settings.port:
        print(f"explorer: port {settings.port} is taken, using {port}")
    shown = f"[{settings.host}]" if ":" in settings.host else settings.host
    for note in list_notes(settings):
        print(f"explorer: {note}")
    if settings.host_key:
        printed = f"#{new_key}" if settings.host_key.check(new_key) else ""
        print(f"explorer: listening sessions are kept in {settings.sessions}; their host's page, for you alone:")
        print(f"explorer:   http://{shown}:{port}/host{printed}")
    print(f"explorer: {settings.store} at http://{shown}:{port}  (Ctrl+C stops)", flush=True)
    uvicorn.Server(uvicorn.Config(server, log_level="warning", server_header=False)).run(sockets=[listener])
    return 0


if __name__ == "__main__":
    sys.exit(main())
