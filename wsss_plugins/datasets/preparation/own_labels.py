"""Turns annotations of one's own photos into a folder that ``FolderWSSS`` reads."""

from __future__ import annotations

import csv
import shutil
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, ImageOps

from wsss_plugins.datasets.annotations.marked import (
    is_background,
    is_ignored,
    label_map,
)
from wsss_plugins.datasets.files import check_class_count, read_lines
from wsss_plugins.datasets.folder import CLASSES_FILE
from wsss_plugins.datasets.photos import is_turned, opened_image
from wsss_plugins.datasets.preparation.own_photos import (
    IMAGES,
    MASKS,
    Photo,
    collect,
    is_inside,
    with_split,
)
from wsss_plugins.datasets.preparation.tree import Prepared, Tree
from wsss_plugins.datasets.tag_table import check_names
from wsss_plugins.errors import DataError, near_names
from wsss_plugins.structures import atomic_path, save_label_map

TABLE = 'photos.csv'
DIVIDERS = frozenset(';|,')


def prepare_labels(
    format: str,
    sources: Sequence[str | Path],
    out: Path | str,
    images: Path | str | None = None,
    names: Path | str | None = None,
    classes: Path | str | None = None,
    masks: bool = True,
    skip_missing: bool = False,
    include_unlabelled: bool = False,
    copy: bool = False,
    workers: int | None = None,
) -> Prepared:
    """Writes a table of tags, the list of classes, and masks where shapes are known.

    All annotations are read and their photos found before anything is written.

    Args:
        format: 'coco', 'voc', 'labelme' or 'yolo'.
        sources: JSON files of COCO, or folders of the other formats; 'val=PATH' puts the
            photos of PATH into the split 'val'.
        out: The folder to make; it may have the photos already, in ``images``.
        images: The folder of the photos; by default looked for beside the annotations.
        names: For 'yolo': the file with the names of the classes.
        classes: A file with the classes to take, one a line, in their order; by default
            all that are marked, in the order of the format or of the alphabet.
        masks: Whether to draw masks.
        skip_missing: Leave out annotations whose photo is not there.
        include_unlabelled: Take photos without annotation as showing no class.
        copy: Copy the photos; by default they are linked to.
        workers: Threads that draw.

    Returns:
        The folder, and how many there are of what.

    Raises:
        DataError: An annotation is damaged, or its photo is missing, of another size, or
            annotated twice; or ``out`` has other files.
    """
    found = collect(
        format,
        [with_split(source) for source in sources],
        None if images is None else Path(images),
        None if names is None else Path(names),
        skip_missing,
        include_unlabelled,
    )
    photos, counts = found.photos, found.counts
    chosen = _classes(photos, found.classes, classes, counts)
    options = dict(
        format=format, annotations=found.digests, classes=chosen, masks=masks,
        photos=len(photos),
    )  # fmt: skip
    tree = Tree(Path(out), 'labels', (), options, copy, workers)
    tree.in_place = all(is_inside(photo, tree.root) for photo in photos)
    own = [TABLE, CLASSES_FILE, MASKS]
    done = tree.begin(own if tree.in_place else [*own, IMAGES])
    return _write(tree, photos, chosen, masks, counts) if done is None else done


def _classes(
    photos: Sequence[Photo],
    order: Collection[str],
    wanted: Path | str | None,
    counts: Counter[str],
) -> list[str]:
    """The classes of the new data set, in order.

    Raises:
        DataError: No class is marked, ``wanted`` names one that is not known, or a name
            cannot be a class.
    """
    marked = Counter(
        m.name for p in photos if p.annotation for m in p.annotation.objects
    )
    known = [n for n in (order or sorted(marked)) if not _is_reserved(n)]
    used = [name for name in known if marked[name]]
    if not used:
        raise DataError(
            f'nothing is marked in the {len(photos)} photos: classes that the '
            f'annotations declare are {", ".join(known) or "none"}'
        )
    chosen = used if wanted is None else read_lines(Path(wanted))
    strange = [name for name in chosen if name not in known]
    if strange:
        raise DataError(
            f"{wanted} lists the class '{strange[0]}', which the annotations do not know: "
            f'{near_names(strange[0], known)}'
        )
    counts['classes_without_objects'] += len(known) - len(used)
    counts['objects_of_other_classes'] += sum(
        marked[n] for n in used if n not in chosen
    )
    where = 'the annotations' if wanted is None else str(wanted)
    check_names(chosen, where)
    check_class_count(len(chosen), where)
    return chosen


def _is_reserved(name: str) -> bool:
    return is_background(name) or is_ignored(name)


def _write(
    tree: Tree,
    photos: Sequence[Photo],
    classes: Sequence[str],
    masks: bool,
    counts: Counter[str],
) -> Prepared:
    """Writes photos, masks, classes and, last, the table."""
    values = {name: value for value, name in enumerate(classes, 1)}
    shapes = masks and any(
        m.shape and not m.ignored and m.name in values
        for p in photos
        if p.annotation
        for m in p.annotation.objects
    )
    drawn: list[bool] = []

    def write(photo: Photo) -> None:
        """Links to one photo and draws its mask."""
        target = tree.root / IMAGES / photo.name
        if not tree.in_place and not target.is_file():
            with atomic_path(target) as part:
                if tree.copy:
                    shutil.copyfile(photo.path, part)
                else:
                    tree.link(part, photo.path.resolve())
        if shapes:
            mask = _mask(photo, values)
            if mask is not None:
                path = tree.root / MASKS / Path(photo.name).with_suffix('.png')
                save_label_map(path, mask)
                drawn.append(True)

    tree.each(photos, write, 'photos', len(photos))
    with atomic_path(tree.root / CLASSES_FILE) as part:
        part.write_text(''.join(f'{name}\n' for name in classes), 'utf-8')
    tags = [_tags(photo, classes) for photo in photos]
    _write_table(tree.root / TABLE, photos, tags, classes)
    found = dict(
        photos=len(photos),
        photos_without_tags=sum(not each for each in tags),
        masks=len(drawn),
        **{key: number for key, number in counts.items() if number},
    )
    return tree.finish(found, checksums=False)


def _tags(photo: Photo, classes: Sequence[str]) -> list[str]:
    """The classes that are marked in a photo, in their order."""
    if photo.annotation is None:
        return []
    shown = {m.name for m in photo.annotation.objects}
    return [name for name in classes if name in shown]


def _write_table(
    path: Path,
    photos: Sequence[Photo],
    tags: Sequence[Sequence[str]],
    classes: Sequence[str],
) -> None:
    """Writes the table: a column of tags, or one for each class where a name has ';'."""
    columns = any(DIVIDERS & set(name) for name in classes)
    splits = any(photo.split for photo in photos)
    head = ['file', *(['split'] if splits else []), *(classes if columns else ['tags'])]
    if len({name.casefold() for name in head}) < len(head):
        raise DataError(
            "a class has the name of a column ('file', 'split' or 'tags'), and another a "
            "';', '|' or ',' in its name: rename one of them"
        )
    with (
        atomic_path(path) as part,
        part.open('w', encoding='utf-8', newline='') as file,
    ):
        table = csv.writer(file, lineterminator='\n')
        table.writerow(head)
        for photo, shown in zip(photos, tags, strict=True):
            cells = [str(int(name in shown)) for name in classes]
            table.writerow(
                [
                    photo.name,
                    *([photo.split] if splits else []),
                    *(cells if columns else [';'.join(shown)]),
                ]
            )


def _mask(photo: Photo, values: Mapping[str, int]) -> np.ndarray | None:
    """The mask of a photo, or None where its pixels are not known.

    Raises:
        DataError: The annotation is of another size than the photo, or cannot be drawn.
    """
    if photo.annotation is None:
        return None
    stated, where = photo.annotation.size, photo.annotation.where
    with opened_image(photo.path) as image:
        raw = image.size[::-1]
        turned = raw[::-1] if is_turned(image) else raw
        orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
    if stated not in (None, raw, turned):
        raise DataError(
            f'{where} is of a photo of {stated[0]} x {stated[1]} (H x W), and '
            f'{photo.path} is {turned[0]} x {turned[1]}: give the photos that were '
            'annotated, or leave masks out with --no-masks'
        )
    unturned = stated == raw != turned
    try:
        mask = label_map(photo.annotation.objects, values, raw if unturned else turned)
    except DataError as error:
        raise DataError(f'{where}: {error}') from error
    if mask is None or not unturned:
        return mask
    picture = Image.fromarray(mask)
    picture.getexif()[ExifTags.Base.Orientation] = orientation
    return np.asarray(ImageOps.exif_transpose(picture))
