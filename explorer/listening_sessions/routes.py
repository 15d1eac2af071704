"""Puts listening sessions into the server: their file, their pages, and the guard that keeps listeners blind."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI

from explorer.listening_sessions.file import SessionFile
from explorer.listening_sessions.host_routes import HostAccess, add_host
from explorer.listening_sessions.http import add_closed, add_shared
from explorer.listening_sessions.listener_routes import BlindGuard, add_listeners
from explorer.settings import Settings
from explorer.state.store_views import StoreViews


def add_sessions(app: FastAPI, views: StoreViews, settings: Settings) -> None:
    """Open the sessions file for as long as the application lives. Raises SessionFileError."""
    if settings.sessions is None or settings.host_key is None:
        add_closed(app)
        return
    file, access = SessionFile(settings.sessions), HostAccess(settings.host_key)
    inner = app.router.lifespan_context

    @asynccontextmanager
    async def closing(app: FastAPI) -> AsyncIterator[Any]:
        """Close the file when the server stops: it is then whole, without a log beside it, and can be copied."""
        async with inner(app) as state:
            yield state
        file.close()

    app.router.lifespan_context = closing
    add_shared(app)
    add_listeners(app, views.store, file)
    add_host(app, views, file, access)
    app.add_middleware(BlindGuard, file=file, is_host=access.is_host)
