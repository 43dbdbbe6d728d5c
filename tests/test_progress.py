"""Progress where there is no terminal: plain lines on stderr, and none when quiet."""

from __future__ import annotations

import re

import pytest

from wsss_plugins import progress
from wsss_plugins.progress import ProgressBar, duration, track


@pytest.fixture
def clock(monkeypatch):
    """Replaces the clock; ``clock.now`` is the time in seconds."""

    class Clock:
        now = 100.0

        def monotonic(self) -> float:
            return self.now

    clock = Clock()
    monkeypatch.setattr(progress, 'time', clock)
    return clock


def test_lines_with_rate_and_time_left(capsys, clock) -> None:
    with ProgressBar('seeds', total=40, every=10) as bar:
        for _ in range(20):
            clock.now += 1
            bar.advance(note='loss 1.250')
    assert capsys.readouterr().err.splitlines() == [
        'seeds: 10/40, 1.0/s, 30 s left, loss 1.250',
        'seeds: 20/40, 1.0/s, 20 s left, loss 1.250',
        'seeds: 20/40, in 20.0 s, 1.0/s',
    ]


def test_what_an_earlier_run_did_counts_but_not_for_the_rate(capsys, clock) -> None:
    with ProgressBar('seeds', total=100, every=5) as bar:
        bar.begin_at(80)
        clock.now += 5
        bar.advance(10)
        clock.now += 5
        bar.advance(10)
    assert capsys.readouterr().err.splitlines() == [
        'seeds: 90/100, 2.0/s, 5 s left',
        'seeds: 100/100, 2.0/s, 0 s left',
        'seeds: 100/100, in 10.0 s, 2.0/s',
    ]


def test_no_time_left_before_it_can_be_told(capsys, clock) -> None:
    with ProgressBar('train', total=2000, every=1) as bar:
        clock.now += 60  # the first step loads and compiles
        bar.advance()
        for _ in range(2):
            clock.now += 1
            bar.advance()
        bar.advance(7)
        clock.now += 2
        bar.advance()
    lines = capsys.readouterr().err.splitlines()
    assert lines[:3] == [
        'train: 1/2000, 0.0/s',
        'train: 2/2000, 0.0/s',
        'train: 3/2000, 0.0/s',
    ]
    assert lines[3] == 'train: 11/2000, 0.2/s, 3 h 13 min left'


def test_a_short_loop_tells_sooner_but_not_at_once(capsys, clock) -> None:
    with ProgressBar('seeds', total=4, every=1) as bar:
        for _ in range(2):
            clock.now += 4
            bar.advance()
    assert capsys.readouterr().err.splitlines()[:2] == [
        'seeds: 1/4, 0.2/s',
        'seeds: 2/4, 0.2/s, 8 s left',
    ]


@pytest.mark.parametrize(
    ('seconds', 'words'),
    [
        (0, '0 s'),
        (99.4, '99 s'),
        (100, '2 min'),
        (3599, '1 h'),
        (60775, '16 h 53 min'),
        (7500, '2 h 5 min'),
        (86400, '1 d'),
        (273600, '3 d 4 h'),
    ],
)
def test_durations_in_words(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_nothing_left_to_do(capsys, clock) -> None:
    with ProgressBar('seeds', total=7) as bar:
        bar.begin_at(7)
    assert capsys.readouterr().err == 'seeds: 7/7, in 0.0 s, 0.0/s\n'


def test_quiet_says_nothing(capsys, clock) -> None:
    with ProgressBar('seeds', total=3, quiet=True, every=0) as bar:
        bar.advance(3)
    captured = capsys.readouterr()
    assert captured.err == captured.out == ''


def test_no_last_line_after_an_exception(capsys) -> None:
    with pytest.raises(KeyError), ProgressBar('seeds', total=3) as bar:
        bar.advance()
        raise KeyError
    assert capsys.readouterr().err == ''


def test_track_yields_everything_in_order(capsys) -> None:
    assert list(track('abc', 'letters', total=3)) == ['a', 'b', 'c']
    line = capsys.readouterr().err
    assert re.fullmatch(r'letters: 3/3, in \d+\.\d s, [\d.]+/s\n', line)


def test_a_terminal_gets_a_bar(capsys, monkeypatch, clock) -> None:
    monkeypatch.setenv('FORCE_COLOR', '1')
    monkeypatch.setenv('COLUMNS', '100')
    with ProgressBar('seeds', total=4) as bar:
        clock.now += 2
        bar.advance(4, note='loss 0.500')
    shown = re.sub(r'\x1b\[[0-9;?]*[A-Za-z]', '', capsys.readouterr().err)
    assert 'seeds' in shown and '4/4' in shown and '2.0/s' in shown
    assert 'loss 0.500' in shown and '━' in shown


@pytest.mark.parametrize('terminal', [False, True])
def test_what_must_be_said_is_said_also_when_quiet(
    capsys, monkeypatch, terminal
) -> None:
    if terminal:
        monkeypatch.setenv('FORCE_COLOR', '1')
    line = f'image [bold]{"x" * 200}.jpg is broken'  # no markup, not folded
    for quiet in (False, True):
        with ProgressBar('seeds', total=4, quiet=quiet) as bar:
            bar.say(line)
        assert f'{line}\n' in capsys.readouterr().err
