"""Finding the photos that annotations are of."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from wsss_plugins.datasets.annotations import Annotation, read_annotations
from wsss_plugins.datasets.folder import SPLITS
from wsss_plugins.datasets.photo_files import PhotoFiles, is_picture
from wsss_plugins.errors import DataError

IMAGES, MASKS = 'images', 'masks'


@dataclass(frozen=True)
class Photo:
    """One photo of the new data set.

    Attributes:
        name: Its path below ``images``.
        path: Where it is.
        split: 'train', 'val', 'test', or empty.
        annotation: What is marked in it, or None where nobody has looked at it.
    """

    name: str
    path: Path
    split: str
    annotation: Annotation | None


@dataclass
class Collected:
    """What was read of all sources.

    Attributes:
        photos: The photos, sorted by their names, each once.
        classes: Names of the classes in the order of the format, if it has one.
        digests: A hash of the annotations of each source.
        counts: How much was left out, by kind.
    """

    photos: list[Photo] = field(default_factory=list)
    classes: dict[str, None] = field(default_factory=dict)
    digests: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)


def collect(
    format: str,
    sources: Sequence[tuple[str, Path]],
    images: Path | None,
    names: Path | None,
    skip_missing: bool,
    include_unlabelled: bool,
) -> Collected:
    """Reads all annotations and finds their photos.

    Args:
        format: Their format.
        sources: Split and path of each source.
        images: The folder of the photos; by default looked for beside the annotations.
        names: For 'yolo': the file with the names of the classes.
        skip_missing: Leave out annotations whose photo is not there.
        include_unlabelled: Take photos without annotation as showing no class.

    Raises:
        DataError: An annotation is damaged, its photo is missing or annotated twice, or
            two photos would have one id.
    """
    found = Collected()
    _refuse_mixed([split for split, _ in sources])
    folders = []
    for split, path in sources:
        source = read_annotations(format, path, names)
        folder = images if images is not None else _folder_of(format, path)
        found.classes |= dict.fromkeys(source.classes)
        found.digests.append(source.digest)
        folders.append(folder)
        found.photos += _photos_of(
            source.annotations, folder, split, skip_missing, found.counts
        )
        if include_unlabelled:
            found.photos += _unlabelled(folder, split, found.photos)
    found.photos = _with_folders(found.photos, folders)
    return found


def with_split(source: str | Path) -> tuple[str, Path]:
    """The split and the path that 'val=PATH' names; a path alone has the split ''."""
    split, sign, path = str(source).partition('=')
    if sign and split in SPLITS:
        return split, Path(path)
    return '', Path(source)


def _refuse_mixed(splits: Sequence[str]) -> None:
    """Refuses sources of which some say their split and some do not.

    Raises:
        DataError: Some of ``splits`` are empty and some are not.
    """
    if any(splits) and not all(splits):
        raise DataError(
            'some sources say their split (train=PATH) and some do not: say it for all, '
            'or for none'
        )


def _folder_of(format: str, path: Path) -> Path:
    """Where the photos of a source are, as the tools put them."""
    folder = path if path.is_dir() else path.parent
    parts = folder.parts
    if format == 'yolo' and 'labels' in parts:
        at = len(parts) - 1 - parts[::-1].index('labels')
        twin = Path(*parts[:at], 'images', *parts[at + 1 :])
        if twin.is_dir():
            return twin
    for near in (folder / 'images', folder.parent / 'JPEGImages'):
        if near.is_dir():
            return near
    return folder


def _photos_of(
    annotations: Sequence[Annotation],
    folder: Path,
    split: str,
    skip_missing: bool,
    counts: Counter[str],
) -> list[Photo]:
    """The photos of annotations.

    Raises:
        DataError: A photo is not in ``folder``, or an annotation may be of two photos.
    """
    if not folder.is_dir():
        raise DataError(f'{folder} is no folder: give that of the photos with --images')
    files = PhotoFiles(folder, (MASKS,))
    photos, missing = [], []
    for each in annotations:
        named = [n for n in map(files.find, each.photos) if n and is_picture(n)]
        if len(set(named)) > 1:
            raise DataError(
                f'{each.where} has the name of {named[0]} and says that it is of '
                f'{named[1]}: correct its file name or the photo that it names'
            )
        if named:
            photos.append(Photo(named[0], folder / named[0], split, each))
        else:
            missing.append(each)
    if missing and not skip_missing:
        raise DataError(
            f"the photo '{missing[0].photos[-1]}' of {missing[0].where} is not in "
            f'{folder} (and {len(missing) - 1} more of {len(annotations)}): give the '
            'folder of the photos with --images, or leave such annotations out with '
            '--skip-missing'
        )
    counts['annotations_without_photo'] += len(missing)
    known = {photo.name for photo in photos}
    others = [n for n in files.names if is_picture(n) and n not in known]
    counts['photos_without_annotation'] += len(others)
    return photos


def _unlabelled(folder: Path, split: str, photos: Sequence[Photo]) -> list[Photo]:
    """The photos of ``folder`` that are not in ``photos``, as showing no class."""
    known = {photo.path for photo in photos}
    names = [n for n in PhotoFiles(folder, (MASKS,)).names if is_picture(n)]
    return [Photo(n, folder / n, split, None) for n in names if folder / n not in known]


def _with_folders(photos: Sequence[Photo], folders: Sequence[Path]) -> list[Photo]:
    """Photos under the names of the new data set, sorted, each there once.

    Photos of several folders get a sub-folder for each split.

    Raises:
        DataError: A photo has two annotations, or two photos would have one id.
    """
    several = len({folder.resolve() for folder in folders}) > 1
    named = [
        replace(p, name=f'{p.split}/{p.name}') if several and p.split else p
        for p in photos
    ]
    by_id: dict[str, Photo] = {}
    for photo in sorted(named, key=lambda p: p.name):
        name = str(Path(photo.name).with_suffix(''))
        other = by_id.setdefault(name, photo)
        if other is photo:
            continue
        if other.path.resolve() == photo.path.resolve():
            wheres = [p.annotation.where for p in (other, photo) if p.annotation]
            raise DataError(
                f'{photo.path} is annotated twice ({" and ".join(wheres)}): keep one'
            )
        raise DataError(
            f"{other.path} and {photo.path} would both have the id '{name}': rename one, "
            'or say the split of each source (train=PATH val=PATH)'
        )
    return list(by_id.values())


def is_inside(photo: Photo, root: Path) -> bool:
    """Whether a photo lies where the new data set has it already."""
    return (root / IMAGES / photo.name).absolute() == photo.path.absolute()
