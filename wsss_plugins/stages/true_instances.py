"""Ground-truth objects of a data set, for measurements alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as run_lengths

from wsss_plugins.datasets import COCO14, WSSSDataset
from wsss_plugins.datasets.coco14 import (
    COCO_CATEGORIES,
    instances_file,
    instances_path,
    load_instances,
)
from wsss_plugins.errors import ConfigError, DataError
from wsss_plugins.metrics import CocoAP
from wsss_plugins.registry import find_type
from wsss_plugins.structures import IGNORE, load_label_map

OBJECTS = 'SegmentationObject'
"""Folder of a VOC devkit with the number of the object in each pixel."""


def instance_dataset(
    dataset: Mapping[str, Any], stage: str, kinds: tuple[type[WSSSDataset], ...]
) -> type[WSSSDataset]:
    """The class of a data set whose objects can be measured.

    Args:
        dataset: Config of the images.
        stage: Name of the stage, for the message.
        kinds: The classes that the stage can measure.

    Raises:
        ConfigError: The data set is none of ``kinds``.
    """
    kind = find_type(dataset['type'])
    if not (isinstance(kind, type) and issubclass(kind, kinds)):
        raise ConfigError(
            f"stage '{stage}' measures on masks of single objects, which "
            f'{getattr(kind, "__name__", kind)} has not: give '
            + ' or '.join(f'a {each.__name__}' for each in kinds),
            token=stage,
        )
    return kind


def files_of_instances(dataset: Mapping[str, Any]) -> tuple[Path, ...]:
    """The file of COCO with the objects of a data set; of VOC none beside its masks.

    Args:
        dataset: Config of the images.
    """
    kind = find_type(dataset['type'])
    if isinstance(kind, type) and issubclass(kind, COCO14):
        return (instances_path(dataset['data_root'], dataset['split']),)
    return ()


def true_instances(
    dataset: WSSSDataset,
) -> tuple[CocoAP, dict[str, int], tuple[int, ...]]:
    """The measure with the objects in all images of a data set.

    Args:
        dataset: A :class:`COCO14` with its instances file, or a :class:`VOC12` with the
            masks SegmentationClass and SegmentationObject, in ``test_mode``.

    Returns:
        The measure, the number of each image in it by id, and the category of each class.

    Raises:
        DataError: The objects are missing or damaged.
    """
    if isinstance(dataset, COCO14):
        content = load_instances(instances_file(dataset.root, dataset.split), _slim)
        number = {Path(i['file_name']).stem: i['id'] for i in content['images']}
        categories = tuple(COCO_CATEGORIES)
        return (
            CocoAP(content, [number[name] for name in dataset.ids]),
            number,
            categories,
        )
    number = {name: index + 1 for index, name in enumerate(dataset.ids)}
    categories = tuple(range(1, 1 + len(dataset.foreground_classes)))
    sizes, objects = [], []
    for index, name in enumerate(dataset.ids):
        size = dataset.image_size(index)
        sizes.append(dict(id=number[name], height=size[0], width=size[1]))
        objects += list(_objects_of(dataset, index, number[name]))
    content = dict(
        images=sizes, annotations=objects, categories=[dict(id=c) for c in categories]
    )
    return CocoAP(content), number, categories


def _objects_of(
    dataset: WSSSDataset, index: int, image: int
) -> Iterator[dict[str, Any]]:
    """A record of each object of a VOC image; its class is that of most of its pixels."""
    name, folder = dataset.ids[index], dataset.root / OBJECTS
    if not folder.is_dir():
        raise DataError(
            f'{folder} does not exist, and objects are measured on its masks: unpack it '
            'with the others of VOC, or make a synthetic set anew in another folder'
        )
    numbers = load_label_map(folder / f'{name}.png')
    labels = dataset.load_mask(index)
    if labels.shape != numbers.shape:
        raise DataError(
            f'{folder / name}.png is {numbers.shape} (height, width) and its label map '
            f'{labels.shape}: take both from one archive'
        )
    for value in np.unique(numbers):
        if value in (0, IGNORE):
            continue
        mask = numbers == value
        classes = np.bincount(labels[mask], minlength=256)
        classes[[0, IGNORE]] = 0
        if not classes.any():
            raise DataError(
                f'object {value} of {folder / name}.png has no class in its label map: '
                'take both from one archive'
            )
        code = run_lengths.encode(np.asfortranarray(mask, np.uint8))
        yield dict(
            id=value,
            image_id=image,
            category_id=int(classes.argmax()),
            segmentation=code,
            area=float(mask.sum()),
            iscrowd=0,
        )


def _slim(item: dict[str, Any]) -> dict[str, Any]:
    """Turns polygons into arrays and drops boxes while the file is read, to save memory."""
    segments = item.get('segmentation')
    if isinstance(segments, list):
        item['segmentation'] = [np.asarray(p, np.float64) for p in segments]
    item.pop('bbox', None)
    return item
