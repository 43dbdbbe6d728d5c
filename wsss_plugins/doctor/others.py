"""Examining ImageNet-Segmentation, SBD as it was downloaded, and folders with a table."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from pathlib import Path

from wsss_plugins.datasets.folder import FolderWSSS
from wsss_plugins.datasets.imagenet_seg import IMAGENET_SEG_COUNT, MAT_FILE, ImageNetSeg
from wsss_plugins.datasets.preparation.sbd import SBD_COUNTS, read_sbd_mask
from wsss_plugins.doctor.folders import examine_folder, find_photos
from wsss_plugins.doctor.pictures import Ward, examine_masks, examine_photos, names_in
from wsss_plugins.errors import DataError


def examine_imagenet_seg(ward: Ward) -> str:
    """Reads ``gtsegs_ijcv.mat``, whole or in part.

    Returns:
        What it is, in a few words.
    """
    examine_folder(ward, [])
    path = ward.root / MAT_FILE
    try:
        dataset = ImageNetSeg(ward.root, label_maps='gt', test_mode=True)
    except DataError as error:
        ward.findings.add('file-broken', message=str(error))
        return 'ImageNet-Segmentation'
    ward.count(path, len(dataset), IMAGENET_SEG_COUNT)

    def look(index: int) -> None:
        """Notes an image that is broken or has a mask of another size."""
        try:
            image, mask = dataset.load_image(index), dataset.load_mask(index)
        except DataError:
            name = dataset.ids[index]
            ward.findings.add('image-broken', name, path=path, total=len(chosen))
            return
        if image.shape[:2] != mask.shape:
            ward.findings.add('mask-size', dataset.ids[index], folder=path)

    chosen = ward.sample(range(len(dataset)))
    ward.each(look, chosen, 'images and masks')
    classes = len(dataset.foreground_classes)
    ward.facts.insert(0, f'{len(dataset):,} images of {classes:,} classes')
    return 'ImageNet-Segmentation'


def examine_sbd(ward: Ward) -> str:
    """Reads the MATLAB files of ``cls/``.

    Returns:
        What it is, in a few words.
    """
    folder = ward.root / 'cls'
    examine_folder(ward, [folder, ward.root / 'img'])
    paths = sorted(p for p in folder.glob('*.mat') if not p.name.startswith('.'))
    official = sum(SBD_COUNTS.values())
    if len(paths) != official:
        ward.findings.add(
            'sbd-count', folder=folder, found=len(paths), official=official
        )

    def look(path: Path) -> None:
        """Notes a mask of SBD that is broken."""
        try:
            read_sbd_mask(path.read_bytes(), str(path))
        except (DataError, OSError):
            ward.findings.add('sbd-broken', path.name, folder=folder)

    ward.each(look, ward.sample(paths), 'masks of SBD')
    command = f'python tools/prepare_data.py voc12 VOCtrainval_11-May-2012.tar --sbd {ward.root}'
    ward.findings.add('sbd-raw', prepare=command)
    ward.facts.insert(0, f'{len(paths):,} masks')
    return 'SBD as it was downloaded'


def examine_tables(ward: Ward) -> str:
    """Reads every table of a folder with ``images/``.

    Returns:
        What it is, in a few words.
    """
    root = ward.root
    masks = [root / name for name in FolderWSSS.ground_truth_folders]
    examine_folder(ward, [root / 'images', *masks])
    listed, tags = set[str](), set[str]()
    for path in sorted(root.glob('*.csv')):
        rows = _rows(ward, path)
        listed |= set(rows)
        tags |= {tag for found in rows.values() for tag in found}
        ward.facts.append(f'{path.name}: {len(rows):,} images')
    photos = find_photos(ward, root / 'images', sorted(listed), 'the tables')
    sizes = examine_photos(ward, photos)
    for name in names_in(root / 'images'):
        if (
            name not in listed
            and name[:1] != '.'
            and (root / 'images' / name).is_file()
        ):
            ward.findings.add('photo-unlisted', name, folder=root / 'images')
    for folder in masks:
        paths = sorted(p for p in folder.glob('*.png') if not p.name.startswith('.'))
        examine_masks(ward, paths, sizes, 1 + len(tags))
        ward.facts += [f'{folder.name}: {len(paths):,} masks'] if paths else []
    ward.facts.append(f'{len(tags):,} classes: {", ".join(sorted(tags)[:12])}')
    return 'photos with a table of tags'


def _rows(ward: Ward, path: Path) -> dict[str, set[str]]:
    """Image-level labels by file in one table."""
    mend = 'save it as CSV in UTF-8, divided by commas, with the first line file,tags'
    try:
        text = path.read_text('utf-8-sig')
    except (OSError, UnicodeDecodeError) as error:
        ward.findings.add(
            'table-broken', message=f'{path} cannot be read ({error})', mend=mend
        )
        return {}
    first = text.split('\n', 1)[0].strip()
    reader = csv.DictReader(io.StringIO(text))
    if not {'file', 'tags'} <= set(reader.fieldnames or ()):
        message = f"{path} begins with '{first[:40]}' instead of file,tags"
        ward.findings.add('table-broken', message=message, mend=mend)
        return {}
    rows: dict[str, set[str]] = {}
    stems: Counter[str] = Counter()
    for row in reader:
        name = (row['file'] or '').strip()
        rows[name] = {
            t.strip() for t in re.split('[;|]', row['tags'] or '') if t.strip()
        }
        stems[Path(name).stem] += 1
    for stem, count in stems.items():
        if count > 1:
            ward.findings.add('table-twice', stem, path=path)
    spelt: dict[str, set[str]] = {}
    for found in rows.values():
        for tag in found:
            spelt.setdefault(tag.lower(), set()).add(tag)
    for tags in spelt.values():
        if len(tags) > 1:
            ward.findings.add('tag-case', ' and '.join(sorted(tags)), path=path)
    return rows
