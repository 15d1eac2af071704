"""Measures the pass on the embedded model: `make bench`, or `python assets/benchmarks/bench_pass.py`.

Two computations of the same score of a track by Q clips. Finite difference: the paper's two losses subtracted, a
forward pass of the whole noise bank before and after every clip's step. Gradient product: one gradient a cell, and a
product with each clip's direction. As in a run, tracks are shared by processes of one thread; both run by turns,
medians over rounds. Peak memory: of a process for each of them. A new clip: its direction and all tracks of the corpus
by either of them, from the times above; by the index, the direction and exact scores of a shortlist from the times
above, and (where `make demo` and `precompute index` have left a store and an index) `precompute attribute` as it is,
each time a new process. Units stand in the names. Tracks and clips are decoys' latents as they ship.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import re
import resource
import shutil
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from dataclasses import dataclass, replace
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402
import torch  # noqa: E402

from precompute.common.parallel import count_workers, run_jobs  # noqa: E402
from precompute.common.results import RESULTS_FOLDER, describe_hardware, write_result  # noqa: E402
from precompute.common.torch_setup import setup_torch  # noqa: E402
from precompute.config.run import FisherSection, IndexSection, PassSection, RunConfig, UnlearningSection  # noqa: E402
from precompute.corpus.packed import read_latents  # noqa: E402
from precompute.corpus.tracks import read_manifest  # noqa: E402
from precompute.cost.measurement import DEMO, load_embedded_model, measure_matmul_tflops, read_peak_mb  # noqa: E402
from precompute.gradients.directions import multiply_each  # noqa: E402
from precompute.gradients.finite_difference import compute_bank_loss, correlate_ranks  # noqa: E402
from precompute.gradients.fisher import compute_fisher, invert_fisher  # noqa: E402
from precompute.gradients.flat_vectors import count_parameters  # noqa: E402
from precompute.gradients.item_gradients import GradientKind, compute_track_gradients  # noqa: E402
from precompute.gradients.steps import UnlearningStep  # noqa: E402
from precompute.gradients.weights import add_to_weights, measure_length, restored_weights  # noqa: E402
from precompute.index.layout import get_index_folder  # noqa: E402
from precompute.index.search import multiply_sketches  # noqa: E402
from precompute.model.diffusion import Items, Model, NoiseBank  # noqa: E402

WHAT = (
    "The pass on the embedded model: ms a track for Q clips by finite difference and gradient product,"
    " rank correlation to fp64, memory"
)
MANIFEST = ROOT / "data/demo/manifest.csv"
CONFIG = ROOT / "precompute/configs/demo.toml"
PROMPT = "a slow waltz on solo piano"
SECTION = UnlearningSection(ascent_draws=4)


@dataclass(frozen=True)
class PassCase:
    """The model, rows and directions that are measured on."""

    model: Model
    tracks: Items
    clips: Items
    bank: NoiseBank
    directions: torch.Tensor  # [Q, P]
    clip_s: float  # of one clip's direction, at 32 draws
    windows_s: float  # the same with the windows of the clip, which the index needs


def make_case(tracks: int, clips: int, cells: int, bare: bool = False) -> PassCase:
    """Load decoys as tracks and clips, and compute the clips' directions.

    `bare`: directions of random numbers instead, which take no memory to make.
    """
    model = load_embedded_model()
    shipped = read_latents(DEMO / "decoy-latents.npz")
    latents = {int(name): shipped[name] for name in list(shipped)[: tracks + clips]}
    by_id = {t.track_id: t for t in read_manifest(MANIFEST)}
    chosen = [by_id[i] for i in latents]
    stacked = torch.from_numpy(np.stack(list(latents.values())))
    items = model.items([t.caption for t in chosen], [t.duration_s for t in chosen], stacked)
    bank = NoiseBank(2, cells // 2, 1, 303)
    if bare:
        steps = torch.randn(clips, count_parameters(model.parameters("all")))
        return PassCase(model, items[:tracks], items[tracks:], bank, steps, 0.0, 0.0)
    section = FisherSection(draws=2, tracks=min(16, tracks))
    inverse_fisher = invert_fisher(compute_fisher(model, items[:tracks], "all", section), section.damping)
    step = UnlearningStep(SECTION, tracks=len(by_id))
    rows = [items[[tracks + number % (len(items) - tracks)]] for number in range(clips)]
    steps = torch.stack([step.compute_directions(model, row, inverse_fisher, False).sum(1).mean(0) for row in rows])
    as_shipped, seconds = UnlearningStep(replace(SECTION, ascent_draws=32), len(by_id)), []
    for windows in (False, True):
        began = time.perf_counter()
        as_shipped.compute_directions(model, rows[0], inverse_fisher, windows)
        seconds.append(time.perf_counter() - began)
    return PassCase(model, items[:tracks], items[tracks:], bank, steps, *seconds)


def score_by_gradient_products(case: PassCase, row: int, clips: int) -> np.ndarray:
    """Gradient products: [Q] scores of a track."""
    seen = compute_track_gradients(case.model, case.tracks[[row]], [GradientKind()], case.bank)
    return multiply_each([seen.rows[GradientKind()]], case.directions[:clips])[0].mean(0).numpy()


def score_by_finite_differences(case: PassCase, row: int, clips: int) -> np.ndarray:
    """Finite differences, relative step 1e-5: the loss as trained once, then one for every clip."""
    model, track = case.model, case.tracks[[row]]
    parameters = model.parameters("all")
    norm = measure_length(parameters)
    before, scores = compute_bank_loss(model, track, SECTION, case.bank), []
    for direction in case.directions[:clips]:
        factor = float(1e-5 * norm / direction.double().norm())
        with restored_weights(parameters):
            add_to_weights(parameters, direction, factor)
            scores.append((compute_bank_loss(model, track, SECTION, case.bank) - before) / factor)
    return np.array(scores)


def compute_reference(case: PassCase, clips: int) -> np.ndarray:
    """Scores [N, Q] in fp64 throughout: gradients of the network in double precision, times the same directions."""
    twin = load_embedded_model()
    twin.network.double()
    parameters, steps, rows = twin.parameters("all"), case.directions[:clips].double(), []
    for row in range(len(case.tracks)):
        item = case.tracks[[row]]
        given = case.model.condition(item).items()
        condition = {k: v.double() if v is not None and v.is_floating_point() else v for k, v in given}
        total = torch.zeros(clips, dtype=torch.float64)
        for cell in case.bank.cells():
            t, eps = (part.double() for part in case.bank.cell(*cell, (twin.latent_channels, twin.frames)))
            loss = twin.loss(item.latents[0].double(), condition, t, eps)
            parts = torch.autograd.grad(loss, list(parameters.values()))
            total += steps @ torch.cat([part.flatten() for part in parts])
        rows.append((total / len(case.bank.cells())).numpy())
    return np.stack(rows)


COMPUTATIONS = {"finite difference": score_by_finite_differences, "gradient product": score_by_gradient_products}


def measure_speed(case: PassCase, numbers: list[int], rounds: int, timed_tracks: int) -> list[dict]:
    """Median ms a track of either computation by number of clips, in turns; tracks shared as in a run."""
    seconds = defaultdict(list)
    workers = count_workers(case.model.device, case.directions.shape[1])
    for _ in range(rounds):
        for clips in numbers:
            for name, run in COMPUTATIONS.items():
                began = time.perf_counter()
                with contextlib.redirect_stdout(io.StringIO()):  # its progress
                    run_jobs("tracks", range(timed_tracks), lambda row: run(case, row, clips), workers)  # noqa: B023
                seconds[name, clips].append((time.perf_counter() - began) / timed_tracks)
    found = []
    for clips in numbers:
        old, new = (statistics.median(seconds[name, clips]) for name in COMPUTATIONS)
        found.append({"case": f"Q = {clips}", "clips": clips, "difference_ms": round(old * 1e3, 1)})
        found[-1] |= {"product_ms": round(new * 1e3, 1), f"speedup_q{clips}": round(old / new, 2)}
    return found


def measure_precision(case: PassCase, clips: int) -> list[dict]:
    """Least rank correlation over clips to fp64, of either computation."""
    wanted, found = compute_reference(case, clips), []
    ways = (
        ("gradient product fp32", score_by_gradient_products, "fp32"),
        ("gradient product bf16", score_by_gradient_products, "bf16"),
        ("finite difference fp32", score_by_finite_differences, "fp32"),
    )
    for name, run, kind in ways:
        altered = replace(case, model=case.model.with_arithmetic(PassSection(precision=kind)))
        scores = np.stack([run(altered, row, clips) for row in range(len(case.tracks))])
        rho = min(correlate_ranks(scores[:, q], wanted[:, q]) for q in range(clips))
        found.append({"case": f"rank correlation, {name}", "rho_fp64": round(rho, 5), "tracks": len(case.tracks)})
    return found


def measure_memory(clips: int, cells: int) -> list[dict]:
    """Peak of a process that does one track, the model and the directions of Q clips included."""
    found = []
    for name in COMPUTATIONS:
        command = [sys.executable, __file__, "--peak", name, "--clips", str(clips), "--cells", str(cells)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        found.append({"case": f"peak memory, {name}, Q = {clips}", "peak_mb": json.loads(done.stdout.split()[-1])})
    return found


def measure_latency(rows: list[dict], case: PassCase, rounds: int) -> list[dict]:
    """Seconds of a new clip, from measured times: its direction, then all tracks, or the index's shortlist."""
    one = next(row for row in rows if row.get("clips") == 1)
    found, tracks, index = [], len(read_manifest(MANIFEST)), IndexSection()
    for name, column in (("finite difference", "difference_ms"), ("gradient product", "product_ms")):
        seconds = case.clip_s + tracks * one[column] / 1e3
        found.append({"case": f"a new clip, {name}, computed", "tracks": tracks, "seconds": round(seconds, 1)})
    rise_s, search_s = [], []
    sketches = np.random.default_rng(0).integers(-127, 128, (tracks, index.widest), dtype=np.int8)
    clip = np.random.default_rng(1).standard_normal((10, index.widest), dtype=np.float32)
    for _ in range(rounds):
        began = time.perf_counter()
        UnlearningStep(SECTION, tracks).compute_rises(case.model, case.tracks[[0]], case.directions[0], case.bank)
        rise_s.append(time.perf_counter() - began)
        began = time.perf_counter()
        multiply_sketches(sketches, np.ones(tracks, np.float32), clip)
        search_s.append(time.perf_counter() - began)
    seconds = case.windows_s + statistics.median(search_s) + index.shortlist * statistics.median(rise_s)
    found.append({"case": "a new clip, the index, computed", "tracks": tracks, "seconds": round(seconds, 1)})
    found[-1] |= {"shortlist": index.shortlist, "search_s": round(statistics.median(search_s), 3)}
    return found


def measure_attribute(config: Path, rounds: int) -> dict:
    """`precompute attribute PROMPT` as a user waits for it: a process each time, into a copy of the store."""
    settings = RunConfig.load(config)
    store, case = ROOT / settings.output.store, "a new clip, the index, measured"
    if not store.is_file() or not (ROOT / get_index_folder(settings)).is_dir():
        made = "`precompute run` and `precompute index` make them"
        return {"case": case, "result": f"not measured: no store or no index of {config.name} here; {made}"}
    copy, clips = store.with_name(f"bench-{store.name}"), ROOT / settings.output.clips
    before, wall, busy, stages = set(clips.iterdir()), [], [], []
    command = [sys.executable, "-m", "precompute", "attribute", "--prompt", PROMPT, "--config", str(config)]
    try:
        for _ in range(rounds):
            shutil.copyfile(store, copy)
            began, used = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
            done = subprocess.run([*command, "--store", str(copy)], cwd=ROOT, capture_output=True, text=True)
            wall.append(time.perf_counter() - began)
            if done.returncode:
                return {"case": case, "result": f"failed: {done.stderr.strip().splitlines()[-1]}"}
            now = resource.getrusage(resource.RUSAGE_CHILDREN)
            busy.append(now.ru_utime + now.ru_stime - used.ru_utime - used.ru_stime)
            summary = done.stdout.split(": ")[-1]
            stages.append({name: float(s) for name, s in re.findall(r"(\w[\w ]*) ([\d.]+) s", summary)})
    finally:
        copy.unlink(missing_ok=True)
        for path in set(clips.iterdir()) - before:
            path.unlink()
    row = {"case": case, "config": config.name, "seconds": round(statistics.median(wall), 1)}
    row |= {"cpu_seconds": round(statistics.median(busy), 1)}
    return row | {"stages_s": {name: statistics.median(one[name] for one in stages) for name in stages[0]}}


def profile_gradients(case: PassCase) -> dict:
    """Shares of the processor's time of one track's gradients, on one thread, by kind of operation."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    compute_track_gradients(case.model, case.tracks[[0]], [GradientKind()], case.bank)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as found:
        compute_track_gradients(case.model, case.tracks[[0]], [GradientKind()], case.bank)
    torch.set_num_threads(threads)
    spent = {event.key.split("::")[-1]: event.self_cpu_time_total for event in found.key_averages()}
    whole, parts = sum(spent.values()) or 1.0, defaultdict(float)
    for name, time_us in spent.items():
        parts[_classify(name)] += time_us / whole
    rest = sorted(((t / whole, name) for name, t in spent.items() if _classify(name) == "rest"), reverse=True)[:5]
    row = {"case": "profile of a track's gradients", **{kind: round(part, 3) for kind, part in sorted(parts.items())}}
    return row | {"most of the rest": {name: round(share, 3) for share, name in rest}}


def _classify(name: str) -> str:
    if name in ("mm", "addmm", "bmm", "_linear_pointwise"):
        return "matrix products"
    return "attention" if name.startswith("_scaled_dot_product") else "rest"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clips", type=int, default=64, help="the largest Q (default: %(default)s)")
    parser.add_argument("--tracks", type=int, default=64, help="of the rank correlation (default: %(default)s)")
    parser.add_argument("--timed", type=int, default=8, help="tracks that are timed (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--cells", type=int, default=16, help="of the noise bank (default: %(default)s)")
    parser.add_argument("--config", type=Path, default=CONFIG, help="whose index is timed (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=RESULTS_FOLDER / "pass.json")
    parser.add_argument("--peak", choices=tuple(COMPUTATIONS), help=argparse.SUPPRESS)
    options = parser.parse_args()
    setup_torch()
    if options.peak:
        case = make_case(1, 1 if options.peak == "finite difference" else options.clips, options.cells, bare=True)
        COMPUTATIONS[options.peak](case, 0, len(case.directions))
        print(read_peak_mb())
        return
    began, case = time.monotonic(), make_case(options.tracks, options.clips, options.cells)
    numbers = sorted({n for n in (1, 16, 64) if n < options.clips} | {options.clips})
    rows = measure_speed(case, numbers, options.rounds, options.timed)
    rows += measure_latency(rows, case, options.rounds)
    rows += measure_precision(case, min(4, options.clips))
    rows.append(measure_attribute(options.config, options.rounds))
    rows += measure_memory(options.clips, options.cells)
    parameters = count_parameters(case.model.parameters("all"))
    tflops = measure_matmul_tflops(case.model.device, torch.float32, 2048)
    rate = 6.0 * parameters * case.model.frames * options.cells / (rows[0]["product_ms"] / 1e3) / 1e12
    rows.append({"case": "share of the matmul rate, gradient product", "share": round(rate / tflops, 3)})
    rows[-1] |= {"tflops": round(rate, 4), "matmul_tflops": round(tflops, 4)}
    rows.append(profile_gradients(case))
    write_result(options.out, WHAT, "make bench", describe_hardware(), rows, options.rounds)
    for row in rows:
        print(row)
    print(f"bench: {time.monotonic() - began:.0f} s; kept in {options.out}")


if __name__ == "__main__":
    main()
