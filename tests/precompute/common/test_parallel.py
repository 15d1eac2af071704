"""Jobs shared by forked workers: each once, failures told, no process left."""

from __future__ import annotations

import multiprocessing
import os
import signal

import pytest
import torch

from precompute.common.parallel import count_for, run_jobs
from precompute.errors import UserError


@pytest.fixture(autouse=True)
def no_process_is_left():
    yield
    assert not multiprocessing.active_children()


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_every_job_is_done_once_and_gradients_can_be_taken(tmp_path, workers):
    weights = torch.randn(8, 8, requires_grad=True)
    weights.square().sum().backward()  # the parent has taken gradients too: autograd must survive the fork

    def job(number: int) -> None:
        (gradient,) = torch.autograd.grad((weights * number).sum(), weights)
        with (tmp_path / f"{number}").open("x") as handle:  # fails where it is there
            handle.write(f"{float(gradient[0, 0])} {os.getpid()} {torch.get_num_threads()}")

    run_jobs("jobs", [3, 4, 5, 9, 10], job, workers)
    told = {int(path.name): path.read_text().split() for path in tmp_path.iterdir()}
    assert {number: float(line[0]) for number, line in told.items()} == {n: n for n in (3, 4, 5, 9, 10)}
    assert len({line[1] for line in told.values()}) == workers
    if workers > 1:
        assert {line[2] for line in told.values()} == {"1"} and str(os.getpid()) not in {
            line[1] for line in told.values()
        }


def test_few_jobs_get_the_threads_of_several_workers(tmp_path):
    def job(number: int) -> None:
        (tmp_path / f"{number}").write_text(f"{os.getpid()} {torch.get_num_threads()}")

    run_jobs("jobs", [1, 2], job, 4)
    told = [path.read_text().split() for path in tmp_path.iterdir()]
    assert {threads for _, threads in told} == {"2"} and len({pid for pid, _ in told} - {str(os.getpid())}) == 2


def test_what_a_job_raises_is_raised_here():
    def job(number: int) -> None:
        if number == 2:
            raise UserError("no space left")

    with pytest.raises(UserError, match="no space left"):
        run_jobs("jobs", range(8), job, 2)


def test_a_killed_worker_is_told():
    def job(number: int) -> None:
        if number == 3:
            os.kill(os.getpid(), signal.SIGKILL)

    with pytest.raises(UserError, match=r"jobs: worker \d+ was killed \(signal 9\)"):
        run_jobs("jobs", range(8), job, 2)


def test_small_and_large_models_and_other_devices_have_no_workers():
    cpu = torch.device("cpu")
    assert count_for(cpu, 1000) == count_for(cpu, 10**9) == count_for(torch.device("cuda"), 5_000_000) == 1
    assert count_for(cpu, 5_000_000) == min(8, torch.get_num_threads())
