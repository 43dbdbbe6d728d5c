"""Your own images: a folder of photos and a table of image-level labels."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from wsss_plugins.datasets.base import WSSSDataset
from wsss_plugins.datasets.files import check_classes, is_there, read_lines
from wsss_plugins.datasets.listing import Listing
from wsss_plugins.datasets.mask_files import MaskFiles
from wsss_plugins.datasets.photo_files import PhotoFiles
from wsss_plugins.datasets.tag_table import TagTable, read_tag_table
from wsss_plugins.errors import DataError
from wsss_plugins.registry import DATASETS
from wsss_plugins.structures import IGNORE

SPLITS = ('train', 'val', 'test')
CLASSES_FILE = 'classes.txt'


@DATASETS.register_module()
class FolderWSSS(WSSSDataset):
    """Images in a folder, with labels in a CSV file of header ``file,tags``.

    A row is ``dog_1.jpg,dog;grass``: the file below the image folder and its
    image-level labels, which the column ``tags`` holds. A file without labels shows
    background only; the labels of several rows of one file are merged. A table may also
    have one column per class, see :func:`read_tag_table`. The id of an image is its
    file without suffix, with its sub-folder: ``day_1/IMG_1``.

    The table of a split is ``<split>.csv``. If it does not exist, the only table of the
    folder is divided by its column ``split``, or else by a hash of the ids. The hash
    gives the same split on every machine, and adding photos does not move other photos
    between splits. The split 'all' has all images of all tables. The classes are those
    of ``classes.txt`` (one a line), or all that the table shows (of ``train.csv``,
    where there is one).

    Label maps of ground truth for evaluation belong in a folder named as in
    :attr:`ground_truth_folders`, so that training refuses them. They are named like the
    photos, see :class:`MaskFiles`.

    Args:
        data_root: The folder of the data set.
        split: 'train', 'val' ... or the name of a CSV file.
        images: Folder of the images, absolute or below ``data_root``; by default
            ``images``, or ``data_root`` itself where that does not exist.
        classes: The classes in order; by default those of the file or the table.
        val_share: Share of the images that a hash makes 'val'.
        only_with_maps: Whether to leave out images without a label map, so that an
            evaluation needs only some masks.
        **kwargs: See :class:`WSSSDataset`.
    """

    ground_truth_folders: ClassVar[tuple[str, ...]] = (
        'SegmentationClass',
        'ground_truth',
        'masks',
    )
    fixed_classes: ClassVar[bool] = False

    how_to_get: ClassVar[str] = (
        'put a folder images/ and a table train.csv with the header file,tags there'
    )
    how_to_get_label_maps: ClassVar[str] = (
        'draw it, run the stage that writes it, correct label_maps, or leave such images '
        'out with only_with_maps=True'
    )

    def __init__(
        self,
        data_root: str | Path,
        split: str = 'train',
        images: str | Path | None = None,
        classes: Sequence[str] | None = None,
        val_share: float = 0.2,
        only_with_maps: bool = False,
        **kwargs: Any,
    ) -> None:
        self.images = images
        self.classes = classes
        self.val_share = val_share
        self.only_with_maps = only_with_maps
        self._masks: MaskFiles | None = None
        super().__init__(data_root, split, **kwargs)

    @property
    def folder(self) -> Path:
        """The folder of the images."""
        if self.images is not None:
            return self.root / self.images
        return self.root / 'images' if (self.root / 'images').is_dir() else self.root

    @property
    def tables(self) -> list[Path]:
        """The CSV files that the split is read from.

        Raises:
            DataError: ``data_root`` has no CSV file for the split, or several that
                could be meant.
        """
        own = self.root / f'{self.split.removesuffix(".csv")}.csv'
        if own.is_file():
            return [own]
        known = sorted(self.root.glob('*.[cC][sS][vV]'))
        parts = [path for path in known if path.stem in SPLITS]
        if len(known) == 1 and not parts:
            return known
        if self.split == 'all' and parts and parts == known:
            return parts
        found = ', '.join(path.stem for path in known) or 'none'
        hint = 'keep one table, or name them train.csv and val.csv'
        if len(known) == 1:
            hint = f'add it, or name {known[0].name} photos.csv to have it divided'
        elif not known:
            sheets = [*self.root.glob('*.xls*'), *self.root.glob('*.ods')]
            hint = 'make it with the header file,tags'
            hint = f'save {sheets[0].name} as CSV' if sheets else hint
        raise DataError(f'table {own} does not exist: tables there are {found}; {hint}')

    def read_split(self) -> Listing:
        """The images of the split's rows with their tags, in the order of the tables."""
        given = self._given_classes()
        classes = self._classes_of_tables() if given is None else given
        files: dict[str, Path] = {}
        shown: dict[str, frozenset[str]] = {}
        photos = self.photos = PhotoFiles(self.folder, self.ground_truth_folders)
        for path in self.tables:
            table = read_tag_table(path, given)
            found, tags, splits = self._merged(table, classes, photos)
            for name in self._chosen(table, tags, splits):
                if name in files:
                    raise DataError(f"{path} lists '{name}', and so does another table")
                files[name], shown[name] = found[name], tags[name]
        if self.only_with_maps and self.label_map_folder is not None:
            files = self._with_maps(files, self.label_map_folder)
        rows = [[c in shown[name] for c in classes] for name in files]
        labels = np.array(rows).reshape(len(files), len(classes))
        return Listing(
            classes, list(files), list(files.values()), labels, self.tables[0]
        )

    def _given_classes(self) -> tuple[str, ...] | None:
        """The classes that the config or ``classes.txt`` gives."""
        listed = self.root / CLASSES_FILE
        if self.classes is not None:
            return tuple(self.classes)
        return tuple(read_lines(listed)) if is_there(listed) else None

    def _classes_of_tables(self) -> tuple[str, ...]:
        """The classes that the table shows, or ``train.csv`` where there is one."""
        first, train = self.tables[0], self.root / 'train.csv'
        table = train if first.stem in SPLITS and train.is_file() else first
        return tuple(read_tag_table(table).classes)

    def _with_maps(self, files: dict[str, Path], folder: Path) -> dict[str, Path]:
        """The images that have a label map in ``folder``."""
        paths = {n: self.label_map_path(folder, n, path) for n, path in files.items()}
        kept = {n: path for n, path in files.items() if paths[n].is_file()}
        if not kept:
            raise DataError(
                f"{folder} has no label map of the split '{self.split}': name them like "
                f'the photos, such as {next(iter(files), "IMG_1")}.png'
            )
        return kept

    def label_map_path(self, folder: Path, name: str, image: Path) -> Path:
        """The label map of an image: ``<id>.png``, or one that is named almost so.

        Names are matched as by :class:`MaskFiles`.

        Raises:
            DataError: Several label maps may belong to the image.
        """
        path = folder / f'{name}.png'
        if path.is_file() or not folder.is_dir():
            return path
        if self._masks is None:
            self._masks = MaskFiles(folder, self.photos)
        found = self._masks.find(image.relative_to(self.folder).as_posix())
        return folder / found if found else path

    def load_mask(self, index: int) -> np.ndarray:
        """See :meth:`WSSSDataset.load_mask`; refuses masks in black and white.

        Raises:
            DataError: The mask cannot be read or does not fit its photo, or the mask of
                a photo with classes has only the values 0 and 255, of which 255 is
                ignored.
        """
        mask = super().load_mask(index)
        if self.labels(index).any() and set(np.unique(mask)) == {0, IGNORE}:
            shown = ' and '.join(
                f'{c + 1} for {self.foreground_classes[c]}'
                for c in np.flatnonzero(self.labels(index))
            )
            path = self.get_data_info(index)['seg_map_path']
            raise DataError(
                f'mask {path} is black and white (0 and 255), and 255 means not counted: '
                f'write {shown}'
            )
        return mask

    def _merged(
        self, table: TagTable, classes: Sequence[str], photos: PhotoFiles
    ) -> tuple[dict[str, Path], dict[str, frozenset[str]], dict[str, str]]:
        """Files, tags and splits of the images by id; rows of one file add up."""
        files: dict[str, Path] = {}
        tags: dict[str, frozenset[str]] = {}
        splits: dict[str, str] = {}
        for row in table.rows:
            check_classes(row.tags, classes, f'{table.path} gives {row.file}')
            try:
                found = photos.find(row.file)
            except DataError as error:
                raise DataError(f'{table.path}, line {row.line}: {error}') from error
            path = self.folder / (found or row.file)
            name = path.relative_to(self.folder).with_suffix('').as_posix()
            if files.setdefault(name, path) != path:
                raise DataError(
                    f"{table.path} lists two files that would have the id '{name}', "
                    f'{files[name].name} and {path.name}: rename one'
                )
            tags[name] = tags.get(name, frozenset()) | row.tags
            if splits.setdefault(name, row.split) != row.split:
                raise DataError(
                    f"{table.path}, line {row.line} puts {row.file} into '{row.split}', "
                    f"an earlier line into '{splits[name]}': keep one"
                )
        return files, tags, splits

    def _chosen(
        self,
        table: TagTable,
        tags: Mapping[str, frozenset[str]],
        splits: Mapping[str, str],
    ) -> list[str]:
        """Ids of the images of the split, in the order of the table."""
        split = self.split.removesuffix('.csv')
        if split == table.path.stem or split == 'all':
            return list(tags)
        if not table.has_splits:
            splits = hash_splits(tags, self.val_share)
        chosen = [name for name in tags if splits[name] == split.casefold()]
        if not chosen:
            there = sorted({s for s in splits.values() if s} | {'all'})
            raise DataError(
                f"{table.path} has no image of the split '{split}': splits there are "
                f'{", ".join(there)}'
            )
        return chosen


def hash_splits(tags: Mapping[str, Iterable[str]], val_share: float) -> dict[str, str]:
    """Divides images into 'train' and 'val' by their names alone.

    An image is 'val' where the hash of its id lies in the first ``val_share`` of all
    hashes. Two exceptions keep small sets usable: if no training image shows a class,
    one image of that class moves from 'val' to 'train'; and if there are two images or
    more, at least one is 'val'.

    Args:
        tags: The classes that each image shows, by id.
        val_share: In [0, 1).

    Returns:
        The split of each image, by id.

    Raises:
        DataError: ``val_share`` is outside [0, 1).
    """
    if not 0 <= val_share < 1:
        raise DataError(f'val_share must be in [0, 1), not {val_share}')
    places = {name: _place(name) for name in tags}
    val = {name for name, place in places.items() if place < val_share}
    for class_name in sorted({tag for shown in tags.values() for tag in shown}):
        showing = [name for name in tags if class_name in tags[name]]
        if val.issuperset(showing):
            val.discard(max(showing, key=places.__getitem__))
    if not val and val_share and len(places) > 1:
        rare = _only_examples(tags)
        free = [name for name in places if name not in rare] or list(places)
        val = {min(free, key=places.__getitem__)}
    return {name: 'val' if name in val else 'train' for name in tags}


def _place(name: str) -> float:
    """The hash of an id in [0, 1), the same on every machine."""
    digest = hashlib.sha256(name.encode('utf-8')).digest()
    return int.from_bytes(digest[:8], 'big') / 2**64


def _only_examples(tags: Mapping[str, Iterable[str]]) -> set[str]:
    """The images that show a class which no other image shows."""
    showing: dict[str, list[str]] = {}
    for name, shown in tags.items():
        for tag in shown:
            showing.setdefault(tag, []).append(name)
    return {names[0] for names in showing.values() if len(names) == 1}
