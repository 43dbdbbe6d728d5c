"""Image-level labels from VOC's annotations, and the file that stores them."""

from __future__ import annotations

import io
from collections.abc import Collection, Mapping

import numpy as np

from wsss_plugins.datasets.annotation_xml import object_names
from wsss_plugins.datasets.files import check_classes
from wsss_plugins.datasets.preparation.tree import Tree
from wsss_plugins.datasets.voc12 import VOC_CLASSES


def object_classes(data: bytes, where: str, difficult: bool = True) -> set[int]:
    """Classes 0 to 19 of the objects in an annotation.

    Raises:
        DataError: The file is damaged or names an unknown class.
    """
    names = object_names(data, where, difficult)
    check_classes(names, VOC_CLASSES, f'{where} names')
    return {VOC_CLASSES.index(name) for name in names}


def put_labels(
    tree: Tree, name: str, classes_of: Mapping[str, Collection[int]], num_classes: int
) -> None:
    """Writes labels as ``VOC12(labels=...)`` reads them: ``names`` (N,), ``labels`` (N, C)."""
    labels = np.zeros((len(classes_of), num_classes), np.uint8)
    for row, classes in zip(labels, classes_of.values(), strict=True):
        row[list(classes)] = 1
    buffer = io.BytesIO()
    np.savez_compressed(buffer, names=np.array(list(classes_of)), labels=labels)
    tree.make(name, buffer.getvalue())
