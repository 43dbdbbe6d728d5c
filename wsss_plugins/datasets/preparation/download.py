"""Fetches the archives of data sets from their hosts or from a mirror.

Addresses and checksums of VOC and SBD are those of torchvision's data sets. The files are
fetched here, since torchvision begins anew after an interruption.
"""

from __future__ import annotations

import http.client
import shutil
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from wsss_plugins.errors import DataError, unwritable
from wsss_plugins.progress import ProgressBar, say

SECONDS = 60
"""How long a host may stay silent."""

BLOCK = 1 << 20
COCO = 'https://cocodataset.org/#download'
SEGMENTED_IMAGENET = 'http://calvin-vision.net/bigstuff/proj-imagenet/data/'


@dataclass(frozen=True)
class Archive:
    """A file that people download.

    Args:
        name: Name of the file.
        url: Where it is fetched from; '' if its host gives it to people only.
        page: Where people get it.
        md5: Its published checksum; '' if there is none.
        needed: Whether the data set cannot be prepared without it.
    """

    name: str
    url: str
    page: str
    md5: str = ''
    needed: bool = True


def archives_of(data_set: str) -> tuple[Archive, ...]:
    """The archives of a data set.

    Args:
        data_set: 'voc12', 'sbd', 'coco14' or 'imagenet-seg'.
    """
    from torchvision.datasets import SBDataset
    from torchvision.datasets.voc import DATASET_YEAR_DICT

    if data_set == 'voc12':
        known = DATASET_YEAR_DICT['2012']
        page = 'http://host.robots.ox.ac.uk/pascal/VOC/voc2012/'
        server = 'http://host.robots.ox.ac.uk:8080/'
        return (
            Archive(known['filename'], known['url'], page, known['md5']),
            Archive('VOC2012test.tar', '', server, needed=False),
        )
    if data_set == 'sbd':
        page = 'http://home.bharathh.info/pubs/codes/SBD/download.html'
        return (Archive(SBDataset.filename, SBDataset.url, page, SBDataset.md5),)
    if data_set == 'coco14':
        folder = 'http://images.cocodataset.org/'
        parts = (
            'zips/train2014',
            'zips/val2014',
            'annotations/annotations_trainval2014',
        )
        files = (f'{part}.zip' for part in parts)
        return tuple(Archive(f.partition('/')[2], folder + f, COCO) for f in files)
    name = 'gtsegs_ijcv.mat'
    return (Archive(name, SEGMENTED_IMAGENET + name, SEGMENTED_IMAGENET),)


def fetch_all(
    archives: Sequence[Archive], folder: Path, mirror: str | None = None
) -> list[Path]:
    """Fetches the archives that are not in a folder yet.

    A file that is there is never written again. What an interrupted download left is
    continued.

    Args:
        archives: What to fetch.
        folder: Where files are kept.
        mirror: A folder whose files are used where they are, or an address below which
            files are fetched, in place of the hosts.

    Returns:
        Paths of the archives, without optional ones that are nowhere.

    Raises:
        DataError: An archive cannot be fetched, or has another checksum than the
            published one; the message says where to get it.
    """
    found = []
    for archive in archives:
        path = _fetch(archive, folder, mirror)
        if path is not None:
            found.append(path)
    return found


def _fetch(archive: Archive, folder: Path, mirror: str | None) -> Path | None:
    """The path of an archive; None for an optional one that cannot be fetched."""
    is_address = mirror is not None and mirror.startswith(('http://', 'https://'))
    places = [folder] if mirror is None or is_address else [Path(mirror), folder]
    for place in places:
        if (place / archive.name).is_file():
            return _checked(place / archive.name, archive)
    by_hand = f'get it from {archive.page} and put it into {places[0]}'
    if places[0] != folder and archive.needed:
        raise DataError(f'{mirror} has no {archive.name}: {by_hand}')
    url = archive.url
    if is_address:
        url = f'{mirror}'.rstrip('/') + f'/{urllib.parse.quote(archive.name)}'
    if not archive.needed and not archive.url:
        say(f'{archive.name} is not fetched: its host asks for an account; {by_hand}')
        return None
    part = folder / f'.{archive.name}.part'
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _continue(url, part, archive.name)
    except (OSError, http.client.HTTPException) as error:
        is_reply = isinstance(error, urllib.error.URLError)
        if not is_reply and (line := unwritable(error, part)):
            raise DataError(line) from error
        failed = f'{url} cannot be fetched ({getattr(error, "reason", None) or error})'
        if not archive.needed:
            say(f'{failed}; {by_hand}')
            return None
        raise DataError(
            f'{failed}: give the same command again, which goes on where it stopped, or '
            + by_hand
        ) from error
    try:
        _checked(part, archive)
    except DataError:
        part.unlink()
        raise
    part.with_suffix('.part-of').unlink(missing_ok=True)
    return part.rename(folder / archive.name)


def _checked(path: Path, archive: Archive) -> Path:
    """The path of a file that has the published checksum, where there is one.

    Raises:
        DataError: The file has another one.
    """
    from torchvision.datasets.utils import check_integrity

    if archive.md5 and not check_integrity(path, archive.md5):
        raise DataError(
            f'{path} is not the published {archive.name}, whose MD5 is {archive.md5}: '
            'move it away and give the same command again'
        )
    return path


def _continue(url: str, part: Path, name: str) -> None:
    """Writes what the host still has of a file to the end of ``part``.

    What is there is kept if it is of the same file, which the host tells by its ETag or
    date; these are kept in a file beside ``part``.

    Raises:
        OSError: The host cannot be reached, refuses, or ends the connection early; or
            the disk is full.
    """
    tag_file = part.with_suffix('.part-of')
    begun = part.stat().st_size if part.is_file() and tag_file.is_file() else 0
    request = urllib.request.Request(url, headers={'User-Agent': 'wsss_plugins'})
    if begun:
        request.add_header('Range', f'bytes={begun}-')
        request.add_header('If-Range', tag_file.read_text('utf-8'))
    try:
        answer = urllib.request.urlopen(request, timeout=SECONDS)
    except urllib.error.HTTPError as error:
        if error.headers['Content-Range'] == f'bytes */{begun}':
            return  # all of it is there
        raise
    with answer:
        if answer.status != http.client.PARTIAL_CONTENT:
            begun = 0
        tag = answer.headers['ETag'] or answer.headers['Last-Modified']
        if tag and not tag.startswith('W/'):
            tag_file.write_text(tag, 'utf-8')
        else:
            tag_file.unlink(missing_ok=True)
        length = answer.headers['Content-Length']
        total = begun + int(length) if length else None
        free = shutil.disk_usage(part.parent).free
        if total is not None and total - begun > free:
            raise DataError(
                f'{name} needs {(total - begun) / 1e9:.1f} GB in {part.parent}, where '
                f'{free / 1e9:.1f} GB are free: free some space or choose another folder '
                'with --archives'
            )
        _write(answer, part, begun, total, name)


def _write(
    answer: http.client.HTTPResponse,
    part: Path,
    begun: int,
    total: int | None,
    name: str,
) -> None:
    """Appends the body of an answer to the first ``begun`` bytes of ``part``."""
    with (
        part.open('r+b' if begun else 'wb') as file,
        ProgressBar(f'{name}, MB', (total or 0) // BLOCK) as bar,
    ):
        file.seek(begun)
        file.truncate()
        bar.begin_at(begun // BLOCK)
        while block := answer.read(BLOCK):
            file.write(block)
            bar.advance(file.tell() // BLOCK - bar.done)
        written = file.tell()
    if total is not None and written != total:
        raise OSError(f'the connection ended after {written:,} of {total:,} bytes')
