"""Two machines of one: network namespaces that a cable connects, or one loopback."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from subprocess import DEVNULL, PIPE

import tiny
from test_two_workers import free_port

TORCHRUN = ('-m', 'torch.distributed.run')
LAUNCH = (str(tiny.TOOLS / 'launch.py'),)
ADDRESSES = ('10.213.7.1', '10.213.7.2')


@dataclass(frozen=True)
class Machine:
    """Where a command runs.

    Attributes:
        before: Words before the command.
        address: How other machines reach this one.
        interface: Its network interface.
    """

    before: tuple[str, ...] = ()
    address: str = '127.0.0.1'
    interface: str = 'lo'

    def start(self, *words: object) -> subprocess.Popen[str]:
        """Starts Python with one thread."""
        env = dict(OMP_NUM_THREADS='1', GLOO_SOCKET_IFNAME=self.interface)
        return subprocess.Popen(
            [*self.before, sys.executable, *map(str, words)],
            cwd=tiny.ROOT, text=True, env={**os.environ, **env},
            stdout=DEVNULL, stderr=PIPE,
        )  # fmt: skip


@contextmanager
def two_machines() -> Iterator[tuple[Machine, Machine]]:
    """Two networks with a cable between them; where none may be made, this machine twice."""
    hold = ['unshare', '--net', 'sh', '-c', 'echo; exec sleep 600']
    held = []
    try:
        with suppress(OSError):  # no such command
            for _ in range(2):
                held.append(subprocess.Popen(hold, stdout=PIPE, stderr=DEVNULL))
        yield _connected([p.pid for p in held if p.stdout and p.stdout.read(1)])
    finally:
        for process in held:
            process.kill()
            process.communicate()


def _connected(networks: Sequence[int]) -> tuple[Machine, Machine]:
    """Machines in the networks of two processes, or on the loopback of this one."""
    if len(networks) < 2 or _failed(
        f'ip link add w0 netns {networks[0]} type veth peer name w1 netns {networks[1]}'
    ):
        return Machine(), Machine()
    found = []
    for index, network in enumerate(networks):
        enter = ('nsenter', '--target', str(network), '--net')
        for step in (
            'link set lo up',
            f'addr add {ADDRESSES[index]}/24 dev w{index}',
            f'link set w{index} up',
        ):
            assert not _failed(f'ip {step}', *enter)
        found.append(Machine(enter, ADDRESSES[index], f'w{index}'))
    return found[0], found[1]


def _failed(command: str, *before: str) -> bool:
    words = [*before, *command.split()]
    return subprocess.run(words, capture_output=True).returncode != 0


def run_on_both(launcher: Sequence[str], script: Path, *words: object) -> None:
    """Runs a tool with one worker on each of two machines until it has ended well."""
    count = '1' if launcher == LAUNCH else '--nproc-per-node=1'
    with two_machines() as machines:
        port = free_port()
        meet = ['--nnodes=2', f'--master-addr={machines[0].address}']
        meet += [f'--master-port={port}']
        started = [
            machine.start(*launcher, *meet, f'--node-rank={i}', count, script, *words)
            for i, machine in enumerate(machines)
        ]
        try:
            for process in started:
                _, said = process.communicate(timeout=200)
                assert process.returncode == 0, said
        finally:
            for process in started:
                process.kill()
