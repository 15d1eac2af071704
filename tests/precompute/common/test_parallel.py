"""Jobs shared by forked workers: each once, failures told, no process left."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from pathlib import Path

import pytest
import torch

from precompute.common.cache import Cache, Entry
from precompute.common.parallel import ForkedPool, count_workers, run_jobs
from precompute.common.scheduler import JobList, Limits, schedule
from precompute.errors import UserError


@pytest.fixture(autouse=True)
def no_process_is_left():
    yield
    assert not multiprocessing.active_children()


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_every_job_is_done_once_and_gradients_can_be_taken(tmp_path: Path, workers: int) -> None:
    weights = torch.randn(8, 8, requires_grad=True)
    weights.square().sum().backward()  # the parent has taken gradients too: autograd must survive the fork

    def job(number: int) -> None:
        (gradient,) = torch.autograd.grad((weights * number).sum(), weights)
        with (tmp_path / f"{number}").open("x") as handle:  # fails where it is there
            handle.write(f"{float(gradient[0, 0])} {os.getpid()} {torch.get_num_threads()}")
        time.sleep(0.5)  # until all workers are at work

    run_jobs("jobs", [3, 4, 5, 9, 10], job, workers)
    written = {int(path.name): path.read_text().split() for path in tmp_path.iterdir()}
    assert {number: float(line[0]) for number, line in written.items()} == {n: n for n in (3, 4, 5, 9, 10)}
    assert len({line[1] for line in written.values()}) == workers
    if workers > 1:
        assert {line[2] for line in written.values()} == {"1"}
        assert str(os.getpid()) not in {line[1] for line in written.values()}


def test_few_jobs_get_the_threads_of_several_workers(tmp_path: Path) -> None:
    def job(number: int) -> None:
        (tmp_path / f"{number}").write_text(f"{os.getpid()} {torch.get_num_threads()}")
        time.sleep(0.5)

    run_jobs("jobs", [1, 2], job, 4)
    written = [path.read_text().split() for path in tmp_path.iterdir()]
    assert {threads for _, threads in written} == {"2"} and len({pid for pid, _ in written} - {str(os.getpid())}) == 2


def test_several_threads_of_a_worker_compute_where_the_parent_s_did(tmp_path: Path) -> None:
    size = 1000
    left, right = torch.randn(size, size), torch.randn(size, size)
    expected = left @ right  # the parent's own threads have worked

    def job(number: int) -> None:
        torch.testing.assert_close(left @ right, expected)
        (tmp_path / f"{number}").touch()

    schedule(JobList("jobs", range(2)), ForkedPool(job, 2, 2, None), 2, Limits(timeout_s=60.0), lambda _: None)
    assert len(list(tmp_path.iterdir())) == 2


def test_seconds_of_workers_side_by_side_are_shared(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    run_jobs("jobs", range(4), lambda number: cache.note_seconds(Entry("stage", "key", number), 8.0), 2, cache)
    assert [cache.read_seconds(Entry("stage", "key", number)) for number in range(4)] == [4.0] * 4
    assert cache.processes == 1 and cache.sum_seconds("stage", "key") == 16.0


def test_what_a_job_raises_is_raised_here() -> None:
    def job(number: int) -> None:
        if number == 2:
            raise UserError("no space left")

    with pytest.raises(UserError, match="no space left"):
        run_jobs("jobs", range(8), job, 2)


def test_an_error_that_cannot_be_sent_is_told_in_words() -> None:
    class LocalError(Exception):
        pass

    def job(number: int) -> None:
        raise LocalError("no such thing")

    with pytest.raises(RuntimeError, match="LocalError: no such thing"):
        run_jobs("jobs", range(8), job, 2)


def test_an_end_of_file_within_a_job_is_an_error_like_another() -> None:
    def job(number: int) -> None:
        raise EOFError("a damaged file")

    with pytest.raises(EOFError, match="a damaged file"):
        run_jobs("jobs", range(8), job, 2)


def test_a_killed_worker_is_told_and_finished_jobs_stay(tmp_path: Path) -> None:
    def job(number: int) -> None:
        if number == 3:
            time.sleep(0.5)
            os.kill(os.getpid(), signal.SIGKILL)
        (tmp_path / f"{number}").touch()

    with pytest.raises(UserError, match=r"^jobs: worker \d .*was killed \(signal 9\).*run the same command"):
        run_jobs("jobs", range(8), job, 2)
    assert {"0", "1", "2"} <= {path.name for path in tmp_path.iterdir()}


def test_small_and_large_models_and_other_devices_have_no_workers() -> None:
    cpu = torch.device("cpu")
    assert count_workers(cpu, 1000) == count_workers(cpu, 10**9) == 1
    assert count_workers(torch.device("cuda"), 5_000_000) == 1
    assert count_workers(cpu, 5_000_000) == min(8, torch.get_num_threads())
