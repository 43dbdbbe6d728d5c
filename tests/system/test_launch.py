"""Launchers: one machine and two, a dead worker, a dead launcher, a port in use, Slurm."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
import tiny
from machines import LAUNCH, TORCHRUN
from test_two_workers import free_port

from wsss_plugins.errors import UserError
from wsss_plugins.launch import Meeting, Place

ENVIRONMENT = {**os.environ, 'OMP_NUM_THREADS': '1', 'PYTHON': sys.executable}
HOST = socket.gethostname()

WORKER = """
import argparse, os, time
from pathlib import Path
from wsss_plugins.cli import run_tool

def work(args):
    rank = os.environ['RANK']
    if args.how == 'train':
        import torch.distributed as dist
        dist.init_process_group('gloo')
    Path(args.folder, f'.{rank}').write_text(str(os.getpid()))
    Path(args.folder, f'.{rank}').rename(Path(args.folder, rank))
    if args.how == 'train' and rank == '0':
        dist.barrier()  # the other worker is dead by now
    time.sleep(60)

parser = argparse.ArgumentParser()
parser.add_argument('folder')
parser.add_argument('how')
run_tool(parser, work, check=False)
"""


def start(
    folder: Path, how: str, *options: object, by: Sequence[str] = LAUNCH
) -> subprocess.Popen[str]:
    """Starts a launcher whose workers write their process ids into ``folder``."""
    folder.mkdir(exist_ok=True)
    script = folder / 'worker.py'
    script.write_text(WORKER)
    command = [sys.executable, *by, *options, script, folder, how]
    return subprocess.Popen(
        [str(word) for word in command],
        stderr=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
    )


def two_machines(
    folder: Path, how: str, count: object = 1, by: Sequence[str] = LAUNCH
) -> list[subprocess.Popen[str]]:
    """Launchers of two machines with one worker each; both workers have begun."""
    one = ('--nnodes=2', f'--master-port={free_port()}')
    both = [
        start(folder, how, *one, f'--node-rank={i}', count, by=by) for i in range(2)
    ]
    for rank, launcher in enumerate(both):
        process_of(folder, rank, launcher)
    return both


def process_of(folder: Path, rank: int, launcher: subprocess.Popen[str]) -> int:
    """Process id of a worker; waits until it has begun."""
    end = time.monotonic() + 120
    while not (folder / str(rank)).exists():
        assert launcher.poll() is None and time.monotonic() < end, 'it did not start'
        time.sleep(0.05)
    return int((folder / str(rank)).read_text())


def last_words(launcher: subprocess.Popen[str], code: int) -> str:
    """All that a launcher says until it ends, which takes less than 30 s."""
    _, said = launcher.communicate(timeout=30)
    assert launcher.returncode == code, said
    return said


def killed(rank: int, process: int) -> str:
    return (
        f'worker {rank} (process {process}) was killed by SIGKILL, perhaps for lack of '
        'memory: run the same command again to go on\n'
    )


@pytest.mark.slow
def test_a_worker_that_is_killed_ends_all(tmp_path) -> None:
    """The other worker waits for it in a collective, and does not speak."""
    launcher = start(tmp_path, 'train', 2)
    mortal = process_of(tmp_path, 1, launcher)
    process_of(tmp_path, 0, launcher)
    os.kill(mortal, signal.SIGKILL)
    assert last_words(launcher, 1) == f'error: {killed(1, mortal)}'


@pytest.mark.slow
def test_a_worker_that_is_killed_ends_all_machines(tmp_path) -> None:
    first, second = two_machines(tmp_path, 'sleep')
    mortal = process_of(tmp_path, 1, second)
    os.kill(mortal, signal.SIGKILL)
    assert last_words(second, 1) == f'error: {killed(1, mortal)}'
    there = f'the run ended on machine 1 ({HOST}): '
    assert last_words(first, 1) == f'error: {there}{killed(1, mortal)}'


@pytest.mark.slow
@pytest.mark.parametrize('dead', [0, 1])
def test_a_launcher_that_is_killed_ends_all_machines(tmp_path, dead) -> None:
    launchers = two_machines(tmp_path, 'sleep')
    orphan = process_of(tmp_path, dead, launchers[dead])
    launchers[dead].kill()
    machine = 'machine 0' if dead == 0 else f'machine 1 ({HOST})'
    said = f'error: the run ended on {machine}: its launcher has ended\n'
    assert last_words(launchers[1 - dead], 1) == said
    killer = f'the launcher (process {launchers[dead].pid}) was killed'
    said = f'error: {killer}: run the same command again to go on\n'
    assert last_words(launchers[dead], -signal.SIGKILL) == said
    assert not Path(f'/proc/{orphan}').exists() or sys.platform != 'linux'


@pytest.mark.slow
def test_a_worker_of_torchrun_that_is_killed_ends_all(tmp_path) -> None:
    """The report of torchrun names it; the other worker does not speak."""
    options = ('--standalone', '--nproc-per-node=2')
    launcher = start(tmp_path, 'train', *options, by=TORCHRUN)
    mortal = process_of(tmp_path, 1, launcher)
    process_of(tmp_path, 0, launcher)
    os.kill(mortal, signal.SIGKILL)
    said = last_words(launcher, 1)
    assert f'Signal 9 (SIGKILL) received by PID {mortal}' in said
    assert 'error: ' not in said


@pytest.mark.slow
def test_a_worker_of_torchrun_that_is_killed_ends_the_other_machine(tmp_path) -> None:
    """torchrun tells other machines nothing: the worker there finds out, and says which."""
    first, second = two_machines(tmp_path, 'train', '--nproc-per-node=1', TORCHRUN)
    mortal = process_of(tmp_path, 1, second)
    os.kill(mortal, signal.SIGKILL)
    assert f'received by PID {mortal}' in last_words(second, 1)
    said = 'error: worker 0 has lost its connection to worker 1, which has ended: see '
    assert said in last_words(first, 1)


def test_a_port_in_use() -> None:
    """One machine takes another that is free; a port that was named is refused."""
    with socket.socket() as other:
        other.bind(('', 0))
        other.listen()
        taken = other.getsockname()[1]
        with pytest.raises(UserError, match=f'port {taken} of this machine cannot be'):
            Meeting(Place(port=taken))
        first, second = Meeting(Place()), Meeting(Place())
        assert 0 != first.port != second.port != taken
    with pytest.raises(UserError, match='NODE_RANK=2: with NNODES=2'):
        Place(machines=2, index=2)


def test_machines_that_do_not_come(monkeypatch) -> None:
    monkeypatch.setattr('wsss_plugins.launch.PATIENCE', 0)
    with pytest.raises(UserError, match='machine 1, 2 of 3 has not come'):
        Meeting(Place(machines=3, port=int(free_port())))
    with pytest.raises(UserError, match='machine 0 does not answer at'):
        Meeting(Place(machines=3, index=1, port=int(free_port())))


# Slurm --------------------------------------------------------------------------------

SRUN = """#!/bin/bash
printf '%s\\n' "$@" > "$NOTES"
while [[ $1 == --* ]]; do
    [[ $1 == --ntasks=* ]] && export SLURM_NTASKS=${1#*=}
    shift
done
export SLURM_JOB_ID=7 SLURM_STEP_NODELIST='n[1-2]'
for ((i = 0; i < SLURM_NTASKS; i++)); do
    SLURM_PROCID=$i "$@" &
done
code=0
for job in $(jobs -p); do wait "$job" || code=$?; done
exit "$code"
"""
SCONTROL = """#!/bin/bash
[[ $* == "show hostnames n[1-2]" ]] && printf '127.0.0.1\\n127.0.0.2\\n'
"""


def slurm(tmp_path: Path, *words: object, code: int = 0, **env: str):
    """Runs the script with a srun that starts its tasks on this machine."""
    for name, text in (('srun', SRUN), ('scontrol', SCONTROL)):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    env = dict(PATH=f'{tmp_path}:{os.environ["PATH"]}') | env
    script, notes = tiny.TOOLS / 'slurm_train.sh', str(tmp_path / 'notes')
    return tiny.run('bash', script, *words, code=code, NOTES=notes, **env)


PYTHON = """#!/bin/bash
printf '%s' "$NNODES $NODE_RANK $MASTER_ADDR $PORT" "${@/#/|}" > "$NOTES.$SLURM_PROCID"
exit "${SLURM_PROCID}"
"""


def test_slurm_starts_a_launcher_on_each_machine(tmp_path) -> None:
    """srun, scontrol and Python are scripts that note how they are called."""
    python = tmp_path / 'python'
    python.write_text(PYTHON)
    python.chmod(0o755)
    words = ('gpu', 'mine', tiny.CLASSIFIER, 2, '--seed', 3)
    more = dict(WORKERS_PER_NODE='1', GRES='', PORT='1234', PYTHON=str(python))
    slurm(tmp_path, *words, code=1, **more)
    for machine in range(2):
        called = (tmp_path / f'notes.{machine}').read_text().split('|')
        assert called == [
            f'2 {machine} 127.0.0.1 1234', str(tiny.TOOLS / 'launch.py'), '1', 'train',
            str(tiny.CLASSIFIER), '--seed', '3',
        ]  # fmt: skip
    said = (tmp_path / 'notes').read_text().splitlines()
    assert said[: said.index('bash')] == [
        '--partition=gpu', '--job-name=mine', '--nodes=2', '--ntasks=2',
        '--ntasks-per-node=1', '--cpus-per-task=5', '--kill-on-bad-exit=1',
    ]  # fmt: skip


def test_slurm_refuses_what_machines_cannot_share(tmp_path) -> None:
    start = ('gpu', 'mine', 'config.py')
    done = slurm(tmp_path, *start, 12, code=2)
    assert done.stderr.startswith('error: N=12 workers cannot be shared by machines')
    done = slurm(tmp_path, *start, 'two', code=2)
    assert done.stderr.startswith('error: N=two: give the number of workers')
    done = slurm(tmp_path, *start, code=2)
    assert done.stderr.endswith('PARTITION JOB CONFIG N [options]\n')
    assert not (tmp_path / 'notes').exists()
