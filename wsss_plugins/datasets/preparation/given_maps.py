"""Label maps of COCO from other projects, with one of two kinds of ids."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np

from wsss_plugins.datasets.coco14 import COCO_CATEGORIES
from wsss_plugins.datasets.preparation.opening import open_source
from wsss_plugins.datasets.preparation.pictures import (
    decode_mask,
    labels_of_category_ids,
    shown_classes,
)
from wsss_plugins.errors import DataError
from wsss_plugins.structures import IGNORE

Ids = Literal[80, 91]


class GivenMaps:
    """Label maps from another project, used instead of drawing them.

    Args:
        path: Folder or archive with ``<split>/<name>.png`` or ``<name>.png``, the name
            that of the photo, or the image id in 12 digits.
        ids: Meaning of the values: 80 for classes 1 to 80, 91 for category ids 1 to 90.

    Raises:
        DataError: ``path`` holds no label maps.
    """

    def __init__(self, path: Path, ids: Ids) -> None:
        self.source = open_source(path)
        self.ids = ids
        if not any(
            n.endswith('.png') for ns in self.source.folders.values() for n in ns
        ):
            raise DataError(f'{path} has no PNG files: give the folder of label maps')

    def find(self, split: str, stem: str) -> tuple[str, str]:
        """Folder and name of the map of an image.

        Raises:
            DataError: The source holds no label map of this image.
        """
        names = (f'{stem}.png', f'{stem[-12:]}.png', f'COCO_{split}_{stem[-12:]}.png')
        for folder in self.source.locate(split) or self.source.folders:
            for name in names:
                if name in self.source.folders[folder]:
                    return folder, name
        raise DataError(
            f'{self.source.path} has no label map {stem}.png of {split}: give all of them, '
            'or leave out --label-maps to draw them'
        )

    def labels(self, data: bytes, where: str, classes: set[int]) -> np.ndarray:
        """Decodes a map, turns its ids into labels and compares them with the image's.

        Args:
            data: Content of the PNG.
            where: Its place, for messages.
            classes: Classes that the image is annotated with.

        Raises:
            DataError: The label map is not an indexed PNG, has a value outside ``ids``,
                or shows a class that its image is not annotated with.
        """
        found = decode_mask(data, where)
        if found.coloured:
            raise DataError(f'{where} shows colours, not ids: draw the maps anew')
        labels = found.labels
        if self.ids == 91:
            labels = labels_of_category_ids(labels, where)
        elif ((labels > len(COCO_CATEGORIES)) & (labels != IGNORE)).any():
            raise DataError(
                f'{where} has the value {labels[labels != IGNORE].max()}: allowed are 0 to '
                '80 and 255; maps of category ids (1 to 90) need --ids 91'
            )
        if strange := shown_classes(labels) - classes:
            name = list(COCO_CATEGORIES.values())[min(strange)]
            other = 91 if self.ids == 80 else 80
            raise DataError(
                f"{where} shows '{name}', which its image is not annotated with: give --ids "
                f'{other} if that is what its values are, or draw the maps anew'
            )
        return labels
