"""Bring your own images: a folder and a table of tags."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from wsss_plugins.datasets.base import WSSSDataset
from wsss_plugins.datasets.files import check_classes, read_lines
from wsss_plugins.errors import DataError
from wsss_plugins.registry import DATASETS


@DATASETS.register_module()
class FolderWSSS(WSSSDataset):
    """Images in a folder, tags in a CSV file with the header ``file,tags``.

    A row is ``dog_1.jpg,dog;grass``: the file below the image folder and its
    tags, divided by ';' or '|'. Without tags it shows background only. The id
    of an image is its file name without suffix. Label maps of ground truth for
    evaluation belong in a folder named as in :attr:`ground_truth_folders`, so
    that training refuses them.

    Args:
        data_root: The folder of the data set.
        split: The CSV file, 'train' for ``data_root/train.csv``.
        images: Folder of the images, absolute or below ``data_root``.
        classes: The classes in order, needed when a split does not show all of
            them. Default: all tags of the file, sorted.
        **kwargs: See :class:`WSSSDataset`.
    """

    ground_truth_folders: ClassVar[tuple[str, ...]] = (
        'SegmentationClass',
        'ground_truth',
        'masks',
    )
    how_to_get: ClassVar[str] = (
        'put a folder images/ and a table train.csv with the header file,tags there'
    )

    def __init__(
        self,
        data_root: str | Path,
        split: str = 'train',
        images: str | Path = 'images',
        classes: Sequence[str] | None = None,
        **kwargs: Any,
    ) -> None:
        self.images = Path(images)
        self.classes = classes
        self.tags: dict[str, set[str]] = {}
        super().__init__(data_root, split, **kwargs)

    @property
    def table(self) -> Path:
        """The CSV file."""
        return self.root / f'{self.split.removesuffix(".csv")}.csv'

    def find_classes(self) -> Sequence[str]:
        """The classes given, or all tags of the table, sorted."""
        if self.classes is not None:
            return tuple(self.classes)
        return sorted({tag for _, tags in self._rows() for tag in tags})

    def find_images(self) -> tuple[list[str], list[Path], Path]:
        """Ids and files of the table's rows."""
        rows = self._rows()
        for file, tags in rows:
            check_classes(tags, self.foreground_classes, f'{self.table} gives {file}')
        folder = self.root / self.images
        paths = [folder / file for file, _ in rows]
        self.tags = {
            path.stem: tags for path, (_, tags) in zip(paths, rows, strict=True)
        }
        return [path.stem for path in paths], paths, self.table

    def find_labels(self, ids: Sequence[str]) -> np.ndarray:
        """The tags of ``ids`` as ``(N, C)`` in {0, 1}."""
        return np.array(
            [[name in self.tags[i] for name in self.foreground_classes] for i in ids]
        )

    def _rows(self) -> list[tuple[str, set[str]]]:
        """``(file, tags)`` of every row."""
        if not self.table.is_file():
            tables = ', '.join(sorted(p.stem for p in self.root.glob('*.csv')))
            raise DataError(
                f'table {self.table} does not exist: tables there are {tables or "none"}'
            )
        lines = read_lines(self.table)
        reader = csv.DictReader(io.StringIO('\n'.join(lines)))
        if not {'file', 'tags'} <= set(reader.fieldnames or ()):
            raise DataError(
                f"{self.table} begins with '{lines[0] if lines else ''}': "
                'its first line must be file,tags'
            )
        return [(row['file'].strip(), _split_tags(row['tags'] or '')) for row in reader]


def _split_tags(text: str) -> set[str]:
    return {tag.strip() for tag in re.split(r'[;|]', text) if tag.strip()}
