"""Annotations that other tools wrote: COCO, VOC, labelme and YOLO."""

from wsss_plugins.datasets.annotations.marked import Annotation, Marked
from wsss_plugins.datasets.annotations.readers import FORMATS, read_annotations

__all__ = ['FORMATS', 'Annotation', 'Marked', 'read_annotations']
