"""Routes of --attribute: a prompt or an audio file in, the state of the work out. The only way in for a file.

A file is streamed into a private temporary one, up to UPLOAD_BYTES, opened by soundfile to see that it is audio, and
removed when the work is done. The guard stands before these routes as before all others: they ask for the password.
"""

from __future__ import annotations

import asyncio
import json
import math
import os
import tempfile
from dataclasses import asdict
from pathlib import Path

import soundfile
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response
from starlette.concurrency import run_in_threadpool

from explorer.web.guard import read_body
from explorer.web.jobs import Jobs

UPLOAD_BYTES = 20_000_000
UPLOAD_S = 120.0  # an upload must be through by then
AUDIO_S = 900.0  # longest recording; what is heard of it is the model's affair
SAMPLES = 100_000_000  # over all channels, decoded: 400 MB
FORMATS = {"WAV", "WAVEX", "FLAC", "OGG", "MP3", "MPEG", "AIFF"}
PROMPT_CHARS = 500
NAME_CHARS = 120
BODY_BYTES = 8000  # of a prompt
BUSY = "Another clip is being worked on: try again when it is done."


class UploadRefusedError(Exception):
    """A prompt or a file is refused; `status` is the HTTP status, the message one line for the listener."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


def add_uploads(app: FastAPI, jobs: Jobs) -> None:
    """/attribute/prompt and /attribute/audio (POST), /attribute/state (GET)."""

    @app.get("/attribute/state")
    def state() -> Response:
        """State of the work, for the page."""
        return _report_state(jobs, 200)

    @app.post("/attribute/prompt")
    async def prompt(request: Request) -> Response:
        """The body is JSON: prompt, seed."""
        if not jobs.reserve():
            return _respond_refusal(UploadRefusedError(409, BUSY))
        try:
            arguments = _parse_prompt(await read_body(request, BODY_BYTES))
        except BaseException as error:
            jobs.release()
            return _respond_refusal(error)
        jobs.start(arguments)
        return _report_state(jobs, 202)

    @app.post("/attribute/audio")
    async def audio(request: Request) -> Response:
        """The body is the file; `name` and `caption` of the query are words about it."""
        if not jobs.reserve():
            return _respond_refusal(UploadRefusedError(409, BUSY))
        upload: Path | None = None
        try:
            name = clean_text(request.query_params.get("name", ""), NAME_CHARS) or "a file"
            caption = clean_text(request.query_params.get("caption", ""), PROMPT_CHARS)
            upload = await _receive_upload(request)
            await run_in_threadpool(check_audio, upload)
        except BaseException as error:
            if upload is not None:
                upload.unlink(missing_ok=True)
            jobs.release()
            return _respond_refusal(error)
        # One word each, "--option=value": a text that begins with a dash is no option.
        jobs.start([f"--audio={upload}", f"--title={name}", *([f"--caption={caption}"] if caption else [])], upload)
        return _report_state(jobs, 202)


def clean_text(text: str, most: int) -> str:
    """Printable characters, spaces made one, at most `most`."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())[:most]


def _parse_prompt(body: bytes | None) -> list[str]:
    """Raises UploadRefusedError."""
    if body is None:
        raise UploadRefusedError(413, "That is too long for a prompt.")
    try:
        asked = json.loads(body)
        text = asked["prompt"]
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise UploadRefusedError(400, "That is no prompt.") from error
    if not isinstance(text, str) or not clean_text(text, len(text)):
        raise UploadRefusedError(400, "Write a few words first.")
    if len(text) > PROMPT_CHARS:
        raise UploadRefusedError(413, f"A prompt may have {PROMPT_CHARS} characters.")
    seed = asked.get("seed", 0)
    if not isinstance(seed, int) or isinstance(seed, bool) or not 0 <= seed < 2**31:
        raise UploadRefusedError(400, "The seed must be a whole number from 0 on.")
    return [f"--prompt={clean_text(text, PROMPT_CHARS)}", f"--seed={seed}"]


async def _receive_upload(request: Request) -> Path:
    """The body in a temporary file. Raises UploadRefusedError, with nothing left behind."""
    too_large = UploadRefusedError(413, f"That is too large: a file may have {UPLOAD_BYTES // 1_000_000} MB.")
    length = request.headers.get("content-length", "")
    if length.isdigit() and int(length) > UPLOAD_BYTES:
        raise too_large
    handle, name = tempfile.mkstemp(prefix="whence-", suffix=".upload")  # for this user alone
    path, size = Path(name), 0

    async def stream() -> None:
        nonlocal size
        with os.fdopen(handle, "wb") as file:
            async for chunk in request.stream():
                size += len(chunk)
                if size > UPLOAD_BYTES:
                    raise too_large
                file.write(chunk)

    try:
        await asyncio.wait_for(stream(), UPLOAD_S)
        if not size:
            raise UploadRefusedError(400, "That file is empty.")
    except BaseException as error:
        path.unlink(missing_ok=True)
        if isinstance(error, asyncio.TimeoutError):
            raise UploadRefusedError(408, "The upload took too long.") from error
        raise
    return path


def check_audio(path: Path) -> None:
    """Raises UploadRefusedError where soundfile cannot open it as one of FORMATS, or it is too long."""
    try:
        info = soundfile.info(str(path))
    except (soundfile.LibsndfileError, OSError) as error:
        raise UploadRefusedError(
            415, "That is no audio file that can be read here: WAV, FLAC, MP3, OGG or AIFF."
        ) from error
    if info.format not in FORMATS:
        raise UploadRefusedError(415, "Only WAV, FLAC, MP3, OGG and AIFF are taken.")
    if info.frames <= 0 or not math.isfinite(info.duration):
        raise UploadRefusedError(415, "That recording holds no sound.")
    if info.duration > AUDIO_S or info.frames * info.channels > SAMPLES:
        raise UploadRefusedError(413, f"That is too long: a recording may last {AUDIO_S / 60:.0f} minutes.")


def _report_state(jobs: Jobs, status: int) -> Response:
    return JSONResponse(asdict(jobs.state), status_code=status, headers={"Cache-Control": "no-store"})


def _respond_refusal(error: BaseException) -> Response:
    """An answer for what is refused; everything else goes on its way."""
    if not isinstance(error, UploadRefusedError):
        raise error
    return JSONResponse({"detail": str(error)}, status_code=error.status, headers={"Cache-Control": "no-store"})
