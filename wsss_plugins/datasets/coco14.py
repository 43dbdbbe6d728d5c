"""MS COCO 2014 with image-level labels."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from wsss_plugins.datasets.base import WSSSDataset
from wsss_plugins.datasets.coco_json import load_object
from wsss_plugins.datasets.files import check_classes
from wsss_plugins.datasets.listing import Listing
from wsss_plugins.errors import DataError
from wsss_plugins.registry import DATASETS

COCO_CATEGORIES = {
    1: 'person', 2: 'bicycle', 3: 'car', 4: 'motorcycle', 5: 'airplane', 6: 'bus',
    7: 'train', 8: 'truck', 9: 'boat', 10: 'traffic light', 11: 'fire hydrant',
    13: 'stop sign', 14: 'parking meter', 15: 'bench', 16: 'bird', 17: 'cat',
    18: 'dog', 19: 'horse', 20: 'sheep', 21: 'cow', 22: 'elephant', 23: 'bear',
    24: 'zebra', 25: 'giraffe', 27: 'backpack', 28: 'umbrella', 31: 'handbag',
    32: 'tie', 33: 'suitcase', 34: 'frisbee', 35: 'skis', 36: 'snowboard',
    37: 'sports ball', 38: 'kite', 39: 'baseball bat', 40: 'baseball glove',
    41: 'skateboard', 42: 'surfboard', 43: 'tennis racket', 44: 'bottle',
    46: 'wine glass', 47: 'cup', 48: 'fork', 49: 'knife', 50: 'spoon', 51: 'bowl',
    52: 'banana', 53: 'apple', 54: 'sandwich', 55: 'orange', 56: 'broccoli',
    57: 'carrot', 58: 'hot dog', 59: 'pizza', 60: 'donut', 61: 'cake', 62: 'chair',
    63: 'couch', 64: 'potted plant', 65: 'bed', 67: 'dining table', 70: 'toilet',
    72: 'tv', 73: 'laptop', 74: 'mouse', 75: 'remote', 76: 'keyboard',
    77: 'cell phone', 78: 'microwave', 79: 'oven', 80: 'toaster', 81: 'sink',
    82: 'refrigerator', 84: 'book', 85: 'clock', 86: 'vase', 87: 'scissors',
    88: 'teddy bear', 89: 'hair drier', 90: 'toothbrush',
}  # fmt: skip
"""Category id of the annotations (1 to 90, with gaps) to name."""

COCO_CLASS_OF = {category: c for c, category in enumerate(COCO_CATEGORIES)}
"""Category id to class 0..79; the value in a label map is one more."""


@DATASETS.register_module()
class COCO14(WSSSDataset):
    """MS COCO 2014: the images of an instances file, labelled with its categories.

    Reads ``annotations/instances_<split>.json`` and the images in ``<split>/``
    below ``data_root``. All annotations, crowds included, define the image-level
    labels. An id is a file name without suffix.

    Label maps for evaluation are made once, by
    :func:`wsss_plugins.datasets.coco_masks.write_coco_label_maps`.

    Source: Lin et al. 2014, Microsoft COCO: Common Objects in Context, ECCV.

    Args:
        data_root: The folder with ``annotations/`` and the image folders.
        split: 'train2014' or 'val2014'.
        drop_unlabelled: Whether to leave out images without any annotation; None leaves
            them out of training only.
        **kwargs: See :class:`WSSSDataset`.
    """

    ground_truth_folders: ClassVar[tuple[str, ...]] = ('SegmentationClass',)
    how_to_get: ClassVar[str] = (
        'unpack train2014/, val2014/ and annotations/ of MS COCO 2014 there'
    )
    how_to_get_label_maps: ClassVar[str] = (
        'run the stage that writes it, or draw the ground truth with: '
        'wsss prepare coco-masks --data-root {root} --split {split} '
        '--out FOLDER'
    )

    def __init__(
        self,
        data_root: str | Path,
        split: str,
        drop_unlabelled: bool | None = None,
        **kwargs: Any,
    ) -> None:
        self.drop_unlabelled = drop_unlabelled
        super().__init__(data_root, split, **kwargs)

    def read_split(self) -> Listing:
        """The images of the instances file in its order, with their categories."""
        source = instances_file(self.root, self.split)
        content = load_instances(source)
        found: dict[int, set[int]] = {}
        for item in content['annotations']:
            found.setdefault(item['image_id'], set()).add(item['category_id'])
        images = content['images']
        drop = self.drop_unlabelled
        if drop or (drop is None and not self.test_mode):
            images = [image for image in images if image['id'] in found]
        paths = [self.root / self.split / image['file_name'] for image in images]
        labels = np.zeros((len(paths), len(COCO_CATEGORIES)), np.float32)
        for row, image in zip(labels, images, strict=True):
            row[[COCO_CLASS_OF[c] for c in found.get(image['id'], ())]] = 1
        classes = tuple(COCO_CATEGORIES.values())
        return Listing(classes, [path.stem for path in paths], paths, labels, source)


def instances_path(data_root: Path | str, split: str) -> Path:
    """Path of the instances file of ``split``."""
    return Path(data_root) / 'annotations' / f'instances_{split}.json'


def instances_file(data_root: Path | str, split: str) -> Path:
    """The instances file of ``split``.

    Raises:
        DataError: The instances file of ``split`` does not exist; the message lists the
            splits that do.
    """
    path = instances_path(data_root, split)
    if not path.is_file():
        there = sorted(p.stem[10:] for p in path.parent.glob('instances_*.json'))
        raise DataError(
            f'annotations {path} do not exist: splits there are '
            f'{", ".join(there) or "none"}'
        )
    return path


def _label_only(item: dict[str, Any]) -> dict[str, Any]:
    """Keeps only ids and names of an object while the file is being read."""
    keys = ('images', 'annotations', 'categories', 'id', 'file_name', 'name')
    return {k: v for k, v in item.items() if k in (*keys, 'image_id', 'category_id')}


def _check_items(content: Mapping[str, Any]) -> None:
    """Refuses items without what they are found by.

    Raises:
        ValueError: An id is no whole number or there twice, or a name is no text.
    """
    for key, named in (('categories', 'name'), ('images', 'file_name')):
        ids = [item['id'] for item in content[key]]
        if len({type(i) for i in ids} - {int}) or len(set(ids)) < len(ids):
            raise ValueError(f'an id of {key} is no whole number, or there twice')
        for item in content[key]:
            if not isinstance(item[named], str) or '\0' in item[named]:
                raise ValueError(f'{named} {item[named]!r} of {key} is no text')
    for item in content['annotations']:
        if not type(item['image_id']) is type(item['category_id']) is int:
            raise ValueError('an image_id or category_id is no whole number')


def load_instances(
    path: Path, keep: Callable[[dict[str, Any]], Any] = _label_only
) -> dict[str, Any]:
    """Reads an instances file in little memory.

    The text is read in pieces, and ``keep`` reduces every JSON object as soon as it is
    read; see :func:`wsss_plugins.datasets.coco_json.load_object`.

    Args:
        path: The JSON file.
        keep: Maps an object to what is kept of it; by default ids and names.

    Returns:
        A dict with the lists ``images``, ``annotations`` and ``categories``.

    Raises:
        DataError: The file is not JSON of that form, has an unknown category, or an
            annotation of an image that is not listed.
    """
    try:
        with path.open(encoding='utf-8') as file:
            content = load_object(file, keep)
        _check_items(content)
        names = {c['id']: c['name'] for c in content['categories']}
        images = {image['id'] for image in content['images']}
        used = {a['category_id'] for a in content['annotations']}
        strays = {a['image_id'] for a in content['annotations']} - images
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise DataError(
            f'{path} is no instances file of COCO ({type(error).__name__}: {error}): '
            'it needs images, annotations and categories'
        ) from error
    check_classes(names.values(), list(COCO_CATEGORIES.values()), f'{path} names')
    wrong = [c for c in sorted(used | set(names)) if c not in COCO_CATEGORIES]
    wrong += [c for c, name in names.items() if COCO_CATEGORIES.get(c, name) != name]
    if wrong:
        name = names.get(wrong[0], 'without name')
        raise DataError(
            f'{path} has the category id {wrong[0]} ({name}), which COCO has not: '
            "use COCO's own ids, 1 to 90 with gaps"
        )
    if strays:
        raise DataError(
            f'{path} annotates the image {min(strays)} (and {len(strays) - 1} more), '
            'which it does not list: repair the file'
        )
    return content
