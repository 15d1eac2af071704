"""Tags of files, and of files without any."""

from __future__ import annotations

from pathlib import Path

import pytest

from precompute.corpus.tags import read_tags
from precompute.corpus.tracks import read_folder
from support import own_files


@pytest.fixture(scope="module")
def music(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("own") / "music"
    own_files.write_ten(folder)
    return folder


def test_tags_of_m4a_and_of_nothing(tmp_path: Path, music: Path) -> None:
    wave = own_files.wave_of(0.5, 44_100, 1)
    own_files.write_m4a(tmp_path / "a.m4a", wave, 44_100, title="A title", artist="One; Two", composer="Three")
    tags = read_tags(tmp_path / "a.m4a")
    assert tags.title == "A title" and tags.composer == "Three"
    assert set(tags.holders) == {("Three", "composer"), ("One", "performer"), ("Two", "performer")}
    for name in ("09_cut.flac", "10_text.m4a", "03_eight_bit.wav"):
        assert read_tags(music / name).holders == ()
    assert [t.title for t in read_folder(music)][7] == "Morning ${alert(1)}"
