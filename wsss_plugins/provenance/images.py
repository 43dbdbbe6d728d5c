"""What is known of the images and the masks that a number was measured on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wsss_plugins.config import find_type, plain, typed_nodes
from wsss_plugins.datasets import WSSSDataset
from wsss_plugins.registry import DATASETS, build_as
from wsss_plugins.structures.card_parts import Split
from wsss_plugins.structures.masks_read import MasksRead, mask_checksum


@dataclass(frozen=True)
class Images:
    """A split, and what its masks are known by.

    Attributes:
        split: What is known of it, masks aside.
        ids: Of its images, without those that failed.
        folder: Of its masks.
    """

    split: Split
    ids: tuple[str, ...]
    folder: str


class ImageRegister:
    """The images of every data set of an experiment; each is looked at once."""

    def __init__(self) -> None:
        self._known: dict[str, Images] = {}

    def find(self, node: Mapping[str, Any], failed: set[str]) -> Images:
        """The images of a data set, given by its config, that did not fail."""
        leave = {'pipeline'} if node.get('test_mode') else {'pipeline', 'label_maps'}
        bare = {k: v for k, v in node.items() if k not in leave}
        bare['require_images'] = False
        key = json.dumps([plain(bare), sorted(failed)], sort_keys=True, default=str)
        if key not in self._known:
            dataset = build_as(DATASETS, bare, WSSSDataset)
            self._known[key] = _look_at(dataset, failed)
        return self._known[key]


def _look_at(dataset: WSSSDataset, failed: set[str]) -> Images:
    rows = {}
    for index in range(len(dataset)):
        info = dataset.get_data_info(index)
        if info['img_id'] not in failed:
            rows[info['img_id']] = info['gt_label'].tobytes()
    total = hashlib.sha256('\n'.join(dataset.metainfo['classes']).encode())
    for name in sorted(rows):
        total.update(b'\n' + name.encode() + b'\n' + rows[name])
    left_out = len(dataset) + len(dataset.leave_out) - len(rows)
    tags = getattr(dataset, 'label_source', 'given')
    split = Split(
        data=type(dataset).__name__,
        name=Path(dataset.split).stem,
        images=len(rows),
        checksum=total.hexdigest()[:16],
        left_out=left_out,
        tags='masks' if tags == 'masks' else 'given',
    )
    return Images(split, tuple(rows), str(dataset.label_map_folder))


def masks_checksum(node: Mapping[str, Any], images: Images, read: MasksRead) -> str:
    """Checksum of the masks of images; those that were not noticed are read again."""
    rest = [name for name in images.ids if (images.folder, name) not in read]
    sums = {name: read[images.folder, name] for name in set(images.ids) - set(rest)}
    if rest:
        bare = {k: v for k, v in node.items() if k != 'pipeline'}
        bare |= dict(require_images=False, test_mode=True)
        dataset = build_as(DATASETS, bare, WSSSDataset)
        place = {name: index for index, name in enumerate(dataset.ids)}
        sums |= {n: mask_checksum(dataset.load_mask(place[n])) for n in rest}
    return checksum(json.dumps(sorted(sums.items())))


def find_dataset(node: Any) -> Mapping[str, Any] | None:
    """The first data set of ours below ``node``."""
    for each in typed_nodes(node):
        kind = find_type(each['type'])
        if isinstance(kind, type) and issubclass(kind, WSSSDataset):
            return each
    return None


def file_checksum(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open('rb') as file:
        total = hashlib.sha256()
        while block := file.read(1 << 20):
            total.update(block)
        return total.hexdigest()


def checksum(content: str) -> str:
    """The first 16 hexadecimal digits of the SHA-256 of a text."""
    return hashlib.sha256(content.encode()).hexdigest()[:16]
