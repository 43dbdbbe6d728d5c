"""Why a model says so: from a model and a photo to the maps of its classes."""

from wsss_plugins.explain.call import Explanation, explain, read_photo
from wsss_plugins.explain.classes import choose_classes, class_names
from wsss_plugins.explain.methods import build_method, method_names, short_name
from wsss_plugins.explain.models import load_model
from wsss_plugins.explain.sheet import draw_sheet

__all__ = [
    'Explanation',
    'build_method',
    'choose_classes',
    'class_names',
    'draw_sheet',
    'explain',
    'load_model',
    'method_names',
    'read_photo',
    'short_name',
]
