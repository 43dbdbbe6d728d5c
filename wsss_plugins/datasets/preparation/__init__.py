"""Builds the folders that data sets read from downloads, and checks every pixel."""

from wsss_plugins.datasets.preparation.coco14 import prepare_coco14
from wsss_plugins.datasets.preparation.convert import convert_masks
from wsss_plugins.datasets.preparation.imagenet_seg import prepare_imagenet_seg
from wsss_plugins.datasets.preparation.own_labels import prepare_labels
from wsss_plugins.datasets.preparation.sbd import prepare_sbd
from wsss_plugins.datasets.preparation.tree import Prepared
from wsss_plugins.datasets.preparation.voc12 import prepare_voc12

__all__ = [
    'Prepared',
    'convert_masks',
    'prepare_coco14',
    'prepare_imagenet_seg',
    'prepare_labels',
    'prepare_sbd',
    'prepare_voc12',
]
