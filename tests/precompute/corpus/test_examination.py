"""Files that cannot be used are set aside with a reason."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from precompute.corpus.audio import AudioError, read_audio
from precompute.corpus.examination import examine_files
from precompute.corpus.tracks import read_manifest
from support import tiny


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A manifest of four training tracks and four decoys."""
    return tiny.write_corpus(tmp_path_factory.mktemp("corpus") / "corpus", trained=4, decoys=4)


def bad_audio(path: Path, kind: str) -> None:
    wave = tiny.tone(330, 0.5, 1)
    if kind == "unreadable":
        path.write_bytes(b"RIFF" + bytes(range(200)))
    elif kind == "empty file":
        path.write_bytes(b"")
    elif kind == "zero-length":
        soundfile.write(path, wave[:0], tiny.RATE)
    elif kind == "NaN":
        wave[100] = np.nan
        soundfile.write(path, wave, tiny.RATE, subtype="FLOAT")
    elif kind == "infinite":
        wave[100] = np.inf
        soundfile.write(path, wave, tiny.RATE, subtype="FLOAT")


REASONS = {
    "unreadable": "unreadable (",
    "empty file": "unreadable (",
    "zero-length": "empty: it holds no samples",
    "NaN": "holds samples that are not finite",
    "infinite": "holds samples that are not finite",
    "missing": "missing",
}


@pytest.mark.parametrize("kind", REASONS)
def test_bad_audio_is_set_aside_with_its_reason(tmp_path: Path, kind: str) -> None:
    manifest = tiny.write_corpus(tmp_path / "corpus", trained=3, decoys=0)
    path = tmp_path / "corpus" / "audio" / "0002.wav"
    path.unlink()
    bad_audio(path, kind)
    found = examine_files(read_manifest(manifest))
    assert [t.track_id for t in found.readable] == [1, 3] and list(found.set_aside) == [2]
    assert found.set_aside[2].startswith(REASONS[kind])
    with pytest.raises(AudioError):
        read_audio(path, tiny.RATE, 1)


def test_tracks_with_latents_alone_are_not_examined(good: Path) -> None:
    found = examine_files(read_manifest(good))
    assert len(found.readable) == 8 and found.set_aside == {}
