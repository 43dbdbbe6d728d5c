"""Threads that read ahead and write behind: order, overlap, bounds, errors and kills."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

import pytest
import torch

from wsss_plugins.engine.failures import Failures
from wsss_plugins.engine.flow import THREADS, attempt, in_threads
from wsss_plugins.errors import DataError
from wsss_plugins.progress import ProgressBar
from wsss_plugins.structures.files import atomic_path

PATIENCE = 20
"""Seconds after which a test fails that waits for what must happen beside it."""


@pytest.mark.parametrize('threads', [1, 2, 4])
def test_results_come_in_order_and_few_items_are_there(threads) -> None:
    taken, yielded = [], []

    def items():
        for i in range(20):
            taken.append(i)
            assert len(taken) - len(yielded) <= threads, 'no more are held than said'
            yield i

    def slowest_first(i: int) -> int:
        time.sleep(0.003 if i % 4 == 0 else 0)
        return i * i

    for found in in_threads(slowest_first, items(), threads):
        assert found == len(yielded) ** 2
        yielded.append(found)
    assert len(yielded) == 20


def test_the_next_item_is_read_and_the_last_one_written_beside_the_network() -> None:
    read, written = (
        [threading.Event() for _ in 'abc'],
        [threading.Event() for _ in 'abc'],
    )
    networks = [threading.Event() for _ in 'abc']

    def load(i: int) -> int:
        read[i].set()
        return i

    def network(i: int) -> int:
        networks[i].set()
        if i + 1 < 3:
            assert read[i + 1].wait(PATIENCE), 'the next one is read meanwhile'
        return i

    def save(i: int) -> int:
        if i + 1 < 3:
            assert networks[i + 1].wait(PATIENCE), 'the network goes on meanwhile'
        written[i].set()
        return i

    order = in_threads(save, map(network, in_threads(load, range(3), 2)), 2)
    for i, found in enumerate(order):
        assert found == i and written[i].is_set(), 'what is yielded has been written'


def test_one_thread_is_the_serial_way() -> None:
    said = []

    def saying(what: str):
        return lambda i: said.append(f'{what}{i}') or i

    made = map(saying('n'), in_threads(saying('r'), range(3), 1))
    assert list(in_threads(saying('w'), made, 1)) == [0, 1, 2]
    assert said == [f'{what}{i}' for i in range(3) for what in 'rnw']


def test_pytorch_has_one_thread_in_each() -> None:
    """Threads of PyTorch in every thread would wait for one another."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        found = list(in_threads(lambda _: torch.get_num_threads(), range(6), 3))
        assert found == [1] * 6 and torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_an_error_comes_at_its_turn_and_what_is_in_work_is_finished() -> None:
    done: list[int] = []

    def save(i: int) -> int:
        if i == 5:
            raise DataError('the fifth')
        time.sleep(0.002)
        done.append(i)
        return i

    found = []
    with pytest.raises(DataError, match='the fifth'):
        for i in in_threads(save, range(20), 3):
            found.append(i)
    assert found == [0, 1, 2, 3, 4]
    assert set(range(5)) <= set(done) <= {0, 1, 2, 3, 4, 6, 7}, 'no later item begins'


def test_an_error_of_the_network_leaves_what_came_before_written() -> None:
    done: list[int] = []

    def save(i: int) -> None:
        time.sleep(0.005)
        done.append(i)

    def network(i: int) -> int:
        if i == 6:
            raise KeyboardInterrupt
        return i

    with pytest.raises(KeyboardInterrupt):
        list(in_threads(save, map(network, range(20)), 4))
    assert sorted(done) == list(range(6))


@pytest.mark.skipif(not hasattr(os, 'fork'), reason='needs fork')
def test_kill_9_loses_what_is_being_written_at_most(tmp_path) -> None:
    last = 14

    def save(i: int) -> None:
        with atomic_path(tmp_path / f'{i}.txt') as part:
            part.write_text(str(i))
            time.sleep(0.01)
            part.write_text(f'{i} is whole')

    def network(i: int) -> int:
        if i == last:
            os.kill(os.getpid(), signal.SIGKILL)
        return i

    child = os.fork()
    if child == 0:
        list(in_threads(save, map(network, in_threads(int, range(40)))))
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WTERMSIG(status) == signal.SIGKILL
    there = {int(path.stem): path.read_text() for path in tmp_path.glob('[0-9]*.txt')}
    assert there == {i: f'{i} is whole' for i in there}
    assert set(range(last - THREADS)) <= set(there) <= set(range(last))


def test_photos_that_cannot_be_read_are_reported_in_order(tmp_path, capsys) -> None:
    def load(index: int, factor: int) -> int:
        if index % 2:
            raise DataError(f'photo {index} is damaged')
        return index * factor

    out = tmp_path / 'seeds'
    failures = Failures(out, ProgressBar('seeds', 5))
    read = {index: attempt(load, index, 10) for index in (3, 2, 1)}
    assert failures.without(read, 'abcde') == {2: 20}
    assert failures.reasons == dict(d='photo 3 is damaged', b='photo 1 is damaged')
    assert capsys.readouterr().err.splitlines() == [
        'seeds: d left out: photo 3 is damaged',
        'seeds: b left out: photo 1 is damaged',
    ]
    with pytest.raises(ZeroDivisionError):
        attempt(lambda: 1 // 0)


def test_no_thread_is_left_when_the_results_are_not_taken(tmp_path: Path) -> None:
    before = threading.active_count()
    results = in_threads(int, range(100))
    assert next(results) == 0
    assert threading.active_count() > before
    results.close()
    assert threading.active_count() == before
