"""A user's own music: ten files through `init`, `check`, `run`; windows, tags, manifests, own clips."""

from __future__ import annotations

import re
from pathlib import Path

import duckdb
import numpy as np
import pytest
import soundfile

from explorer.sound.permission import locate_audio
from explorer.state.store_views import StoreViews
from explorer.store import Store
from precompute.cli.main import main
from precompute.config.run import RunConfig
from precompute.errors import UserError
from support import own_files, tiny


@pytest.fixture(scope="module")
def music(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("own") / "music"
    own_files.write_ten(folder)
    return folder


def init(tiny_root: Path, music: Path, out: Path, *more: str) -> Path:
    """A config for the tiny model, made small."""
    model = tiny_root / "model"
    files = ["--model-config", model / "model_config.json", "--checkpoint", model / "model.safetensors"]
    options = [music, "--out", out / "mine.toml", "--results", out / "data", *files, "--clap", model / "clap", *more]
    assert main(["init", *map(str, options)]) == 0
    text = (out / "mine.toml").read_text()
    for name, value in (("steps", 4), ("targets", 2), ("cohort", 4), ("draws", 1), ("ascent_draws", 2), ("tracks", 2)):
        text, count = re.subn(rf"(?m)^{name} = \d+", f"{name} = {value}", text)
        assert count == 1, name
    (out / "mine.toml").write_text(text.replace("replicates = 4\nstrata = 4", "replicates = 2\nstrata = 1"))
    return out / "mine.toml"


@pytest.fixture(scope="module")
def ran(tiny_root: Path, music: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, str]:
    """Folder of the results, and what `check` and `run` printed: prompts and two sounds of the user's."""
    out = tmp_path_factory.mktemp("ran")
    (out / "clips").mkdir()
    own_files.write_m4a(out / "clips" / "my idea.m4a", own_files.wave_of(1.5, 44_100, 1, channels=2), 44_100)
    soundfile.write(out / "clips" / "long.wav", own_files.wave_of(9, 16_000, 7), 16_000)
    (out / "clips" / "broken.wav").write_bytes(b"RIFF....")
    config = init(tiny_root, music, out, "--audio", str(out / "clips"))
    text = config.read_text()
    (out / "prompts.csv").write_text('clip_id,prompt,seconds,seed\n5,"a high plucked chord, fast",1.5,1\n')
    config.write_text(text.replace('# prompts = "prompts.csv"', f'prompts = "{out}/prompts.csv"'))
    return out, *(printed(verb, config) for verb in ("check", "run"))


def printed(verb: str, config: Path) -> str:
    import contextlib
    import io

    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        assert main([verb, "--config", str(config)]) == 0
    return said.getvalue()


def rows(ran: tuple[Path, str, str], sql: str) -> list[tuple]:
    with duckdb.connect(str(ran[0] / "data" / "whence.duckdb"), read_only=True) as connection:
        return connection.execute(sql).fetchall()


# -- init, check, run --------------------------------------------------------------------------------------------------


def test_check_tells_what_will_run(ran) -> None:
    said = ran[1]
    assert re.search(r"corpus: 10 files of .*music, 2 set aside", said)
    assert re.search(r"set aside: .*09_cut.flac: unreadable", said) and re.search(r"10_text.m4a: unreadable", said)
    assert "07_very_long.wav: 1:01 long; heard in windows of 2.0 s: 0:00–0:02, 0:20–0:22" in said
    assert "11 training tracks and 0 decoys" in said and "without decoys no score can be told from noise" in said
    assert "5 of them are written as FLAC" in said and "rights holders are named for 1, an ISRC for 1" in said
    assert "clips: 1 to generate, 2 of your own" in said and re.search(r"set aside: .*broken.wav", said)
    assert re.search(r"long.wav: 9.0 s long, its first 2.0 s are used", said)
    assert re.search(r"time: about \d+ ", said) and re.search(r"disk: about \d+ MB, ", said)
    assert said.endswith("ready\n")


def test_the_run_says_what_it_left_out_and_cut(ran) -> None:
    assert re.search(r"set aside: track 9 \(.*09_cut.flac\): unreadable", ran[2])
    assert "heard in windows of 2.0 s" in ran[2] and "11 training tracks, 0 decoys" in ran[2]


def test_windows_are_tracks_that_say_where_they_are(ran) -> None:
    table = rows(ran, "SELECT track_id, title, source, duration_s, work_id FROM tracks ORDER BY track_id")
    assert [row[0] for row in table] == [1, 2, 3, 4, 5, 6, 7, 8, 11, 12, 13]
    long = [row for row in table if row[4] == "07_very_long"]
    assert [row[1] for row in long] == [
        f"07_very_long ({where})" for where in ("0:00–0:02", "0:20–0:22", "0:39–0:41", "0:59–1:01")
    ]
    assert long[1][2] == "07_very_long.wav, 0:20–0:22 of 1:01" and all(row[3] == 2.0 for row in long)
    assert table[5][3] == pytest.approx(0.02)


def test_every_track_can_be_heard_in_a_browser(ran, music: Path) -> None:
    ids = [row[0] for row in rows(ran, "SELECT track_id FROM tracks")]
    store = Store(ran[0] / "data" / "whence.duckdb")
    found = {track_id: locate_audio(store, store.tracks.read_sound(track_id)).path for track_id in ids}
    store.close()
    assert found[1] == (music / "01_plain.mp3").resolve() and found[2].suffix == ".flac"
    whole, rate = soundfile.read(music / "07_very_long.wav", dtype="float32")
    part, part_rate = soundfile.read(found[11], dtype="float32")
    start = round((61 - 2) / 3 * rate)
    assert part_rate == rate and np.allclose(part, whole[start : start + 2 * rate], atol=1e-4)


def test_tags_reach_the_store(ran) -> None:
    assert rows(ran, "SELECT title, composer, rights_holder, isrc, iswc FROM tracks WHERE track_id = 8") == [
        ("Morning ${alert(1)}", "Ada Composer, Ben Writer", "2024 Small Label", "DEA123456789", "T0345246801")
    ]
    assert set(rows(ran, "SELECT holder, role FROM holders")) == {
        ("Ada Composer", "composer"),
        ("Ben Writer", "composer"),
        ("The Players", "performer"),
        ("Small Label", "publisher"),
        ("2024 Small Label", "rights holder"),
    }


def test_own_clips_are_clips_of_the_user(ran) -> None:
    table = rows(
        ran,
        "SELECT clip_id, kind, title, prompt, conditioning, seed, duration_s FROM clips WHERE kind <> 'track'"
        " ORDER BY clip_id",
    )
    assert table[0][:5] == (5, "generated", None, "a high plucked chord, fast", "prompt")
    assert table[1][:6] == (6, "user", "long.wav (0:00–0:02)", None, "clap_audio", None) and table[1][6] == 2.0
    assert table[2][:6] == (7, "user", "my idea.m4a", None, "clap_audio", None)
    path, root = rows(ran, "SELECT audio_path, (SELECT clip_root FROM store_info) FROM clips WHERE clip_id = 6")[0]
    wave, rate = soundfile.read(ran[0] / "data" / root / path)
    assert rate == 16_000 and len(wave) == 2 * rate
    assert len(rows(ran, "SELECT DISTINCT track_id FROM scores WHERE clip_id = 6")) == 11
    assert rows(ran, "SELECT count(*) FROM aspects WHERE clip_id = 6") == [(44,)]


def test_the_clip_that_is_a_track_finds_it_as_copied(ran) -> None:
    """long.wav holds the melody of 07_very_long.wav: its first window runs alike from end to end."""
    [(start, end, semitones)] = rows(
        ran,
        "SELECT track_start_s, track_end_s, semitones FROM passages WHERE clip_id = 6 AND track_id = 7 AND passage = 1",
    )
    assert start < 0.2 and end > 1.5 and semitones == 0


def test_the_page_opens_it(ran) -> None:
    store = Store(ran[0] / "data" / "whence.duckdb")
    assert [clip.kind for clip in store.clips.list_scored()][:3] == ["generated", "user", "user"]
    assert [clip.prompt for clip in store.clips.list_scored()][1] == "long.wav (0:00–0:02)"
    assert StoreViews(store).clip_by_id[6].seed is None
    store.close()


def test_init_overwrites_nothing_and_explains_itself(
    tiny_root: Path, music: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = init(tiny_root, music, tmp_path)
    assert (tmp_path / "prompts.csv").read_text().startswith("clip_id,prompt,seconds,seed\n1,01 plain,10.0,1\n")
    text = config.read_text()
    assert RunConfig.load(config).corpus.folder == str(music) and text.count("#") > 20
    capsys.readouterr()
    assert main(["init", str(music), "--out", str(config)]) == 1
    assert "is there already; remove it, or name another by --out" in capsys.readouterr().err
    assert config.read_text() == text
    for arguments, message in (
        ([str(tmp_path / "none")], "not a folder; init takes the folder that holds the training music"),
        ([str(tmp_path)], "no audio in it"),
        ([str(music), "--model-config", "x.json"], "--model-config and --checkpoint belong together"),
    ):
        assert main(["init", *arguments, "--out", str(tmp_path / "other.toml")]) == 1
        assert message in capsys.readouterr().err and not (tmp_path / "other.toml").exists()


def test_init_names_a_published_model_and_a_manifest(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tiny.write_corpus(tmp_path / "corpus", trained=2, decoys=2)
    assert main(["init", str(tmp_path / "corpus"), "--out", str(tmp_path / 'odd "name".toml')]) == 0
    config = RunConfig.load(tmp_path / 'odd "name".toml')
    assert config.model.name == "stable-audio-open-1.0" and config.corpus.manifest.endswith("corpus/manifest.csv")
    assert "next: python -m precompute check --config" in capsys.readouterr().out


def test_check_names_all_that_is_missing(
    tiny_root: Path, music: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = init(tiny_root, music, tmp_path)
    text = config.read_text().replace("model.safetensors", "no.safetensors")
    text = re.sub(r'clap = ".*"', "", text).replace("prompts.csv", "nowhere.csv")
    config.write_text(text)
    assert main(["check", "--config", str(config)]) == 1
    said = capsys.readouterr()
    assert said.err == "precompute: 3 things are missing, see above\n"
    assert re.search(r"missing: .*no.safetensors: not found; \[model\] checkpoint", said.out)
    assert "clap must name a ClapModel folder" in said.out and "nowhere.csv: no prompts here" in said.out


def test_results_inside_the_music_are_refused(tiny_root: Path, tmp_path: Path) -> None:
    config = tiny.write_run(tiny_root, tmp_path)
    text = re.sub(r"manifest = .*\nlatents = .*", f'folder = "{tmp_path}"', config.read_text())
    soundfile.write(tmp_path / "a.wav", tiny.tone(330, 1, 1), tiny.RATE)
    config.write_text(text)
    from precompute.corpus.intake import take_in

    with pytest.raises(UserError, match=r"\[output\] clips = .* lies inside \[corpus\] folder"):
        take_in(RunConfig.load(config), 2.0)
