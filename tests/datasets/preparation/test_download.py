"""Archives from a server on the loopback address: whole, interrupted, changed, refused."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from wsss_plugins.datasets.preparation import download
from wsss_plugins.datasets.preparation.download import Archive, archives_of, fetch_all
from wsss_plugins.errors import DataError

BODY = bytes(range(256)) * 20_000  # 5 MB
MD5 = hashlib.md5(BODY).hexdigest()
NAME = 'photos.tar'
PART = f'.{NAME}.part'


@dataclass
class Host:
    """A server, what it does, and what it was asked."""

    address: str = ''
    body: bytes = BODY
    tag: str | None = '"one"'
    ranges: bool = True
    cut_at: int | None = None
    status: int = 200
    asked: list[str] = field(default_factory=list)

    def archive(self, **options: object) -> Archive:
        page = 'http://photos.example'
        return Archive(**dict(name=NAME, url=self.address + NAME, page=page) | options)


def handler(host: Host) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked = self.headers['Range']
            host.asked.append(f'{self.path} {asked}')
            begin = 0
            if asked and host.ranges and self.headers['If-Range'] == host.tag:
                begin = int(asked.removeprefix('bytes=').removesuffix('-'))
            status = 206 if begin else host.status
            if begin >= len(host.body):
                status = 416
            self.send_response(status)
            if host.tag:
                self.send_header('ETag', host.tag)
            if status == 416:
                self.send_header('Content-Range', f'bytes */{len(host.body)}')
            rest = host.body[begin:] if status in (200, 206) else b''
            self.send_header('Content-Length', str(len(rest)))
            self.end_headers()
            self.wfile.write(rest[: host.cut_at])

        def log_message(self, *_: object) -> None:
            pass

    return Handler


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    monkeypatch.setenv('no_proxy', '127.0.0.1')
    host = Host()
    server = ThreadingHTTPServer(('127.0.0.1', 0), handler(host))
    host.address = f'http://127.0.0.1:{server.server_port}/'
    server.handle_error = lambda *_: None  # a client that has left
    thread = threading.Thread(
        target=server.serve_forever, kwargs=dict(poll_interval=0.01)
    )
    thread.start()
    yield host
    server.shutdown()
    thread.join()
    server.server_close()


def interrupt(host: Host, folder: Path) -> None:
    """A download whose connection ends after 2,000,000 bytes."""
    host.cut_at = 2_000_000
    with pytest.raises(
        DataError, match=r'cannot be fetched .* which goes on where it st'
    ):
        fetch_all([host.archive(md5=MD5)], folder)
    host.cut_at = None
    assert (folder / PART).stat().st_size == 2_000_000
    assert not (folder / NAME).exists()


def test_a_file_is_fetched_once(host: Host, tmp_path: Path) -> None:
    for _ in range(2):
        (path,) = fetch_all([host.archive(md5=MD5)], tmp_path / 'a/b')
        assert path == tmp_path / 'a/b' / NAME and path.read_bytes() == BODY
    assert host.asked == [f'/{NAME} None']
    assert [p.name for p in path.parent.iterdir()] == [NAME]


def test_an_interrupted_download_goes_on(host: Host, tmp_path: Path) -> None:
    interrupt(host, tmp_path)
    (path,) = fetch_all([host.archive(md5=MD5)], tmp_path)
    assert path.read_bytes() == BODY
    assert host.asked == [f'/{NAME} None', f'/{NAME} bytes=2000000-']


@pytest.mark.parametrize(
    'change',
    [
        dict(tag='"two"', body=BODY[::-1]),
        dict(ranges=False, body=BODY[::-1]),
        dict(tag=None, body=BODY[::-1]),
    ],
    ids=['another file', 'no ranges', 'no tag'],
)
def test_it_begins_anew_where_it_cannot_go_on(
    host: Host, tmp_path: Path, change: dict[str, object]
) -> None:
    interrupt(host, tmp_path)
    for name, value in change.items():
        setattr(host, name, value)
    (path,) = fetch_all([host.archive()], tmp_path)
    assert path.read_bytes() == BODY[::-1]


def test_a_file_that_was_whole_but_not_renamed_is_taken(
    host: Host, tmp_path: Path
) -> None:
    interrupt(host, tmp_path)
    (tmp_path / PART).write_bytes(BODY)
    (path,) = fetch_all([host.archive(md5=MD5)], tmp_path)
    assert path.read_bytes() == BODY


def test_another_checksum_is_refused_and_nothing_is_overwritten(
    host: Host, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=f'not the published {NAME}, whose MD5 is 00'):
        fetch_all([host.archive(md5='00')], tmp_path)
    assert not any(tmp_path.iterdir()) or not (tmp_path / NAME).exists()
    (tmp_path / NAME).write_bytes(b'mine')
    with pytest.raises(DataError, match='move it away'):
        fetch_all([host.archive(md5=MD5)], tmp_path)
    assert (tmp_path / NAME).read_bytes() == b'mine'


def test_what_cannot_be_fetched_is_said_with_where_to_get_it(
    host: Host, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    host.status = 404
    with pytest.raises(DataError) as raised:
        fetch_all([host.archive()], tmp_path)
    assert str(raised.value) == (
        f'{host.address}{NAME} cannot be fetched (Not Found): give the same command again, '
        f'which goes on where it stopped, or get it from http://photos.example and put it '
        f'into {tmp_path}'
    )
    assert fetch_all([host.archive(url='', needed=False)], tmp_path) == []
    assert f'get it from http://photos.example and put it into {tmp_path}' in (
        capsys.readouterr().err
    )


def test_a_mirror_is_a_folder_or_an_address(host: Host, tmp_path: Path) -> None:
    """Files of a folder are used where they are."""
    given, kept = tmp_path / 'given', tmp_path / 'kept'
    given.mkdir()
    with pytest.raises(DataError, match=f'{given} has no {NAME}: get it from http'):
        fetch_all([host.archive()], kept, str(given))
    (given / NAME).write_bytes(BODY)
    assert fetch_all([host.archive(md5=MD5)], kept, str(given)) == [given / NAME]
    assert host.asked == [] and not kept.exists()
    elsewhere = host.archive(url='http://nowhere.invalid/x')
    assert fetch_all([elsewhere], kept, f'{host.address}voc/') == [kept / NAME]
    assert host.asked == [f'/voc/{NAME} None']


def test_a_full_disk_is_told_before_the_download(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = download.shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(download.shutil, 'disk_usage', lambda _: free)
    with pytest.raises(DataError, match=r'needs 0\.0 GB in .*, where 0\.0 GB are free'):
        fetch_all([host.archive()], tmp_path)
    assert not (tmp_path / PART).exists()


@pytest.mark.parametrize(
    ('data_set', 'names'),
    [
        ('voc12', ['VOCtrainval_11-May-2012.tar', 'VOC2012test.tar']),
        ('sbd', ['benchmark.tgz']),
        (
            'coco14',
            ['train2014.zip', 'val2014.zip', 'annotations_trainval2014.zip'],
        ),
        ('imagenet-seg', ['gtsegs_ijcv.mat']),
    ],
)
def test_archives(data_set: str, names: list[str]) -> None:
    """Those that torchvision knows have its checksums."""
    found = archives_of(data_set)
    assert [archive.name for archive in found] == names
    for archive in found:
        assert archive.page.startswith('http')
        assert bool(archive.url) == archive.needed
        assert archive.url.endswith(archive.name) or not archive.url
    assert bool(found[0].md5) == (data_set in ('voc12', 'sbd'))
