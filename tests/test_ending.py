"""A signal, a dead process and a lost connection end a command with one line."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from wsss_plugins import ending
from wsss_plugins.ending import lost_connection, said_of_reader

TOOL = """
import argparse, multiprocessing, time
from wsss_plugins import ending
from wsss_plugins.cli import run_tool

def work(args):
{body}

run_tool(argparse.ArgumentParser(), work, check=False)
"""
SLEEP = """
    print('in', flush=True)
    time.sleep(60)
"""
DEAF = """
    ending.LAST_WAY = {patience}
    while True:
        try:
            print('in', flush=True)
            time.sleep(60)
        except KeyboardInterrupt:
            pass
"""
PARENT = """
    print('in', flush=True)
    child = multiprocessing.get_context('fork').Process(target=time.sleep, args=(60,))
    child.start()
    child.terminate()
    child.join()
    print(child.exitcode, flush=True)  # also if it was not running yet
"""


def start(body: str, **env: str) -> subprocess.Popen[str]:
    """Starts a tool, and waits until it works."""
    tool = subprocess.Popen(
        [sys.executable, '-c', TOOL.format(body=body)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **env},
        # A shell starts what runs in the background deaf to SIGINT, these tests for example.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert tool.stdout is not None and tool.stdout.readline() == 'in\n'
    return tool


@pytest.mark.parametrize(
    'number, body, said',
    [
        (signal.SIGINT, SLEEP, 'interrupted'),
        (signal.SIGTERM, SLEEP, 'ended by SIGTERM'),
        (signal.SIGTERM, DEAF.format(patience=1), 'ended by SIGTERM'),
    ],
)
def test_a_signal_becomes_one_line(number, body, said) -> None:
    """Also in a tool that some library keeps from hearing it."""
    tool = start(body)
    tool.send_signal(number)
    _, errors = tool.communicate(timeout=120)
    assert errors == f'error: {said}: run the same command again to go on\n'
    assert tool.returncode == 128 + number


def test_a_second_signal_ends_a_deaf_tool_at_once() -> None:
    tool = start(DEAF.format(patience=60))
    tool.send_signal(signal.SIGINT)
    assert tool.stdout is not None and tool.stdout.readline() == 'in\n'
    tool.send_signal(signal.SIGTERM)
    _, errors = tool.communicate(timeout=120)
    assert errors == 'error: interrupted: run the same command again to go on\n'
    assert tool.returncode == 130


def test_a_process_that_a_tool_forked_ends_as_any_other() -> None:
    said, errors = start(PARENT).communicate(timeout=120)
    assert (said, errors) == (f'{-signal.SIGTERM}\n', '')


class Mortal(Dataset):
    """Kills the process that reads its photo."""

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> int:
        os.kill(os.getpid(), signal.SIGKILL)
        return index


def test_a_reader_that_was_killed_is_one_line() -> None:
    with pytest.raises(RuntimeError) as caught:
        list(DataLoader(Mortal(), num_workers=1))
    said = said_of_reader(caught.value)
    assert said is not None and said.startswith('a process that reads photos (')
    assert ') was killed, perhaps for lack of memory: lower num_workers' in said
    assert said_of_reader(ValueError('DataLoader worker (pid 1) is killed')) is None


def test_a_lost_connection_is_known(monkeypatch) -> None:
    closed = RuntimeError('[x/gloo/tcp/pair.cc:1] Connection closed by peer [::1]:2')
    assert not lost_connection(closed), 'there is one worker only'
    monkeypatch.setenv('RANK', '0')
    assert lost_connection(closed)
    assert lost_connection(torch.distributed.DistNetworkError('reset'))
    assert not lost_connection(RuntimeError('shapes do not fit'))


@pytest.mark.parametrize(
    ('alive', 'named'),
    [([], 'worker 1 or 2'), ([2], 'worker 1'), ([1, 2], 'another worker')],
)
def test_a_lost_worker_is_named(monkeypatch, alive, named) -> None:
    """Those that are alive have said so in the store in which the workers met."""
    store = torch.distributed.TCPStore('127.0.0.1', 0, is_master=True)
    where = dict(MASTER_ADDR='127.0.0.1', MASTER_PORT=str(store.port))
    for key, value in dict(where, RANK='0', WORLD_SIZE='3').items():
        monkeypatch.setenv(key, value)
    said: list[str] = []
    monkeypatch.setattr(ending, 'leave', lambda line, code: said.append(line))
    monkeypatch.setattr(
        ending.time,
        'sleep',
        lambda _: [store.set(f'{ending._ALIVE}/{i}', '') for i in alive],
    )
    ending.leave_lost()
    begin = f'worker 0 has lost its connection to {named}, which has ended: see what'
    assert said[0].startswith(begin)
