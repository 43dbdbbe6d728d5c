"""Checksums of the images and masks that a number was measured on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
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
        self._known: dict[tuple[tuple[int, ...], tuple[str, ...]], Images] = {}

    def build(self, config: Mapping[str, Any]) -> WSSSDataset:
        """Builds the data set of a config without transforms; photos may be missing."""
        config = {**config, 'require_images': False}
        key = json.dumps(plain(config), sort_keys=True, default=str)
        if key not in self._built:
            self._built[key] = build_as(DATASETS, config, WSSSDataset)
        return self._built[key]

    def find(self, configs: Sequence[Mapping[str, Any]], failed: set[str]) -> Images:
        """The images of the data sets of configs, without the ids in ``failed``."""
        datasets = [self.build(config_before_training(config)) for config in configs]
        key = tuple(map(id, datasets)), tuple(sorted(failed))
        if key not in self._known:
            self._known[key] = _look_at(datasets, failed)
        return self._known[key]

    def masks_checksum(
        self, configs: Sequence[Mapping[str, Any]], images: Images, listed: MasksRead
    ) -> str:
        """Checksum of the masks of images; those that are not in ``listed`` are read."""
        keys = {name: (images.folder, name) for name in images.ids}
        sums = {name: listed[key] for name, key in keys.items() if key in listed}
        for config in configs if len(sums) < len(keys) else ():
            dataset = self.build(bare_config(config, test_mode=True))
            for index, name in enumerate(dataset.ids):
                if name in keys and name not in sums:
                    sums[name] = mask_checksum(dataset.load_mask(index))
        return checksum(json.dumps(sorted(sums.items())))


def _look_at(datasets: Sequence[WSSSDataset], failed: set[str]) -> Images:
    infos = [each.get_data_info(i) for each in datasets for i in range(len(each))]
    tags = {info['img_id']: info['gt_label'].tobytes() for info in infos}
    rows = {name: tag for name, tag in tags.items() if name not in failed}
    classes = '\n'.join(c for each in datasets for c in each.metainfo['classes'])
    parts = [b'\n' + name.encode() + b'\n' + rows[name] for name in sorted(rows)]
    from_masks = any(getattr(d, 'label_source', '') == 'masks' for d in datasets)
    split = Split(
        data=' + '.join(dict.fromkeys(type(each).__name__ for each in datasets)),
        name=' + '.join(dict.fromkeys(Path(each.split).stem for each in datasets)),
        images=len(rows),
        checksum=hashlib.sha256(classes.encode() + b''.join(parts)).hexdigest()[:16],
        left_out=len(tags) + sum(len(d.leave_out) for d in datasets) - len(rows),
        tags='masks' if from_masks else 'given',
    )
    return Images(split, tuple(rows), str(datasets[0].label_map_folder))


def checksum(content: str) -> str:
    """The first 16 hexadecimal digits of the SHA-256 of a text."""
    return hashlib.sha256(content.encode()).hexdigest()[:16]
