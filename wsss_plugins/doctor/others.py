"""Examining ImageNet-Segmentation, SBD as it was downloaded, and folders with a table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from wsss_plugins.datasets.folder import SPLITS, FolderWSSS
from wsss_plugins.datasets.imagenet_seg import IMAGENET_SEG_COUNT, MAT_FILE, ImageNetSeg
from wsss_plugins.datasets.look import Look, Looks
from wsss_plugins.datasets.preparation.sbd import SBD_COUNTS, read_sbd_mask
from wsss_plugins.doctor.folders import examine_folder
from wsss_plugins.doctor.pictures import Ward, examine_photos
from wsss_plugins.errors import DataError

TABLES = 'photos with a table of tags'


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
    command = f'wsss prepare voc12 VOCtrainval_11-May-2012.tar --sbd {ward.root}'
    ward.findings.add('sbd-raw', prepare=command)
    ward.facts.insert(0, f'{len(paths):,} masks')
    return 'SBD as it was downloaded'


def examine_tables(ward: Ward) -> str:
    """Reads every table of a folder with ``images/``, as training does.

    Returns:
        What it is, in a few words.
    """
    root = ward.root
    folders = [root / name for name in FolderWSSS.ground_truth_folders]
    examine_folder(ward, [root / 'images', *folders])
    sets = _folder_sets(ward)
    if not sets:
        return TABLES
    missing: set[str] = set()
    photos: dict[Path, None] = {}
    for dataset in sets:
        for i in range(len(dataset)):
            path = dataset.image_path(i)
            if path.exists():
                photos[path] = None
            else:
                missing.add(path.relative_to(dataset.folder).as_posix())
    total = len(photos) + len(missing)
    for name in sorted(missing):
        ward.findings.add(
            'photo-missing',
            name,
            folder=sets[0].folder,
            path='the tables',
            total=total,
        )
    examine_photos(ward, list(photos))
    looks = Looks(everything=not ward.quick)
    for dataset in sets:
        title = f'{dataset.tables[0].name}, {dataset.split}'
        if missing:  # a look needs the photos
            ward.facts.append(f'{title}: {len(dataset):,} images')
        else:
            _note(ward, looks(dataset, title))
    for folder in folders:
        if folder.is_dir() and not missing:
            _examine_own_masks(ward, sets, folder, looks)
    return TABLES


def _folder_sets(ward: Ward) -> list[FolderWSSS]:
    """The data sets of all tables; a table that training refuses becomes a finding."""
    tables = sorted(ward.root.glob('*.[cC][sS][vV]'))
    if len(tables) == 1 and tables[0].stem not in SPLITS:
        wanted = ['all', *SPLITS]
    else:
        wanted = [path.stem for path in tables]
    found: list[FolderWSSS] = []
    for split in wanted:
        try:
            found.append(FolderWSSS(ward.root, split, require_images=False))
        except DataError as error:
            if found and wanted[0] == 'all':
                continue  # the table has no such split
            ward.findings.add(
                'table-broken',
                message=str(error),
                mend='correct the table as the message says',
            )
            if wanted[0] == 'all':
                break
    return found


def _examine_own_masks(
    ward: Ward, sets: Sequence[FolderWSSS], folder: Path, looks: Looks
) -> None:
    """Masks of one folder, as an evaluation reads them."""
    masks: dict[str, Any] = dict(
        label_maps=folder.name, only_with_maps=True, test_mode=True
    )
    for each in sets[:1] if sets[0].split == 'all' else sets:
        try:
            dataset = FolderWSSS(ward.root, each.split, **masks)
        except DataError as error:
            ward.findings.add('masks', message=str(error))
            continue
        _note(ward, looks(dataset, f'{folder.name} of {each.split}'))


def _note(ward: Ward, look: Look) -> None:
    """Enters a look into the facts and findings."""
    ward.facts.append(look.lines()[0])
    for problem in look.problems:
        ward.findings.add('masks', message=problem)
    for doubt in look.doubts:
        ward.findings.add('doubt', message=doubt)
