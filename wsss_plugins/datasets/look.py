"""A look at a data set before any work: what it has, and what will go wrong with it."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from wsss_plugins.datasets.base import WSSSDataset
from wsss_plugins.datasets.folder import FolderWSSS
from wsss_plugins.datasets.mask_files import MaskFiles
from wsss_plugins.datasets.photo_files import is_picture
from wsss_plugins.datasets.photos import is_turned, opened_image, read_image
from wsss_plugins.errors import DataError
from wsss_plugins.structures import IGNORE

HEADERS = 20_000
"""Photos of a data set whose headers are read, unless everything is."""
CONTENTS = 100
"""Photos and masks of a data set that are decoded, unless everything is."""
NAMED = 3
"""Names that a line gives as examples."""
CLASSES_SHOWN = 30


@dataclass(frozen=True)
class Look:
    """What a look at one data set found.

    Attributes:
        title: The data set in a few words.
        photos: How many photos it has.
        classes: How many photos show each class, in the order of the classes.
        untagged: How many photos show no class.
        masks: How many photos have a mask, or None where no masks are asked for.
        problems: What makes a stage fail or a score wrong, a sentence each.
        doubts: What may be meant, a sentence each.
    """

    title: str
    photos: int
    classes: dict[str, int]
    untagged: int
    masks: int | None
    problems: tuple[str, ...]
    doubts: tuple[str, ...]

    def lines(self) -> list[str]:
        """What people read."""
        counts = [f'{name} {count:,}' for name, count in self.classes.items()]
        more = len(counts) - CLASSES_SHOWN
        shown = ', '.join(counts[:CLASSES_SHOWN]) + (f' and {more} more' * (more > 0))
        masks = '' if self.masks is None else f', {self.masks:,} with masks'
        head = (
            f'{self.title}: {self.photos:,} photos, {self.untagged:,} without tags'
            f'{masks}; photos by class: {shown}'
        )
        found = [f'  error: {text}' for text in self.problems]
        return [head, *found, *(f'  warning: {text}' for text in self.doubts)]


@dataclass
class Looks:
    """Looks at data sets one after the other; a file of several is read once.

    Args:
        everything: Whether to decode all photos and masks, not a sample of them.
    """

    everything: bool = False
    _headers: dict[Path, tuple[int, int, bool] | str] = field(default_factory=dict)
    _contrast: dict[Path, bool] = field(default_factory=dict)
    _paged: set[Path] = field(default_factory=set)

    def __call__(self, dataset: WSSSDataset, title: str = '') -> Look:
        """Looks at one data set.

        Args:
            dataset: Made without transforms.
            title: What to call it; by default its folder and split.
        """
        infos = [dataset.get_data_info(i) for i in range(len(dataset))]
        labels = np.stack([info['gt_label'] for info in infos]) > 0
        sums = labels.sum(0).tolist()
        masks = [Path(i['seg_map_path']) for i in infos if i.get('seg_map_path')]
        problems: list[str] = []
        doubts: list[str] = []
        if not labels.any():
            doubts.append(
                f'none of the {len(infos):,} photos shows a class, so that the mean '
                'average precision of tags is not measured on them; give some of them '
                'tags'
            )
        photos = [Path(info['img_path']) for info in infos]
        if not dataset.images_are_files:
            self._contents(dataset, problems)
        elif photos[0].is_file():
            self._photos(photos, doubts)
            self._masks(dataset, problems, doubts)
        if isinstance(dataset, FolderWSSS):
            doubts += names_of_nothing(dataset)
        return Look(
            title or f'{dataset.root} {dataset.split}',
            len(infos),
            dict(zip(dataset.foreground_classes, sums, strict=True)),
            int((~labels.any(1)).sum()),
            None if dataset.label_map_folder is None else len(masks) or len(infos),
            tuple(problems),
            tuple(doubts),
        )

    def _chosen(self, count: int, most: int) -> list[int]:
        """Indices of all, or of ``most`` evenly spread ones."""
        if self.everything or count <= most:
            return list(range(count))
        return np.linspace(0, count - 1, most).astype(int).tolist()

    def _header(self, path: Path) -> tuple[int, int, bool] | str:
        """``(H, W)`` as a photo is read and whether EXIF turns it, or what is wrong."""
        if path not in self._headers:
            try:
                with opened_image(path) as image:
                    turned = is_turned(image)
                    size = image.size if turned else image.size[::-1]
                    self._headers[path] = (*size, turned)
                    if _has_pages(image):
                        self._paged.add(path)
            except DataError as error:
                self._headers[path] = str(error)
        return self._headers[path]

    def _photos(self, photos: Sequence[Path], doubts: list[str]) -> None:
        """Headers of all photos, contrast of a sample, and files of equal content."""
        broken, flat = [], []
        for i in self._chosen(len(photos), HEADERS):
            if isinstance(self._header(photos[i]), str):
                broken.append(photos[i])
        for i in self._chosen(len(photos), CONTENTS):
            path = photos[i]
            if path not in self._contrast:
                try:
                    pixels = read_image(path)
                    self._contrast[path] = bool(np.ptp(pixels))
                except DataError:
                    broken.append(path)
                    continue
            if not self._contrast[path]:
                flat.append(path)
        paged = [path for path in dict.fromkeys(photos) if path in self._paged]
        if paged:
            hint = 'only the first is read; save the others as photos of their own'
            doubts.append(_count(paged, 'photo', 'with several pages or frames', hint))
        broken = list(dict.fromkeys(broken))
        if broken:
            doubts.append(_count(broken, 'photo', 'that cannot be read', ''))
        if flat:
            hint = 'look at the file: its depth may not be what it seems'
            doubts.append(_count(flat, 'photo', 'with one value everywhere', hint))
        for same in self._twins(photos)[:NAMED]:
            names = ', '.join(path.name for path in same[:NAMED])
            doubts.append(
                f'{len(same)} photos have the same content ({names}): keep one, and '
                'never one in train and one in val'
            )

    def _contents(self, dataset: WSSSDataset, problems: list[str]) -> None:
        """Reads a sample of images that are no files of their own, with their masks."""
        for i in self._chosen(len(dataset), CONTENTS):
            try:
                size = dataset.load_image(i).shape[:2]
                mask = size
                if dataset.label_map_folder is not None:
                    mask = dataset.load_mask(i).shape
            except DataError as error:
                problems.append(str(error))
                continue
            if mask != size:
                problems.append(
                    f"{dataset.image_path(i)}: the mask of '{dataset.ids[i]}' is "
                    f'{mask[0]} x {mask[1]} and its photo {size[0]} x {size[1]} (H x W): '
                    'download the file anew'
                )
        problems[NAMED:] = []

    def _twins(self, photos: Sequence[Path]) -> list[list[Path]]:
        """Groups of files with the same content; only files of equal size are read."""
        sizes: dict[int, list[Path]] = defaultdict(list)
        for path in dict.fromkeys(photos):
            if path.is_file():
                sizes[path.stat().st_size].append(path)
        alike = [path for group in sizes.values() if len(group) > 1 for path in group]
        found: dict[bytes, list[Path]] = defaultdict(list)
        for i in self._chosen(len(alike), 10 * CONTENTS):
            found[hashlib.sha256(alike[i].read_bytes()).digest()].append(alike[i])
        return [group for group in found.values() if len(group) > 1]

    def _masks(
        self, dataset: WSSSDataset, problems: list[str], doubts: list[str]
    ) -> None:
        """Sizes of all masks against their photos; values of a sample."""
        infos = [dataset.get_data_info(i) for i in range(len(dataset))]
        own = [i for i, info in enumerate(infos) if info.get('seg_map_path')]
        misfits = []
        for i in self._chosen(len(own), HEADERS):
            info = infos[own[i]]
            mask = self._header(Path(info['seg_map_path']))
            photo = self._header(Path(info['img_path']))
            if isinstance(mask, str):
                problems.append(mask)
            elif not isinstance(photo, str) and mask[:2] != photo[:2]:
                misfits.append((Path(info['seg_map_path']), mask, photo))
        problems[NAMED:] = []
        if misfits:
            problems.append(_misfits(misfits))
        more: list[str] = []
        less: list[str] = []
        tagged = any(info['gt_label'].any() for info in infos)
        for i in self._chosen(len(own), CONTENTS):
            index = own[i]
            try:
                mask_values = np.unique(dataset.load_mask(index))
            except DataError as error:
                if len(problems) < NAMED and str(error) not in problems:
                    problems.append(str(error))
                continue
            shown = {int(v) - 1 for v in mask_values if v not in (0, IGNORE)}
            tags = set(np.flatnonzero(dataset.labels(index)).tolist())
            name, titles = infos[index]['img_id'], dataset.foreground_classes
            more += [f'{name} ({titles[c]})' for c in sorted(shown - tags)]
            less += [f'{name} ({titles[c]})' for c in sorted(tags - shown)]
        if more and tagged:
            doubts.append(
                f'{len(more):,} times a mask shows a class that is no tag of its photo: '
                f'{_names(more)}; the order of the classes may be another one'
            )
        if less:
            doubts.append(
                f'{len(less):,} times a photo has a tag that its mask does not show: '
                f'{_names(less)}'
            )


def _has_pages(image: Image.Image) -> bool:
    """Whether a file holds several pictures, other than the previews of a camera (MPO)."""
    try:
        return image.format != 'MPO' and getattr(image, 'n_frames', 1) > 1
    except EOFError:  # a list of pages that is damaged; the first is read all the same
        return False


def names_of_nothing(dataset: FolderWSSS) -> list[str]:
    """Photos in no table and masks of no photo, a sentence for each kind.

    Args:
        dataset: Any split of a folder of photos.
    """
    said = []
    try:
        whole = FolderWSSS(
            dataset.root,
            'all',
            images=dataset.images,
            classes=dataset.classes,
            require_images=False,
        )
    except DataError:
        whole = None  # several tables: what is in none of them is not known
    if whole is not None:
        listed = {
            whole.image_path(i).relative_to(whole.folder).as_posix()
            for i in range(len(whole))
        }
        names = [n for n in whole.photos.names if n not in listed and is_picture(n)]
        if names:
            said.append(f'{len(names):,} photos are in no table: {_names(names)}')
    folder = dataset.label_map_folder
    if folder is None or not folder.is_dir():
        return said
    masks = MaskFiles(folder, dataset.photos)
    for found, what in (
        (masks.strangers, 'masks that belong to no photo, by their names'),
        (list(masks.unclear), 'masks whose names may mean several photos'),
        (masks.others, 'files that are no PNG, and so no masks'),
    ):
        if found:
            said.append(f'{folder} has {len(found):,} {what}: {_names(found)}')
    return said


def _misfits(
    found: Sequence[tuple[Path, tuple[int, int, bool], tuple[int, int, bool]]],
) -> str:
    """What to say of masks of another size than their photos."""
    path, mask, photo = found[0]
    more = f' (and {len(found) - 1} more)' if len(found) > 1 else ''
    text = (
        f'mask {path}{more} is {mask[0]} x {mask[1]} and its photo {photo[0]} x '
        f'{photo[1]} (H x W)'
    )
    if photo[2] and mask[:2] == photo[1::-1]:
        return (
            f'{text}: EXIF data of the photo turn it, and the mask was drawn on the '
            'unturned pixels; turn the mask, or remove the orientation from the photo'
        )
    return f'{text}: a mask must have the size of its photo; draw it anew'


def _count(paths: Sequence[Path], what: str, says: str, hint: str) -> str:
    """A sentence on some files."""
    names = _names(path.name for path in paths)
    text = f'{len(paths):,} {what}{"s" * (len(paths) != 1)} {says} ({names})'
    return f'{text}: {hint}' if hint else text


def _names(names: Iterable[str]) -> str:
    """A few names, and how many more there are."""
    names = list(names)
    more = f' and {len(names) - NAMED:,} more' if len(names) > NAMED else ''
    return ', '.join(names[:NAMED]) + more
