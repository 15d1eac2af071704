"""The verbs of `python -m precompute`. Heavy imports stay inside the verb that needs them.

A user's mistake ends in one line on stderr and exit code 1.
"""

from __future__ import annotations

import argparse
import errno
import sys
from pathlib import Path

from precompute.errors import UserError
from precompute.scale.verbs import add_verbs

ROOT = Path(__file__).resolve().parents[1]  # the repository, whose configs and demo data the defaults name
EXEMPLARS = ROOT / "assets/demo/exemplars"


def main(arguments: list[str] | None = None) -> int:
    """Run a verb; the exit code."""
    options = _parser().parse_args(arguments)
    try:
        return int(options.run(options) or 0)
    except UserError as error:
        print(f"precompute: {error}", file=sys.stderr)
        return 1
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] in ("explorer", "precompute"):
            raise
        print(
            f"precompute: {error.name} is not installed; run `make install`, or pip install 'whence[precompute]'",
            file=sys.stderr,
        )
        return 1
    except KeyboardInterrupt:
        print("precompute: stopped; start the same command again to go on", file=sys.stderr)
        return 130
    except OSError as error:
        if error.errno == errno.ENOSPC:
            where = f" ({error.filename})" if error.filename else ""
            print(
                f"precompute: the disk is full{where}; free some space and start the same command again",
                file=sys.stderr,
            )
            return 1
        raise


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m precompute", description=__import__("precompute").__doc__)
    verbs = parser.add_subparsers(required=True, metavar="VERB")

    run = verbs.add_parser("run", help="attribute clips to training tracks and publish a store")
    run.add_argument(
        "--config", type=Path, default=ROOT / "precompute/configs/demo.toml", help="TOML file (default: %(default)s)"
    )
    run.add_argument(
        "--audit", action="store_true", help="also compare with the naive two-pass difference, and print rho"
    )
    run.set_defaults(run=_run)

    train = verbs.add_parser("train-demo", help="train the embedded models from the embedded corpus")
    train.add_argument("--preset", choices=("cpu", "gpu"), default="cpu", help="how long and how large (default: cpu)")
    train.add_argument("--config", type=Path, help="a TOML file in place of a preset")
    train.add_argument("--device", help="torch device (default: cpu, or cuda with --preset gpu)")
    train.add_argument("--resume", action="store_true", help="go on with the run that the work folder holds")
    train.set_defaults(run=_train_demo)

    verify = verbs.add_parser("verify", help="recompute a few scores of a store with the naive twin")
    verify.add_argument("--config", type=Path, default=ROOT / "precompute/configs/demo-full.toml")
    verify.add_argument("--store", type=Path, default=ROOT / "assets/demo/store.duckdb")
    verify.add_argument("--clips", type=int, default=3)
    verify.add_argument("--tracks", type=int, default=30)
    verify.set_defaults(run=_verify)

    report = verbs.add_parser("report", help="write what a store's run found about itself, and print it as a table")
    report.add_argument("--store", type=Path, default=ROOT / "assets/demo/store.duckdb")
    report.add_argument("--out", type=Path, default=ROOT / "assets/benchmarks/demo-diagnostics.json")
    report.set_defaults(run=_report)

    look = verbs.add_parser("look", help="draw spectrograms of tracks, reconstructions and clips, and print levels")
    look.add_argument("--config", type=Path, default=ROOT / "precompute/configs/demo-full.toml")
    look.add_argument("--picture", type=Path, default=ROOT / "assets/demo/spectrograms.png")
    look.set_defaults(run=_look)

    exemplars = verbs.add_parser("train-exemplars", help="fine-tune the model on single decoys, for `evaluate planted`")
    _add_config(exemplars)
    exemplars.add_argument("--folder", type=Path, default=EXEMPLARS, help="where they go (default: %(default)s)")
    exemplars.add_argument("--track", type=int, action="append", default=[], help="a decoy's id, instead of a choice")
    exemplars.set_defaults(run=_train_exemplars)

    _add_evaluate(
        verbs.add_parser("evaluate", help="judge the model's clips, or a method by known truths and controls")
    )

    methods = verbs.add_parser("methods", help="list the attribution methods")
    methods.set_defaults(run=_methods)
    add_verbs(verbs, _add_config)
    return parser


def _add_evaluate(parser: argparse.ArgumentParser) -> None:
    kinds = parser.add_subparsers(required=True, metavar="WHAT")
    quality = kinds.add_parser("quality", help="do the clips sound like the corpus? beside decoys")
    quality.add_argument("--count", type=int, default=160, help="clips, decoys and tracks (default: %(default)s)")
    sweep = kinds.add_parser("sweep", help="quality over guidance and steps of the sampler")
    sweep.add_argument("--count", type=int, default=48, help="clips a setting (default: %(default)s)")
    planted = kinds.add_parser(
        "planted", help="weighted tracks, a rare style and exemplars: does the method find them?"
    )
    planted.add_argument("--seeds", type=int, default=4, help="clips a caption (default: %(default)s)")
    planted.add_argument("--exemplars", type=Path, default=EXEMPLARS, help="their folder (default: %(default)s)")
    null = kinds.add_parser("null", help="controls in which there is nothing to find")
    null.add_argument("--swap-steps", type=int, default=800, help="of the two short trainings; 0 = leave them out")
    null.add_argument("--captions", type=int, default=2, help="clips under whose caption all tracks are scored")
    own = kinds.add_parser(
        "self-influence", help="does a training track that is unlearned find itself? by layers and mask"
    )
    own.add_argument("--targets", type=int, default=40, help="training tracks (default: %(default)s)")
    own.add_argument("--layers", nargs="+", default=None, help="layer groups (default: all four)")
    own.add_argument("--masks", nargs="+", default=None, help="masks (default: all three)")
    own.add_argument("--steps", type=int, nargs="+", default=[1, 4], help="of the weights (default: 1 4)")
    own.add_argument("--draws", type=int, default=8, help="of a target's gradient (default: %(default)s)")
    own.add_argument("--top", type=int, default=10, help="k of CLAP_topk (default: %(default)s)")
    own.add_argument("--fd", type=int, default=0, help="clips for the Fréchet distance before and after; 0 = none")
    agreement = kinds.add_parser("agreement", help="all methods on clips of full length, beside each other")
    agreement.add_argument("--clips", type=int, default=16, help="of full length (default: %(default)s)")
    agreement.add_argument("--method", action="append", default=[], help="instead of those of the config")
    agreement.add_argument("--picture", type=Path, default=ROOT / "assets/pictures/agreement.png")
    calibration = kinds.add_parser("calibration", help="is the test of above noise fair?")
    card = kinds.add_parser("card", help="write the model card's tables from the results of the others")
    card.add_argument("--card", type=Path, default=ROOT / "assets/demo/MODEL_CARD.md")
    card.set_defaults(run=_card)
    for kind, name, run in (
        (calibration, "calibration", _calibration),
        (quality, "quality", _quality),
        (sweep, "sweep", _sweep),
        (planted, "planted", _planted),
        (own, "self-influence", _self_influence),
        (agreement, "agreement", _agreement),
        (null, "null", _null),
    ):
        _add_config(kind)
        out = ROOT / f"assets/benchmarks/demo-{name}.json"
        kind.add_argument("--out", type=Path, default=out, help="JSON to keep (default: %(default)s)")
        kind.set_defaults(run=run)
        if name in ("planted", "null"):
            kind.add_argument("--method", default="unlearning", help="one of `methods` (default: %(default)s)")


def _add_config(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", type=Path, default=ROOT / "precompute/configs/demo-full.toml")


def _run(options: argparse.Namespace) -> None:
    from precompute.config import RunConfig

    config = RunConfig.load(options.config)  # a mistake in it is told at once, before torch is imported
    from precompute.pipeline import run

    run(config, audit=options.audit)


def _train_demo(options: argparse.Namespace) -> None:
    from precompute.train.demo import TrainDemoSettings, train_demo

    config = options.config or ROOT / f"precompute/configs/train-demo-{options.preset}.toml"
    device = options.device or ("cuda" if options.preset == "gpu" else "cpu")
    train_demo(TrainDemoSettings.load(config, ROOT), device, options.resume)


def _verify(options: argparse.Namespace) -> None:
    from precompute.config import RunConfig
    from precompute.evaluate.verify import verify

    verify(RunConfig.load(options.config), options.store, options.clips, options.tracks)


def _report(options: argparse.Namespace) -> None:
    from precompute.evaluate.report import report

    report(options.store, options.out)


def _look(options: argparse.Namespace) -> None:
    from precompute.config import RunConfig
    from precompute.evaluate.sound import look

    look(RunConfig.load(options.config), options.picture)


def _train_exemplars(options: argparse.Namespace) -> None:
    from precompute.config import RunConfig
    from precompute.train.exemplars import make_exemplars

    make_exemplars(RunConfig.load(options.config), options.folder, options.track)


def _quality(options: argparse.Namespace) -> None:
    from precompute.config import RunConfig
    from precompute.evaluate.quality import quality

    quality(RunConfig.load(options.config), options.out, options.count)


def _sweep(options: argparse.Namespace) -> None:
    from precompute.config import RunConfig
    from precompute.evaluate.quality import sweep

    sweep(RunConfig.load(options.config), options.out, options.count)


def _planted(options: argparse.Namespace) -> None:
    from precompute.config import RunConfig
    from precompute.evaluate.planted import evaluate_planted

    config = RunConfig.load(options.config)
    exemplars = options.exemplars if options.exemplars.is_dir() else None
    if exemplars is None:
        print(f"{options.exemplars}: no exemplars here, they are left out (train-exemplars makes them)", flush=True)
    evaluate_planted(config, options.out, options.method, options.seeds, exemplars)


def _null(options: argparse.Namespace) -> None:
    from precompute.config import RunConfig
    from precompute.evaluate.null import evaluate_null

    evaluate_null(RunConfig.load(options.config), options.out, options.method, options.swap_steps, options.captions)


def _self_influence(options: argparse.Namespace) -> None:
    from precompute.config import LAYERS, MASKS, RunConfig
    from precompute.evaluate.self_influence import Options, evaluate_self_influence

    chosen = Options(
        targets=options.targets,
        layers=tuple(options.layers or LAYERS),
        masks=tuple(options.masks or MASKS),
        steps=tuple(options.steps),
        draws=options.draws,
        top=options.top,
        fd=options.fd,
    )
    evaluate_self_influence(RunConfig.load(options.config), options.out, chosen)


def _agreement(options: argparse.Namespace) -> None:
    from precompute.config import RunConfig
    from precompute.evaluate.agreement import evaluate_agreement

    config = RunConfig.load(options.config)
    evaluate_agreement(config, options.out, options.clips, options.method, options.picture)


def _calibration(options: argparse.Namespace) -> None:
    from precompute.config import RunConfig
    from precompute.evaluate.calibration import evaluate_calibration

    evaluate_calibration(RunConfig.load(options.config), options.out)


def _card(options: argparse.Namespace) -> None:
    from precompute.evaluate.card import write_card

    write_card(options.card, ROOT / "assets/benchmarks", options.card.with_name("model-card.json"))


def _methods(options: argparse.Namespace) -> None:
    from precompute.methods.listing import listing

    print(listing())
