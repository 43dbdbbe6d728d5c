"""The images of a split and their image-level labels, as a data set reads them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from wsss_plugins.datasets.files import check_class_names, check_ids
from wsss_plugins.errors import DataError


@dataclass(frozen=True, eq=False)
class Listing:
    """The images of a split with their image-level labels, in the order of the split.

    Attributes:
        classes: Names of the C foreground classes, in the order of the labels' columns;
            the same for every split of a data set.
        ids: A name for each of the N images, all different. Seeds and label maps are
            kept under it, as ``<id>.npz`` and ``<id>.png``.
        images: The file of each image.
        labels: ``(N, C)`` in {0, 1}: 1 where the image shows the class.
        source: The file or folder that lists the images; messages name it.
    """

    classes: Sequence[str]
    ids: Sequence[str]
    images: Sequence[Path]
    labels: np.ndarray
    source: Path

    def check(self) -> None:
        """Refuses a listing that describes no data set.

        Raises:
            DataError: A class is the background or occurs twice, there are no images, an
                id occurs twice, the numbers of ids, images and labels differ, or a label
                is neither 0 nor 1.
        """
        check_class_names(self.classes, str(self.source))
        check_ids(self.ids, self.source)
        if len(self.images) != len(self.ids):
            raise DataError(
                f'{self.source} lists {len(self.ids)} ids and {len(self.images)} images: '
                'read_split must give an image for each id'
            )
        labels, wanted = np.asarray(self.labels), (len(self.ids), len(self.classes))
        if labels.shape != wanted or not np.isin(labels, (0, 1)).all():
            values = np.unique(labels)[:4].tolist()
            raise DataError(
                f'the labels of {self.source} have the shape {labels.shape} and values '
                f'such as {values}: read_split must give {wanted} (images, classes) in '
                '{0, 1}'
            )
