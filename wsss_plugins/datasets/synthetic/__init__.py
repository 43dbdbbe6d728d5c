"""A synthetic VOC data set whose classes differ in small heads, hardly in bodies."""

from wsss_plugins.datasets.synthetic.devkit import write_devkit
from wsss_plugins.datasets.synthetic.preview import save_preview
from wsss_plugins.datasets.synthetic.scene import Scene, render, render_scene
from wsss_plugins.datasets.synthetic.spec import (
    SYNTHETIC_CLASSES,
    RecombinedSpec,
    SyntheticSpec,
)

__all__ = [
    'SYNTHETIC_CLASSES',
    'RecombinedSpec',
    'Scene',
    'SyntheticSpec',
    'render',
    'render_scene',
    'save_preview',
    'write_devkit',
]
