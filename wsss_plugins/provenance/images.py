"""Checksums of the images and masks that a number was measured on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wsss_plugins.config import plain
from wsss_plugins.datasets import WSSSDataset
from wsss_plugins.datasets.configs import bare_config, config_before_training
from wsss_plugins.registry import DATASETS, build_as
from wsss_plugins.structures.card import Split
from wsss_plugins.structures.masks_read import MasksRead, mask_checksum


@dataclass(frozen=True)
class Images:
    """The images of a split, without those that failed, and the folder of their masks."""

    split: Split  # without the checksum of the masks
    ids: tuple[str, ...]
    folder: str


class ImageRegister:
    """The data sets of an experiment; each is built and read once."""

    def __init__(self) -> None:
        self._built: dict[str, WSSSDataset] = {}
        self._known: dict[tuple[int, tuple[str, ...]], Images] = {}

    def build(self, config: Mapping[str, Any]) -> WSSSDataset:
        """Builds the data set of a config without transforms; photos may be missing."""
        config = {**config, 'require_images': False}
        key = json.dumps(plain(config), sort_keys=True, default=str)
        if key not in self._built:
            self._built[key] = build_as(DATASETS, config, WSSSDataset)
        return self._built[key]

    def find(self, config: Mapping[str, Any], failed: set[str]) -> Images:
        """The images of the data set of a config, without the ids in ``failed``."""
        dataset = self.build(config_before_training(config))
        key = id(dataset), tuple(sorted(failed))
        if key not in self._known:
            self._known[key] = _look_at(dataset, failed)
        return self._known[key]

    def masks_checksum(
        self, config: Mapping[str, Any], images: Images, listed: MasksRead
    ) -> str:
        """Checksum of the masks of images; those that are not in ``listed`` are read."""
        keys = {name: (images.folder, name) for name in images.ids}
        sums = {name: listed[key] for name, key in keys.items() if key in listed}
        if len(sums) < len(keys):
            dataset = self.build(bare_config(config, test_mode=True))
            for index, name in enumerate(dataset.ids):
                if name in keys and name not in sums:
                    sums[name] = mask_checksum(dataset.load_mask(index))
        return checksum(json.dumps(sorted(sums.items())))


def _look_at(dataset: WSSSDataset, failed: set[str]) -> Images:
    infos = map(dataset.get_data_info, range(len(dataset)))
    tags = {info['img_id']: info['gt_label'].tobytes() for info in infos}
    rows = {name: tag for name, tag in tags.items() if name not in failed}
    total = hashlib.sha256('\n'.join(dataset.metainfo['classes']).encode())
    for name in sorted(rows):
        total.update(b'\n' + name.encode() + b'\n' + rows[name])
    split = Split(
        data=type(dataset).__name__,
        name=Path(dataset.split).stem,
        images=len(rows),
        checksum=total.hexdigest()[:16],
        left_out=len(dataset) + len(dataset.leave_out) - len(rows),
        tags='masks' if getattr(dataset, 'label_source', '') == 'masks' else 'given',
    )
    return Images(split, tuple(rows), str(dataset.label_map_folder))


def checksum(content: str) -> str:
    """The first 16 hexadecimal digits of the SHA-256 of a text."""
    return hashlib.sha256(content.encode()).hexdigest()[:16]
