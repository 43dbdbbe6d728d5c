"""Data sets with image-level labels, and the transforms their pipelines need."""

from wsss_plugins.datasets.affinity import (
    LoadConfidentScores,
    PoolConfidentLabels,
    ResizeWithScores,
    ShrinkLabelMap,
    confident_labels,
)
from wsss_plugins.datasets.base import WSSSDataset
from wsss_plugins.datasets.coco14 import COCO14
from wsss_plugins.datasets.coco_masks import write_coco_label_maps
from wsss_plugins.datasets.color import ColorJitter
from wsss_plugins.datasets.folder import FolderWSSS
from wsss_plugins.datasets.imagenet import ImageNet
from wsss_plugins.datasets.imagenet_seg import ImageNetSeg
from wsss_plugins.datasets.listing import Listing
from wsss_plugins.datasets.photos import read_image
from wsss_plugins.datasets.sample_seeds import SeededSamples
from wsss_plugins.datasets.tiles import LoadCrop
from wsss_plugins.datasets.transforms import (
    DrawNumber,
    LoadImage,
    LoadLabelMap,
    PackClassInputs,
    RandomCropPad,
    ResizeLongSide,
)
from wsss_plugins.datasets.two_views import TwoViews
from wsss_plugins.datasets.views import CropView, LoadPhoto, LoadView, SameSizeBatches
from wsss_plugins.datasets.voc12 import VOC12

__all__ = [
    'COCO14',
    'VOC12',
    'ColorJitter',
    'CropView',
    'DrawNumber',
    'FolderWSSS',
    'ImageNet',
    'ImageNetSeg',
    'Listing',
    'LoadConfidentScores',
    'LoadCrop',
    'LoadImage',
    'LoadLabelMap',
    'LoadPhoto',
    'LoadView',
    'PackClassInputs',
    'PoolConfidentLabels',
    'RandomCropPad',
    'ResizeLongSide',
    'ResizeWithScores',
    'SameSizeBatches',
    'SeededSamples',
    'ShrinkLabelMap',
    'TwoViews',
    'WSSSDataset',
    'confident_labels',
    'read_image',
    'write_coco_label_maps',
]
