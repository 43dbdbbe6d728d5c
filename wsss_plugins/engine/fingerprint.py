"""Fingerprints: hashes of the config, seed and data that a stage's result depends on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wsss_plugins.backbones.named_weights import DECLARED
from wsss_plugins.config import SPEED, find_type, plain
from wsss_plugins.datasets import WSSSDataset
from wsss_plugins.datasets.configs import config_before_training, dataset_configs
from wsss_plugins.engine.contents import Content, ContentIndex
from wsss_plugins.engine.stage import Stage
from wsss_plugins.registry import DATASETS, MOVED, build_as
from wsss_plugins.shares import AS_WRITTEN

_FORMER = {now: former for former, now in MOVED.items()}

REMARKS = (DECLARED, AS_WRITTEN, 'visualizer')
"""Keys of a training config that change no result."""

EXACT = ('accumulate', 'channels_last', 'checkpoint', 'compile')
"""Switches of ``speed`` that change no number but for rounding and random draws."""


def fingerprint(config: Any, seed: int, inputs: dict[str, str]) -> str:
    """A hash of the config, the seed and the inputs that a stage's result depends on.

    Args:
        config: The config of the stage.
        seed: Random seed of the experiment.
        inputs: Fingerprint of each stage that the stage reads, by name.

    Returns:
        16 hexadecimal digits.
    """
    said = by_former_paths(plain(config))
    content = json.dumps([said, seed, inputs], sort_keys=True, default=str)
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def by_former_paths(node: Any) -> Any:
    """Replaces paths of moved plug-ins by their former paths.

    Fingerprints thus stay the same when a plug-in moves to another module.
    """
    if isinstance(node, dict):
        return {key: by_former_paths(value) for key, value in node.items()}
    if isinstance(node, list):
        return [by_former_paths(value) for value in node]
    return _FORMER.get(node, node) if isinstance(node, str) else node


def without_remarks(config: Mapping[str, Any], speed: Collection[str]) -> Any:
    """A stage's config without the keys that change no result.

    Args:
        config: Config of the stage.
        speed: Names of arguments that change only how fast the stage runs.
    """
    kept = {k: v for k, v in config.items() if k not in speed}
    if isinstance(kept.get('config'), Mapping):
        training = {k: v for k, v in kept['config'].items() if k not in REMARKS}
        if isinstance(switches := training.get(SPEED), Mapping):
            del training[SPEED]
            if changes := {k: v for k, v in switches.items() if k not in EXACT}:
                training[SPEED] = changes
        kept['config'] = training
    return kept


class DataDigests:
    """Computes the digest of every data set in a config; builds each data set once.

    Label maps for training are ignored, since an earlier stage makes them.

    Args:
        index: Known hashes of files; by default those that are stored on this machine.
    """

    def __init__(self, index: ContentIndex | None = None) -> None:
        self.known: dict[str, str] = {}
        self._index = ContentIndex() if index is None else index
        self._made: dict[str, _Files] = {}
        self._contents: dict[tuple[str, str], Content] = {}

    def __call__(self, config: dict[str, Any], images: bool = True) -> list[str]:
        """Builds every data set in ``config``, which checks it, and returns the digests.

        Args:
            config: Config of a stage.
            images: True to raise an error if an image does not exist.

        Raises:
            DataError: A data set cannot be read, see
                :class:`~wsss_plugins.datasets.WSSSDataset`.
        """
        digests = []
        for node in dataset_configs(config):
            bare, key = _key(node, images)
            if key not in self.known:
                dataset = build_as(DATASETS, bare, WSSSDataset)
                self.known[key] = dataset.digest()
                self._made[key] = _files_of(dataset)
            digests.append(self.known[key])
        return digests

    def named(
        self, config: dict[str, Any], images: bool = True
    ) -> tuple[tuple[str, str], ...]:
        """Pairs of a data set's name for messages and its digest; arguments as in a call."""
        names = [_name(n) for n in dataset_configs(config)]
        return tuple(zip(names, self(config, images), strict=False))

    def contents(self, config: dict[str, Any], stage: Stage) -> dict[str, Content]:
        """Hashes the files that a stage reads from outside of the work dir.

        Files of other stages are left out. Every worker calls this method, after the data
        sets of the config were built.

        Args:
            config: Config of the stage.
            stage: The stage.

        Returns:
            The hashes by kind and owner of the files, such as 'photos of VOC12 train'.
        """
        found: dict[str, Content] = {}
        for node in dataset_configs(config):
            _, key = _key(node, stage.needs_every_image)
            files = self._made.get(key)
            if files is None:
                continue
            wanted: dict[str, Sequence[Path]] = {}
            if stage.reads_photos:
                wanted['photos'] = files.photos
            if stage.reads_masks and node.get('label_maps') is not None:
                wanted['masks'] = files.masks(str(node['label_maps']))
            for kind, paths in wanted.items():
                if not paths:
                    continue  # these files are made by a stage
                where = f'{key} {node.get("label_maps")}', kind
                if where not in self._contents:
                    self._contents[where] = self._index.content(
                        kind, _name(node), files.root, paths
                    )
                _enter(found, self._contents[where])
        for owner, paths in stage.files_read().items():
            root = Path(owner) if Path(owner).is_dir() else Path(owner).parent
            _enter(found, self._index.content('files', owner, root, paths))
        return found


@dataclass(frozen=True)
class _Files:
    """The files of a data set.

    Attributes:
        root: Folder of the data set.
        ids: Ids of the images.
        photos: Path of each photo.
        label_maps: Path of each label map; empty if the data set was built without them.
    """

    root: Path
    ids: tuple[str, ...]
    photos: tuple[Path, ...]
    label_maps: tuple[Path, ...]

    def masks(self, given: str) -> Sequence[Path]:
        """Paths of the label maps in the folder ``given``.

        For a data set that is a single file, this file has the label maps. The list is
        empty if the folder does not exist yet, since a stage then makes it.
        """
        if self.label_maps:
            return self.label_maps
        for folder in (self.root / given, Path(given)):
            if folder.is_dir():
                return [folder / f'{name}.png' for name in self.ids]
        one = dict.fromkeys(self.photos)
        return list(one) if len(one) == 1 else []


def _files_of(dataset: WSSSDataset) -> _Files:
    infos = [dataset.get_data_info(index) for index in range(len(dataset))]
    maps = [Path(i['seg_map_path']) for i in infos if i.get('seg_map_path')]
    return _Files(
        dataset.root,
        tuple(info['img_id'] for info in infos),
        tuple(Path(info['img_path']) for info in infos),
        tuple(maps),
    )


def _enter(found: dict[str, Content], content: Content) -> None:
    """Adds hashes under a name; a number is appended if the name is taken by others."""
    name, number = f'{content.kind} of {content.owner}', 1
    key = name
    while key in found and found[key].digest != content.digest:
        number += 1
        key = f'{name} ({number})'
    found[key] = content


def _key(node: Mapping[str, Any], images: bool) -> tuple[dict[str, Any], str]:
    """The config of a data set without label maps that a stage makes, and a key of it."""
    settings = {} if images else dict(require_images=False)
    bare = config_before_training(node, **settings)
    return bare, json.dumps(plain(bare), sort_keys=True, default=str)


def _name(node: Mapping[str, Any]) -> str:
    kind = find_type(node['type'])
    where = (node.get('data_root'), node.get('split'))
    return ' '.join(str(word) for word in (kind.__name__, *where) if word is not None)
