"""Pascal VOC 2012 and anything in the layout of its development kit."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from wsss_plugins.datasets.annotation_xml import object_names
from wsss_plugins.datasets.base import WSSSDataset
from wsss_plugins.datasets.files import (
    check_classes,
    is_there,
    read_id_list,
    read_lines,
    read_whole,
)
from wsss_plugins.datasets.listing import Listing
from wsss_plugins.datasets.photo_files import PhotoFiles
from wsss_plugins.errors import DataError
from wsss_plugins.registry import DATASETS
from wsss_plugins.structures import IGNORE, load_label_map, load_npz

VOC_CLASSES = (
    'aeroplane', 'bicycle', 'bird', 'boat', 'bottle', 'bus', 'car', 'cat', 'chair',
    'cow', 'diningtable', 'dog', 'horse', 'motorbike', 'person', 'pottedplant',
    'sheep', 'sofa', 'train', 'tvmonitor',
)  # fmt: skip
"""The 20 classes; class c is value c + 1 of a label map."""

TABLE = 'cls_labels.npz'
"""Image-level labels of a part of VOC that comes without Annotations: arrays ``names``
(N,) and ``labels`` (N, C)."""

VOC_COUNTS = {'train': 1464, 'train_aug': 10582, 'val': 1449, 'test': 1456}
"""Images of the official lists; ``train_aug`` adds the SBD images (Hariharan 2011)."""


@DATASETS.register_module()
class VOC12(WSSSDataset):
    """Pascal VOC 2012 in the devkit layout, also for sets of other classes.

    Reads ``JPEGImages/<id>.jpg`` (or another suffix, see :class:`PhotoFiles`),
    ``ImageSets/Segmentation/<split>.txt`` and
    ``Annotations/<id>.xml`` below ``data_root``. A file ``classes.txt`` there, a
    name a line, replaces the 20 classes of VOC.

    Source: Everingham et al. 2015, The Pascal Visual Object Classes Challenge: A
    Retrospective, IJCV 111.

    Args:
        data_root: The folder ``VOCdevkit/VOC2012``.
        split: Name of an id list, or the path of one that ends in '.txt',
            absolute or below ``data_root``.
        labels: Where image-level labels come from. 'xml': the names of all
            objects, difficult ones too; of a part of VOC without Annotations, the
            table cls_labels.npz below ``data_root``. 'masks': the classes with a pixel in the
            ground-truth mask; no mask reaches the samples, but masks are stronger
            supervision than image-level labels, so report it with the results. A path
            of an ``.npz``: arrays ``names`` (N,) and ``labels`` (N, C). None: zeros,
            for the test split, with ``test_mode``.
        verify_count: Whether to refuse an official list (:data:`VOC_COUNTS`) without
            its official number of images.
        **kwargs: See :class:`WSSSDataset`.
    """

    ground_truth_folders: ClassVar[tuple[str, ...]] = (
        'SegmentationClass',
        'SegmentationClassAug',
        'SegmentationObject',
    )
    how_to_get: ClassVar[str] = (
        'unpack the folder VOCdevkit/VOC2012 of Pascal VOC 2012 there, or make the '
        'synthetic set with: wsss prepare synthetic --out {root.parent}'
    )

    def __init__(
        self,
        data_root: str | Path,
        split: str,
        labels: str | Path | None = 'xml',
        verify_count: bool = False,
        **kwargs: Any,
    ) -> None:
        self.label_source = labels
        self.verify_count = verify_count
        super().__init__(data_root, split, **kwargs)

    def read_split(self) -> Listing:
        """The ids of the list, and the labels from the source that was asked for.

        The classes are the names in ``classes.txt`` if there is one, else those of VOC.
        """
        names = self.root / 'classes.txt'
        classes = tuple(read_lines(names)) if is_there(names) else VOC_CLASSES
        if self.split.endswith('.txt'):
            path = self.root / self.split
        else:
            path = self.root / 'ImageSets' / 'Segmentation' / f'{self.split}.txt'
        photos = PhotoFiles(self.root / 'JPEGImages')
        ids = read_id_list(path, lambda line: bool(photos.candidates(line)))
        expected = VOC_COUNTS.get(path.stem.removesuffix('_id'), len(ids))
        if self.verify_count and len(ids) != expected:
            raise DataError(
                f'{path} lists {len(ids)} images, the official list {expected}: '
                'replace it, or set verify_count=False'
            )
        images = [_image(photos, name) for name in ids]
        try:
            labels = self._labels(ids, classes)
        except DataError:
            self.check_images(ids, images, path)  # an image that is missing comes first
            raise
        return Listing(classes, ids, images, labels, path)

    def _labels(self, ids: Sequence[str], classes: Sequence[str]) -> np.ndarray:
        """Image-level labels of ``ids`` from the source asked for, ``(N, C)``."""
        if self.label_source is None:
            return self._no_labels(ids, classes)
        source, table = str(self.label_source), self.root / TABLE
        if source == 'xml' and not (self.root / 'Annotations').is_dir():
            source = TABLE if table.is_file() else source
        if source.endswith('.npz'):
            return _labels_from_npz(ids, classes, self.root / source)
        sources = {'xml': self._xml_names, 'masks': self._mask_names}
        if source not in sources:
            raise DataError(
                f'labels={self.label_source!r} is no source of image-level labels: '
                "allowed are 'xml', 'masks', the path of an .npz, or None"
            )
        names_of = sources[source]
        position = {name: c for c, name in enumerate(classes)}
        labels = np.zeros((len(ids), len(position)), np.float32)
        for row, name in zip(labels, ids, strict=True):
            row[[position[c] for c in names_of(name, classes)]] = 1
        return labels

    def _no_labels(self, ids: Sequence[str], classes: Sequence[str]) -> np.ndarray:
        if not self.test_mode:
            raise DataError(
                "labels=None is only for test_mode=True: train with labels='xml' "
                'or the path of an .npz'
            )
        return np.zeros((len(ids), len(classes)), np.float32)

    def _xml_names(self, name: str, classes: Sequence[str]) -> set[str]:
        path = self.root / 'Annotations' / f'{name}.xml'
        try:
            names = object_names(read_whole(path), str(path))
        except FileNotFoundError as error:
            raise DataError(
                f"image '{name}' has no label: {path} does not exist; add it, "
                'or give labels= the path of an .npz'
            ) from error
        except (OSError, ValueError) as error:
            raise DataError(f'{path} is no readable annotation ({error})') from error
        check_classes(names, classes, f'{path} names')
        return names

    def _mask_names(self, name: str, classes: Sequence[str]) -> set[str]:
        folders = ('SegmentationClassAug', 'SegmentationClass')
        paths = [self.root / folder / f'{name}.png' for folder in folders]
        path = paths[0] if paths[0].is_file() else paths[1]
        values = np.unique(load_label_map(path, num_classes=1 + len(classes)))
        return {classes[v - 1] for v in values if v not in (0, IGNORE)}


def _image(photos: PhotoFiles, name: str) -> Path:
    """The file of an image: ``<id>.jpg``, or the one of another suffix or case."""
    found = photos.find(f'{name}.jpg')
    return photos.folder / (found or f'{name}.jpg')


def _labels_from_npz(
    ids: Sequence[str], classes: Sequence[str], path: Path
) -> np.ndarray:
    """Rows of the table in ``path`` for ``ids``, ``(N, C)``."""
    arrays = load_npz(path)
    if not {'names', 'labels'} <= set(arrays):
        raise DataError(
            f"{path} lacks the arrays 'names' (N,) and 'labels' (N, C): "
            f'it has {", ".join(sorted(arrays)) or "none"}'
        )
    expected = (len(arrays['names']), len(classes))
    if arrays['labels'].shape != expected:
        raise DataError(
            f'{path} has labels of shape {arrays["labels"].shape}: '
            f'{expected[0]} names and {expected[1]} classes need {expected}'
        )
    row = {str(name): i for i, name in enumerate(arrays['names'])}
    missing = [name for name in ids if name not in row]
    if missing:
        raise DataError(
            f"image '{missing[0]}' (and {len(missing) - 1} more) has no label "
            f'in {path}: give the labels of this split'
        )
    return arrays['labels'][[row[name] for name in ids]] > 0
