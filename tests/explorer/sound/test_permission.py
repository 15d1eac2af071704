"""Permission to play a sound, through the server: whole files, excerpts, refusals."""

from __future__ import annotations

import io

import pytest
import soundfile


@pytest.mark.parametrize(
    ("track", "mime"), [(12, "audio/wav"), (13, "audio/flac"), (14, "audio/mpeg"), (15, "audio/ogg")]
)
def test_whole_file_and_range(client, track, mime):
    whole = client.get(f"/audio/track/{track}")
    assert whole.status_code == 200 and whole.headers["content-type"] == mime
    part = client.get(f"/audio/track/{track}", headers={"Range": "bytes=10-19"})
    assert part.status_code == 206 and part.content == whole.content[10:20]
    assert part.headers["content-range"] == f"bytes 10-19/{len(whole.content)}"
    past = client.get(f"/audio/track/{track}", headers={"Range": f"bytes={len(whole.content)}-"})
    assert past.status_code == 416 and past.headers["content-range"] == f"bytes */{len(whole.content)}"
    head = client.head(f"/audio/track/{track}")
    assert head.status_code == 200 and int(head.headers["content-length"]) == len(whole.content)


def test_excerpt_is_cut_and_ranged(client, made):
    address = f"/audio/track/{made.EXCERPT}"
    whole = client.get(address)
    assert whole.status_code == 200 and whole.headers["content-type"] == "audio/wav"
    assert soundfile.info(io.BytesIO(whole.content)).duration == pytest.approx(15.0)
    size = len(whole.content)
    for asked, expected in (
        ("bytes=0-99", whole.content[:100]),
        ("bytes=-50", whole.content[-50:]),
        (f"bytes={size - 5}-", whole.content[-5:]),
        (f"bytes=100-{size + 999}", whole.content[100:]),
    ):
        part = client.get(address, headers={"Range": asked})
        assert part.status_code == 206 and part.content == expected
    assert client.get(address, headers={"Range": f"bytes={size}-"}).status_code == 416
    for ignored in ("bytes=9-3", "bytes=-", "lines=1-2", "bytes=0-1,4-5", "bytes=a-b"):
        assert client.get(address, headers={"Range": ignored}).status_code == 200


@pytest.mark.parametrize(
    ("name", "status", "reason"),
    [
        ("FORBIDDEN", 403, "the rights holder does not allow listening"),
        ("MISSING", 404, "the audio file is missing"),
        ("PATHLESS", 404, "its audio is not part of this copy"),
        ("ESCAPING", 404, "the audio file lies outside its folder"),
        ("LINKED", 404, "the audio file lies outside its folder"),
        ("BROKEN", 404, "the audio file cannot be decoded"),
    ],
)
def test_refusals_say_why(client, made, name, status, reason):
    answer = client.get(f"/audio/track/{getattr(made, name)}")
    assert (answer.status_code, answer.json()) == (status, {"detail": reason})


@pytest.mark.parametrize(
    "path",
    [
        *(
            "/audio/track/..%2f..%2fstore.duckdb",
            "/audio/track/%2e%2e/store.duckdb",
            "/audio/track/0",
            "/audio/track/-1",
        ),
        *(
            "/audio/track/1.wav",
            "/audio/track/",
            "/audio/",
            "/audio/other/1",
            "/audio/track/99999999999999999999",
        ),
        *(
            "/audio/track/1/2",
            "/static/whence/curve.py",
            "/static/whence/..%2fstore.py",
            "/static/whence/__init__.py",
        ),
        *("/static/..%2f..%2fserver.py", "/store.duckdb", "/audio/track/1%00"),
    ],
)
def test_no_other_address_gives_a_file(client, path):
    assert client.get(path).status_code in (403, 404)


def test_roots_must_be_relative(made, tmp_path):
    import duckdb

    from explorer.sound.permission import SoundRefusedError, locate_audio
    from explorer.store import Store

    path = made.make_store(tmp_path / "s")
    with duckdb.connect(str(path)) as con:
        con.execute("UPDATE store_info SET track_root = '/'")
    opened = Store(path)
    with pytest.raises(SoundRefusedError, match="outside"):
        locate_audio(opened, opened.tracks.read_sound(12))
