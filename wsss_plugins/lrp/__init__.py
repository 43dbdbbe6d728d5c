"""Layer-wise relevance propagation: rules, composites of rules, and operators."""

from wsss_plugins.lrp.composites import COMPOSITES, Composite, composite
from wsss_plugins.lrp.functional import safe_inverse, stable_inverse
from wsss_plugins.lrp.operators import (
    Add,
    AttentionValue,
    Fork,
    Product,
    QueryKey,
    Rotate,
    Scale,
    Select,
    Softmax,
)
from wsss_plugins.lrp.rules import (
    AlphaBeta,
    BatchNormRatio,
    ConservingSum,
    Epsilon,
    Gamma,
    Identity,
    Ratio,
    Rule,
    SoftmaxTaylor,
    ToLast,
    Uniform,
    ZBox,
)

__all__ = [
    'COMPOSITES',
    'Add',
    'AlphaBeta',
    'AttentionValue',
    'BatchNormRatio',
    'Composite',
    'ConservingSum',
    'Epsilon',
    'Fork',
    'Gamma',
    'Identity',
    'Product',
    'QueryKey',
    'Ratio',
    'Rotate',
    'Rule',
    'Scale',
    'Select',
    'Softmax',
    'SoftmaxTaylor',
    'ToLast',
    'Uniform',
    'ZBox',
    'composite',
    'safe_inverse',
    'stable_inverse',
]
