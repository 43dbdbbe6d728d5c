"""The board: what it shows of finished, running and broken work dirs, and to whom."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from made_runs import make_data, make_files, run_pipeline
from mmengine.config import Config

from wsss_plugins.board import Board
from wsss_plugins.board.logs import last_step, steps_of, training_curves
from wsss_plugins.board.runs import read_run, work_dirs
from wsss_plugins.board.server import make_server
from wsss_plugins.engine import StageRecord
from wsss_plugins.engine.stage import Stage
from wsss_plugins.errors import UserError
from wsss_plugins.experiment import Pipeline
from wsss_plugins.structures import save_json

MARKUP = '<script>alert(1)</script>'


def begun(folder: Path, name: str, kind: str = 'SeedStage', **more: object) -> None:
    StageRecord(name, kind, 'f', {}, 0, **more).save(folder / name)


def make_training(folder: Path, seen: int) -> None:
    """The log of a training of 40 iterations that has come to ``seen``, in two sittings."""
    for sitting, (first, last) in enumerate([(1, seen // 2), (seen // 2, seen)]):
        log = folder / f'2026010{sitting}_000000'
        (log / 'vis_data').mkdir(parents=True)
        lines = [
            dict(loss=4 - i / 20, lr=0.1, time=0.5, epoch=1 + i // 20, iter=i, step=i)
            for i in range(first, last + 1)
        ]
        checks = [{'multilabel/mAP': 50.0 + sitting, 'step': sitting + 1}]
        text = ''.join(f'{json.dumps(line)}\n' for line in [*lines, *checks])
        (log / 'vis_data/scalars.json').write_text(text + '{"loss": 0.1, "it')
        rows = ''.join(f'{i / 20},{i},0.1\n' for i in range(0, 40, 13))
        (log / 'rates.csv').write_text(f'epoch,iteration,all\n{rows}')


@pytest.fixture(scope='module')
def made(tmp_path_factory) -> Path:
    """A finished run, one that runs, and one that was interrupted."""
    root = tmp_path_factory.mktemp('board') / 'root'
    data = make_data(root.parent / 'data')
    files = make_files(root.parent / 'files', 2)
    run_pipeline(root / 'group/finished', data, files)
    live = root / 'live'
    save_json(live / 'experiment.json', dict(experiment='a/b'))
    begun(live, 'before', done=True, finished='2026-01-02T03:04:05', seconds=3.0)
    begun(live, 'classifier', 'TrainStage')
    make_training(live / 'classifier', 20)
    owner = dict(
        host=socket.gethostname(), process=os.getpid(), since='2026-01-02T04:00:00'
    )
    stages = ['before', 'classifier', 'maps']
    (live / '.lock').write_text(json.dumps(owner | dict(stages=stages)))
    broken = root / 'broken'
    photos = f'photos of VOC12 {root.parent}/data train'
    begun(broken, 'maps', data={photos: 'abc'})
    save_json(broken / '.data/abc.json', {f'JPEGImages/{n}.jpg': 'x' for n in 'abcd'})
    config = dict(dataset=dict(data_root=f'{root.parent}/data'))
    save_json(broken / 'maps/config.json', dict(config=config, data=[]))
    (broken / 'maps/seeds').mkdir()
    shutil.copy(files / 'seeds/a.npz', broken / 'maps/seeds')
    (broken / 'maps/seeds/b.npz').write_bytes(b'half a file')
    return root


@pytest.fixture
def root(made, tmp_path) -> Path:
    """A copy to write in; its records say when they were written."""
    folder = tmp_path / 'root'
    shutil.copytree(made, folder, symlinks=True)
    return folder


def test_work_dirs_are_found_at_any_depth(root) -> None:
    found = [folder.relative_to(root).as_posix() for folder in work_dirs(root)]
    assert found == ['broken', 'group/finished', 'live']
    (root / 'linked').symlink_to(root / 'group', target_is_directory=True)
    assert len(list(work_dirs(root))) == 3, 'links are not followed'


def test_states_and_progress(root) -> None:
    live, broken, finished = (
        read_run(root, root / name) for name in ('live', 'broken', 'group/finished')
    )
    assert live.state == 'running' and live.done == 1 and live.experiment == 'a/b'
    states = {
        stage.name: (stage.state, stage.made, stage.total) for stage in live.stages
    }
    assert states == dict(
        before=('done', 0, 0), classifier=('running', 20, 40), maps=('waiting', 0, 0)
    )
    (stage,) = broken.stages
    assert (stage.state, stage.made, stage.total) == ('interrupted', 2, 4)
    assert broken.state == 'interrupted' and stage.left is None
    assert finished.state == 'done' and len(finished.stages) == 5


def test_the_rest_takes_as_long_as_what_was_made(root) -> None:
    record = root / 'live/classifier/record.json'
    os.utime(record, (time.time() - 60, time.time() - 60))
    stage = read_run(root, root / 'live').stages[1]
    assert stage.left == pytest.approx(60, abs=3), '20 of 40 steps took 60 s'


def test_a_lock_of_a_process_that_is_gone_is_no_run(root) -> None:
    ended = subprocess.Popen([sys.executable, '-c', ''])
    ended.wait()
    owner = dict(host=socket.gethostname(), process=ended.pid, stages=['classifier'])
    (root / 'live/.lock').write_text(json.dumps(owner))
    run = read_run(root, root / 'live')
    assert run.state == 'interrupted' and run.stages[1].state == 'interrupted'


def test_curves_of_two_sittings(root) -> None:
    folder = root / 'live/classifier'
    assert (steps_of(folder), last_step(folder)) == (40, 20)
    (loss,), (check,) = training_curves(folder)
    assert loss.name == 'loss' and list(loss.thresholds) == list(range(1, 21))
    assert loss.values == pytest.approx([4 - i / 20 for i in range(1, 21)])
    assert (check.thresholds, check.values) == ([1, 2], [50, 51])
    assert training_curves(root / 'live') == ([], []) and steps_of(root) == 0


class Probe(Stage):
    """A stage that looks at the board while it runs."""

    seen = ''

    def run(self, out: Path, inputs: dict[str, Path]) -> dict[str, int]:
        Probe.seen = Board(out.parent.parent).answer('/')[2]
        return {}


def test_a_pipeline_tells_its_stages_while_it_runs(tmp_path) -> None:
    (tmp_path / 'c.py').touch()
    stages = [dict(type=Probe, name=name) for name in ('first', 'second')]
    cfg = Config(dict(pipeline=stages), filename=str(tmp_path / 'c.py'))
    Pipeline(cfg).run(tmp_path / 'root/work')
    assert '1 of 2 stages done' in Probe.seen and 'second, for' in Probe.seen
    assert 'running' in Probe.seen
    assert 'Running now' not in Board(tmp_path / 'root').answer('/')[2]


def test_pages_of_runs(root) -> None:
    board = Board(root)
    status, kind, index = board.answer('/')
    assert (status, kind) == (200, 'text/html; charset=utf-8')
    assert (
        'classifier: 20 of 40 steps' in index
        and '1 of 3 stages done; next maps' in index
    )
    assert 'href="/run?name=group%2Ffinished"' in index and 'VOC12 train 4' in index
    page = board.answer('/run?name=group%2Ffinished')[2]
    assert 'pseudo_score' in page and 'Seeds by threshold' in page
    assert (
        'href="/file?name=group%2Ffinished&amp;stage=errors&amp;file=errors.html"'
        in page
    )
    live = board.answer('/run?name=live')[2]
    assert 'id="training"' in live and 'loss against iteration: loss 3.' in live
    broken = board.answer('/run?name=broken')[2]
    assert 'alt="photo a"' in broken and 'map of class 0 in a' in broken
    assert 'alt="photo b"' not in broken, 'a file that is not whole is left out'
    errors = board.answer('/file?name=group/finished&stage=errors&file=errors.html')[2]
    assert errors == (root / 'group/finished/errors/errors.html').read_text('utf-8')


def test_cards_filter_runs_and_numbers(root) -> None:
    board = Board(root)
    everything = board.answer('/')[2]
    assert 'name="threshold"' in everything and '2 of 2 main results' in everything
    assert '3 work dirs' in everything
    masks = board.answer(f'/?threshold={quote("these masks")}')[2]
    assert '1 of 1 main results' in masks and '1 work dirs' in masks
    assert 'maps_score' in masks and 'pseudo_score' not in masks
    nothing = board.answer('/?threshold=nonsense&unknown=x')[2]
    assert (
        '<option value="nonsense" selected="">' in nothing
        and 'work dirs' not in nothing
    )


def test_names_are_text(root) -> None:
    folder = root / 'a<b>&"c'
    begun(folder, 'stage', MARKUP, done=True, metrics={MARKUP: 1.0, 'miou': 3.0})
    save_json(folder / 'experiment.json', dict(experiment=MARKUP))
    board = Board(root)
    for target in ('/', f'/run?name={quote(folder.name)}'):
        status, _, page = board.answer(target)
        assert status == 200 and 'alert(1)' in page and MARKUP not in page
        assert page.count('<script') == 1 and 'a&lt;b&gt;' in page


OUTSIDE = [
    '/../../etc/passwd',
    '/%2e%2e/%2e%2e/etc/passwd',
    '//etc/passwd',
    '/board.js/../server.py',
    '/run?name=../secret',
    '/run?name=/etc',
    '/run?name=group',
    '/run',
    '/run?name=%00',
    '/file?name=../secret&stage=errors&file=errors.html',
    '/file?name=group/finished&stage=../../../secret/errors&file=errors.html',
    '/file?name=group/finished&stage=errors&file=../record.json',
    '/file?name=group/finished&stage=errors&file=record.json',
    '/file?name=group/finished&stage=leaves&file=errors.html',
    '/file?name=group/finished&stage=pseudo&file=errors.html',
    '/[',
    'http://[/',
]


@pytest.mark.parametrize('target', OUTSIDE)
def test_nothing_outside_of_the_root_is_served(root, target: str) -> None:
    secret = root.parent / 'secret'
    begun(secret, 'errors', done=True)
    (secret / 'errors/errors.html').write_text('a secret')
    (root / 'group/finished/leaves').symlink_to(
        secret / 'errors', target_is_directory=True
    )
    status, _, text = Board(root).answer(target)
    assert status == 404 and 'secret' not in text and 'root:' not in text


@pytest.fixture
def served(root) -> Iterator[tuple[Path, int]]:
    server = make_server(root)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield root, server.server_address[1]
    server.shutdown()
    server.server_close()
    thread.join()


def ask(port: int, target: str = '/', host: str | None = None, method: str = 'GET'):
    connection = http.client.HTTPConnection('127.0.0.1', port, timeout=20)
    connection.putrequest(method, target, skip_host=True)
    for each in [f'127.0.0.1:{port}'] if host is None else host.split('\n'):
        connection.putheader('Host', each)
    connection.endheaders()
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    return answer, text


def test_it_answers_to_this_machine_alone(served) -> None:
    _, port = served
    for host in (f'localhost:{port}', 'LOCALHOST', '127.0.0.1:9999', f'[::1]:{port}'):
        assert ask(port, host=host)[0].status == 200
    evil = ('evil.example', f'evil.example:{port}', f'127.0.0.1.evil.example:{port}')
    for host in (*evil, '', '127.0.0.1@evil.example', 'localhost\nevil.example'):
        answer, text = ask(port, host=host)
        assert answer.status == 403 and 'finished' not in text
    with pytest.raises(OSError), socket.create_connection(('127.0.0.2', port), 2):
        pass


def test_headers_and_methods(served) -> None:
    _, port = served
    answer, text = ask(port)
    assert "script-src 'self'" in answer.headers['Content-Security-Policy']
    assert answer.headers['X-Content-Type-Options'] == 'nosniff'
    assert answer.headers['Access-Control-Allow-Origin'] is None
    assert int(answer.headers['Content-Length']) == len(text.encode())
    head, nothing = ask(port, method='HEAD')
    assert head.status == 200 and nothing == ''
    assert ask(port, method='POST')[0].status == 501
    assert (
        ask(port, '/board.js')[0].headers['Content-Type'].startswith('text/javascript')
    )


def test_a_page_that_fails_is_one_line_and_the_board_goes_on(
    served, monkeypatch, capsys
) -> None:
    _, port = served
    with monkeypatch.context() as patch:
        patch.setattr('wsss_plugins.board.page.index', lambda *_: 1 / 0)
        answer, text = ask(port)
    assert answer.status == 500 and text.count('\n') == 1
    assert capsys.readouterr().err == 'board: ZeroDivisionError: division by zero\n'
    assert ask(port)[0].status == 200


def test_a_taken_port_and_a_missing_folder_are_one_line(served) -> None:
    root, port = served
    with pytest.raises(UserError, match=f'port {port} .* choose another with --port'):
        make_server(root, port)
    with pytest.raises(UserError, match='port 70000 '):
        make_server(root, 70000)
    with pytest.raises(UserError, match='is no folder'):
        make_server(root / 'none')


BROWSER = next(filter(None, map(shutil.which, ('chromium', 'chromium-browser'))), None)


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason='chromium is not installed')
def test_a_browser_shows_what_changes_by_itself(root, tmp_path, monkeypatch) -> None:
    """The run that is under way ends after the first answer, without a reload."""
    asked = []

    def answer(self: Board, target: str):
        asked.append(target)
        if asked.count('/') == 2:
            record = StageRecord.load(root / 'live/classifier')
            record.done, record.metrics = True, dict(miou=12.345)
            record.save(root / 'live/classifier')
            (root / 'live/.lock').unlink(missing_ok=True)
        return real(self, target)

    real = Board.answer
    monkeypatch.setattr(Board, 'answer', answer)
    server = make_server(root)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    command = [
        BROWSER, '--headless', '--no-sandbox', '--disable-gpu', '--dump-dom',
        '--disable-background-networking', f'--user-data-dir={tmp_path}/browser',
        '--virtual-time-budget=8000', '--window-size=390,844',
        f'http://127.0.0.1:{server.server_address[1]}/',
    ]  # fmt: skip
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
    assert asked.count('/') >= 2 and '/board.js' in asked
    assert 'Running now' not in done.stdout and '12.3' in done.stdout
    assert 'Live: what has changed' in done.stdout
