"""Renders works that the demo corpus does not hold, each in several ways: `python data/demo/versions.py --out DIR`.

For training a version matcher. The tunes pass the same allow-list and rights filter as the corpus (`sources.py`), are
of one printing only, and neither they nor their titles stand in `manifest.csv`. A rendering of a work has instruments,
key (within four semitones), tempo (x 0.85 to 1.2) and length of its own. Writes DIR/NNNN-K.mp3 and DIR/versions.csv,
which tells whether a work is for training or held out; nothing of it ships. The same options give the same notes again.
"""

from __future__ import annotations

import argparse
import csv
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

HERE = Path(__file__).resolve().parent
COLUMNS = ("path", "work_id", "split", "title", "instrument", "duration_s", "source", "licence_evidence")
LONGEST_S, SHORTEST_S = 7.9, 6.5  # of a rendering; the demo's clips last no longer
SEMITONES = 4  # at most, either way
TEMPO = (0.85, 1.2)


@dataclass(frozen=True)
class Rendering:
    """A row of versions.csv with what is to be played."""

    work: int
    number: int
    split: str  # train | held-out
    track: object  # plan.PlannedTrack; plan is imported late

    @property
    def file(self) -> str:
        return f"{self.work:04d}-{self.number}.mp3"


def read_corpus_tunes(manifest: Path) -> tuple[set[str], set[str]]:
    """The corpus's tunes by their places in music21 ("oneills1850/x.abc, X:12"), and all its titles, normalised."""
    from works import normalise_title

    with manifest.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    places = {r["source"].removeprefix("music21 corpus ").split(", from bar")[0] for r in rows}
    return places, {normalise_title(r["title"]) for r in rows}


def select_further_tunes() -> list[tuple[str, object]]:
    """(kind, tune) of all usable tunes outside the corpus, in a random order."""
    import plan
    import repertoire as rep
    from sources import find_corpus, survey
    from works import group_works, normalise_title

    tunes, _, _ = survey(find_corpus())
    places, titles = read_corpus_tunes(HERE / "manifest.csv")
    tunes_outside = [
        (kind, tune)
        for (_, kind), members in sorted(plan.select_tunes(tunes).items())
        for tune in members
        if kind in rep.METRES
        and f"{tune.file}, X:{tune.number}" not in places
        and not titles & {normalise_title(title) for title in tune.titles}
    ]
    plan.make_random("versions").shuffle(tunes_outside)
    works = group_works(
        [tune for _, tune in tunes_outside]
    )  # among these alone, more phrases tell two tunes to be one work
    first = {work: k for k, work in reversed(list(enumerate(works)))}
    return [tunes_outside[k] for k in sorted(first.values())]


def plan_renderings(tune: object, kind: str, score: object, count: int) -> list[object]:
    """`count` tracks of one tune; none where one of them would have too few notes."""
    import plan
    import repertoire as rep
    from arrange import TuneSetting

    every = {setting.label: setting for settings in rep.SETTINGS.values() for setting in settings}
    rng = plan.make_random("version", tune.collection, tune.number)
    settings: list[TuneSetting] = rng.sample(sorted(every.values(), key=lambda s: s.label), count)
    opening = replace(score, bars_q=score.bars_q[:1])  # all of them begin alike
    tracks = []
    for setting in settings:
        semitones, faster = rng.randint(-SEMITONES, SEMITONES), rng.uniform(*TEMPO)
        dur_s = round(rng.uniform(SHORTEST_S, LONGEST_S), 3)
        track = plan.plan_tune(tune, opening.transpose(semitones), kind, setting, dur_s, rng, faster)
        if track is None:
            return []
        tracks.append(replace(track, source=f"{track.source}, tempo x {faster:.2f}, {semitones:+d} semitones"))
    return tracks


def plan_versions(works: int, count: int, held_out: int) -> list[Rendering]:
    """Renderings of `works` works, the last `held_out` of which are for measuring and not for training.

    Raises RuntimeError where there are too few.
    """
    import plan

    renderings: list[Rendering] = []
    done = 0
    for kind, tune in select_further_tunes():
        if done == works:
            break
        for _, score in plan.read_tunes([tune], kind):
            tracks = plan_renderings(tune, kind, score, count)
            done += bool(tracks)
            split = "held-out" if done > works - held_out else "train"
            renderings += [Rendering(done, k + 1, split, track) for k, track in enumerate(tracks)]
        if done % 50 == 0 and renderings and renderings[-1].work == done:
            print(f"read {done} of {works} works", flush=True)
    if done < works:
        raise RuntimeError(f"{done} works are usable, {works} were asked for")
    return renderings


def write_versions(renderings: list[Rendering], out: Path, jobs: int) -> None:
    """Render the audio, then write the table: where it exists, everything does."""
    from build import BATCH
    from render import Take, render_batch

    takes = [Take(out / r.file, r.track.piece, r.track.dur_s) for r in renderings]
    batches = [takes[i : i + BATCH] for i in range(0, len(takes), BATCH)]
    done, began = 0, time.monotonic()
    with tempfile.TemporaryDirectory() as work, ThreadPoolExecutor(jobs) as pool:
        paths = [Path(work) / f"batch{k:03d}" for k in range(len(batches))]
        for count in pool.map(render_batch, batches, paths):
            done += count
            print(f"rendered {done}/{len(takes)} ({time.monotonic() - began:.0f} s)", flush=True)
    beside = out / "versions.partial"
    with beside.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        for r in renderings:
            same = {name: getattr(r.track, name) for name in COLUMNS if hasattr(r.track, name)}
            writer.writerow({**same, "path": r.file, "split": r.split, "duration_s": f"{r.track.dur_s:.3f}"})
    beside.replace(out / "versions.csv")


def main() -> int:
    """Plan and render the versions; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder of versions.csv and the audio")
    parser.add_argument("--works", type=int, default=1000, help="(default: 1000)")
    parser.add_argument("--held-out", type=int, default=100, help="of them (default: 100)")
    parser.add_argument("--renderings", type=int, default=3, help="of a work (default: 3)")
    parser.add_argument("--jobs", type=int, default=2, help="fluidsynth runs at a time (default: 2)")
    options = parser.parse_args()
    from build import find_missing_tool

    if problem := find_missing_tool():
        print(f"versions.py: {problem}", file=sys.stderr)
        return 1
    options.out.mkdir(parents=True, exist_ok=True)
    try:
        renderings = plan_versions(options.works, options.renderings, options.held_out)
    except RuntimeError as error:
        print(f"versions.py: {error}", file=sys.stderr)
        return 1
    write_versions(renderings, options.out, options.jobs)
    return 0


if __name__ == "__main__":
    sys.path.insert(0, str(HERE))
    sys.exit(main())
