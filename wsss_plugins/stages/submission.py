"""Writes and checks the archive that the test server of Pascal VOC accepts.

The masks of VOC's test images are not public; only the server can score predictions of
them. The devkit (Everingham et al., VOC2012 Development Kit, section 5) requires one
indexed PNG per image, in ``results/VOC2012/Segmentation/comp6_test_cls/<id>.png``.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import re
import tarfile
import tempfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from wsss_plugins.datasets import WSSSDataset
from wsss_plugins.datasets.voc12 import VOC_CLASSES, VOC_COUNTS
from wsss_plugins.engine.stage import Stage
from wsss_plugins.engine.workers import barrier, rank
from wsss_plugins.errors import ConfigError, DataError
from wsss_plugins.registry import DATASETS, STAGES, build_as
from wsss_plugins.structures import atomic_path, load_label_map, save_label_map
from wsss_plugins.structures.decoding import decoding
from wsss_plugins.structures.layout import label_path
from wsss_plugins.structures.measured import Measured

Sizes = Mapping[str, tuple[int, int]]
"""``(H, W)`` of the photo of every id that an archive must hold."""

COMPETITIONS = {
    5: "trained on VOC 2012's own images and labels only",
    6: 'trained on anything else too: weights of ImageNet or COCO, the images of SBD',
}
"""The two segmentation competitions, ``comp5`` and ``comp6``."""

ARCHIVE = 'submission.tar.gz'
VOC_TEST_IDS = '7d323bb3448fa174b9194953e01dfd168c9890adb30dd2491a66536edbeca0aa'
"""SHA-256 of the official test ids, sorted, one per line."""

MOST_BYTES = 2**24
"""Number of bytes to read of a file in an archive; every label map is smaller."""

_MEMBER = re.compile(
    r'results/VOC2012/Segmentation/comp(?P<comp>[56])_test_cls/(?P<id>[^/]+)\.png'
)
_FOLDERS = re.compile(
    r'results(/VOC2012(/Segmentation(/comp[56]_test_cls)?)?)?', re.ASCII
)


@STAGES.register_module()
class SubmissionStage(Stage):
    """Packs predictions of VOC's test images for its server, in ``submission.tar.gz``.

    Args:
        name: Name of the stage.
        labels: Name of the stage that predicted ``labels/<id>.png``.
        dataset: Config of the test images, ``dict(type=VOC12, split='test',
            labels=None, ...)``.
        competition: Number of the competition, a key of :data:`COMPETITIONS`.

    Raises:
        ConfigError: ``competition`` is neither 5 nor 6.
    """

    reads_masks = False

    def __init__(
        self, name: str, labels: str, dataset: dict[str, Any], competition: int = 6
    ) -> None:
        super().__init__(name)
        folder_of(competition)
        self.labels = labels
        self.inputs = (labels,)
        self.dataset = dict(dataset, test_mode=True)
        self.competition = competition

    def run(self, out: Path, inputs: dict[str, Path]) -> dict[str, Any]:
        """Writes the archive."""
        dataset = build_as(DATASETS, self.dataset, WSSSDataset)
        if rank() == 0:
            write_archive(out / ARCHIVE, inputs[self.labels], dataset, self.competition)
        barrier()
        size = (out / ARCHIVE).stat().st_size
        return dict(images=len(dataset), megabytes=round(size / 1e6, 3))

    def measured(self) -> Measured:
        """Declares the test images and the competition."""
        words = f'comp{self.competition}: {COMPETITIONS[self.competition]}'
        return Measured(images=self.dataset, details=dict(competition=words))


def folder_of(competition: int) -> str:
    """Folder of the PNG files in the archive of a competition.

    Raises:
        ConfigError: ``competition`` is neither 5 nor 6.
    """
    if competition not in COMPETITIONS:
        raise ConfigError(
            f'competition must be 5 or 6, not {competition!r}: '
            + '; '.join(
                f'{key} is for a model {text}' for key, text in COMPETITIONS.items()
            ),
            token='competition',
        )
    return f'results/VOC2012/Segmentation/comp{competition}_test_cls'


def photo_sizes(dataset: WSSSDataset) -> dict[str, tuple[int, int]]:
    """``(H, W)`` of every test image, by id.

    Raises:
        DataError: The data set has the classes of VOC, and its ids are not those of the
            official test list.
    """
    ids = dataset.ids
    if dataset.foreground_classes == VOC_CLASSES:
        lines = '\n'.join(sorted(ids)).encode()
        if hashlib.sha256(lines).hexdigest() != VOC_TEST_IDS:
            raise DataError(
                f"split '{dataset.split}' lists {len(ids)} images, which are not the "
                f'{VOC_COUNTS["test"]} of the official test list: the server takes those '
                'only, each once; unpack VOC2012test.tar'
            )
    return {name: dataset.image_size(i) for i, name in enumerate(ids)}


def write_archive(
    path: Path, labels: Path, dataset: WSSSDataset, competition: int
) -> None:
    """Writes the archive; equal label maps give equal bytes.

    The file is complete or not written.

    Args:
        path: The ``.tar.gz`` to write.
        labels: Folder of the stage with ``labels/<id>.png``.
        dataset: The test images.
        competition: Number of the competition, a key of :data:`COMPETITIONS`.

    Raises:
        DataError: A label map is missing, in colour, not of the size of its photo, or has
            a value that is no class.
    """
    folder = folder_of(competition)
    sizes = photo_sizes(dataset)
    classes = len(dataset.metainfo['classes'])
    missing = [name for name in sizes if not label_path(labels, name).is_file()]
    if missing:
        more = f' (and {len(missing) - 1} more)' if len(missing) > 1 else ''
        raise DataError(
            f"the prediction of test image '{missing[0]}'{more} is missing in "
            f'{labels / "labels"}: predict all {len(sizes)} images first'
        )
    with (
        atomic_path(path) as part,
        part.open('wb') as file,
        gzip.GzipFile(filename='', mode='wb', fileobj=file, mtime=0) as stream,
        tarfile.open(fileobj=stream, mode='w', format=tarfile.USTAR_FORMAT) as archive,
    ):
        for name in sorted(sizes):
            content = _palette_png(label_path(labels, name))
            check_png(content, f'{name}.png', sizes[name], classes)
            member = tarfile.TarInfo(f'{folder}/{name}.png')
            member.size, member.mode = len(content), 0o644
            archive.addfile(member, io.BytesIO(content))


def _palette_png(path: Path) -> bytes:
    """Bytes of a label map as a palette PNG; a grey PNG is converted."""
    label = load_label_map(path)
    with Image.open(path) as image:
        if image.format == 'PNG' and image.mode == 'P':
            return path.read_bytes()
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / 'label.png'
        save_label_map(copy, label)
        return copy.read_bytes()


def check_archive(path: Path, sizes: Sizes, num_classes: int) -> int:
    """Checks whether the server would accept an archive.

    Args:
        path: A ``.tar.gz``.
        sizes: ``(H, W)`` of the photo of every id that the archive must hold.
        num_classes: Number of labels, including the background; 21 for VOC.

    Returns:
        Number of the competition, 5 or 6.

    Raises:
        DataError: The archive is damaged; or a file in it is missing, superfluous,
            listed twice, misplaced, not a palette PNG, of a wrong size, or has a value
            that is not a class.
    """
    found: dict[str, int] = {}
    for member, content in _members(path):
        named = _MEMBER.fullmatch(member)
        if named is None or named['id'] not in sizes:
            raise DataError(
                f'{path} holds {member}, which is no test image: it must hold '
                f'{folder_of(6)}/<id>.png (or comp5) of the {len(sizes)} test ids only'
            )
        name = named['id']
        if name in found:
            raise DataError(f"{path} holds the image '{name}' twice: write it again")
        check_png(content, f'{path}: {member}', sizes[name], num_classes)
        found[name] = int(named['comp'])
    missing = [name for name in sizes if name not in found]
    if missing:
        raise DataError(
            f"{path} holds {len(found)} of {len(sizes)} test images: '{missing[0]}' is "
            'missing; predict it and write the archive again'
        )
    if len(set(found.values())) > 1:
        raise DataError(f'{path} holds images of both comp5 and comp6: keep one folder')
    return next(iter(found.values()))


def _members(path: Path) -> Iterator[tuple[str, bytes]]:
    """Name and content of every file of an archive; folders are skipped."""
    try:
        with (
            gzip.open(path) as stream,
            tarfile.open(fileobj=stream, mode='r:') as archive,
        ):
            for member in archive:
                name = member.name.removeprefix('./')
                if member.isdir() and (_FOLDERS.fullmatch(name) or name == '.'):
                    continue
                file = archive.extractfile(member) if member.isreg() else None
                if file is None:
                    raise DataError(f'{path} holds {name}, which is no plain file')
                yield name, file.read(MOST_BYTES)
            while stream.read(2**20):  # reads on to gzip's checksum
                pass
    except FileNotFoundError as error:
        raise DataError(f'archive {path} does not exist') from error
    except (tarfile.TarError, EOFError, zlib.error, OSError) as error:
        raise DataError(f'{path} is no whole .tar.gz ({error})') from error


def check_png(
    content: bytes, where: str, size: tuple[int, int], num_classes: int
) -> None:
    """Checks one PNG of an archive.

    Args:
        content: Bytes of the file.
        where: Name of the file, for messages.
        size: ``(H, W)`` that the image must have.
        num_classes: Number of labels, including the background.

    Raises:
        DataError: ``content`` is no palette PNG, its size is not ``size``, or it has a
            value of ``num_classes`` or more.
    """
    with decoding(where, 'write it again'):
        with Image.open(io.BytesIO(content), formats=('PNG',)) as image:
            if image.mode != 'P':
                raise DataError(
                    f'{where} is a PNG of mode {image.mode}: the server takes palette PNG, '
                    'whose pixels are the numbers of the classes'
                )
            if image.size != size[::-1]:
                raise DataError(
                    f'{where} is {image.height}x{image.width} but its photo is '
                    f'{size[0]}x{size[1]}: predict at the size of the photo'
                )
            values = np.unique(np.asarray(image))
        with Image.open(io.BytesIO(content)) as image:
            image.verify()  # the checksums too
    if values[-1] >= num_classes:
        raise DataError(
            f'{where} has the value {values[-1]}: allowed are 0 to {num_classes - 1}, and '
            'no pixel may be left out (255)'
        )
