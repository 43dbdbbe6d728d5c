"""What the result of a stage follows from, as a hash."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from typing import Any

from wsss_plugins.config import find_type, plain
from wsss_plugins.datasets import WSSSDataset
from wsss_plugins.datasets.configs import config_before_training, dataset_configs
from wsss_plugins.registry import DATASETS, MOVED, build_as

_FORMER = {now: former for former, now in MOVED.items()}

DECLARED = 'pretrained_supervision'
"""Key of a training config: what the weights it names were learnt from."""


def fingerprint(config: Any, seed: int, inputs: dict[str, str]) -> str:
    """A hash of all that a stage's result follows from.

    Args:
        config: The config of the stage.
        seed: The seed of the experiment.
        inputs: Fingerprint of each stage it reads.

    Returns:
        16 hexadecimal digits.
    """
    said = by_former_paths(plain(config))
    content = json.dumps([said, seed, inputs], sort_keys=True, default=str)
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def by_former_paths(node: Any) -> Any:
    """``node`` with moved plug-ins under their former paths: a move changes no result."""
    if isinstance(node, dict):
        return {key: by_former_paths(value) for key, value in node.items()}
    if isinstance(node, list):
        return [by_former_paths(value) for value in node]
    return _FORMER.get(node, node) if isinstance(node, str) else node


def without_remarks(config: Mapping[str, Any], speed: Collection[str]) -> Any:
    """A stage's config without what no result depends on."""
    says = {k: v for k, v in config.items() if k not in speed}
    if isinstance(says.get('config'), Mapping):
        says['config'] = {k: v for k, v in says['config'].items() if k != DECLARED}
    return says


class DataDigests:
    """Digest of every data set that a config names; each is made once.

    Label maps to train on are left out: a stage makes them.
    """

    def __init__(self) -> None:
        self.known: dict[str, str] = {}

    def __call__(self, config: dict[str, Any], images: bool = True) -> list[str]:
        """Makes every data set that ``config`` names, and so checks it.

        Args:
            config: The config of a stage.
            images: Whether to refuse an image that is missing.

        Raises:
            DataError: A mistake in the data.
        """
        digests = []
        settings = {} if images else dict(require_images=False)
        for node in dataset_configs(config):
            bare = config_before_training(node, **settings)
            key = json.dumps(plain(bare), sort_keys=True, default=str)
            if key not in self.known:
                self.known[key] = build_as(DATASETS, bare, WSSSDataset).digest()
            digests.append(self.known[key])
        return digests

    def named(
        self, config: dict[str, Any], images: bool = True
    ) -> tuple[tuple[str, str], ...]:
        """The same with what each data set is called for people; the arguments likewise."""
        names = [_name(n) for n in dataset_configs(config)]
        return tuple(zip(names, self(config, images), strict=False))


def _name(node: Mapping[str, Any]) -> str:
    kind = find_type(node['type'])
    where = (node.get('data_root'), node.get('split'))
    return ' '.join(str(word) for word in (kind.__name__, *where) if word is not None)
