"""The values that pass between stages: seeds, label maps, cards, and their files."""

from wsss_plugins.structures.card import SupervisionCard
from wsss_plugins.structures.files import (
    PART_FILES,
    atomic_path,
    load_json,
    load_npz,
    save_json,
    save_npz,
)
from wsss_plugins.structures.instances import Instances
from wsss_plugins.structures.label_map import (
    IGNORE,
    agreed_labels,
    load_label_map,
    save_label_map,
    voc_palette,
)
from wsss_plugins.structures.sample import ClassSample
from wsss_plugins.structures.seed import Seed

__all__ = [
    'IGNORE',
    'PART_FILES',
    'ClassSample',
    'Instances',
    'Seed',
    'SupervisionCard',
    'agreed_labels',
    'atomic_path',
    'load_json',
    'load_label_map',
    'load_npz',
    'save_json',
    'save_label_map',
    'save_npz',
    'voc_palette',
]
