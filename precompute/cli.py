"""The verbs of `python -m precompute`. Heavy imports stay inside the verb that needs them.

A user's mistake ends in one line on stderr and exit code 1.
"""

from __future__ import annotations

import argparse
import errno
import sys
from pathlib import Path

from precompute.errors import UserError

ROOT = Path(__file__).resolve().parents[1]  # the repository, whose configs and demo data the defaults name


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
    train.add_argument("--config", type=Path, default=ROOT / "precompute/configs/train-demo.toml")
    train.add_argument("--device", default="cpu", help="torch device (default: cpu)")
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

    methods = verbs.add_parser("methods", help="list the attribution methods")
    methods.set_defaults(run=_methods)
    return parser


def _run(options: argparse.Namespace) -> None:
    from precompute.config import RunConfig

    config = RunConfig.load(options.config)  # a mistake in it is told at once, before torch is imported
    from precompute.pipeline import run

    run(config, audit=options.audit)


def _train_demo(options: argparse.Namespace) -> None:
    from precompute.train.demo import TrainDemoSettings, train_demo

    train_demo(TrainDemoSettings.load(options.config, ROOT), options.device)


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


def _methods(options: argparse.Namespace) -> None:
    from precompute.methods.base import REGISTRY

    for method in REGISTRY.values():
        moments = "with moments" if method.has_moments else "no moments"
        print(f"{method.name}: {method.description} ({moments})")
