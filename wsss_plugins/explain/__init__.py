"""One photo in Python: the maps of a classifier, the seed made of them, its refinement."""

from wsss_plugins.explain.affinity import AffinityExplanation, explain_affinity
from wsss_plugins.explain.affinity_sheet import draw_affinity
from wsss_plugins.explain.attribute_sheet import draw_attributes
from wsss_plugins.explain.attributes import AttributeExplanation, explain_attributes
from wsss_plugins.explain.call import Explanation, explain, read_photo
from wsss_plugins.explain.classes import choose_classes, class_names
from wsss_plugins.explain.methods import build_method, method_names, short_name
from wsss_plugins.explain.models import load_model
from wsss_plugins.explain.seed import make_seed, refine_seed
from wsss_plugins.explain.sheet import draw_sheet

__all__ = [
    'AffinityExplanation',
    'AttributeExplanation',
    'Explanation',
    'build_method',
    'choose_classes',
    'class_names',
    'draw_affinity',
    'draw_attributes',
    'draw_sheet',
    'explain',
    'explain_affinity',
    'explain_attributes',
    'load_model',
    'make_seed',
    'method_names',
    'read_photo',
    'refine_seed',
    'short_name',
]
