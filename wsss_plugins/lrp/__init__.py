"""Layer-wise relevance propagation: rules, composites of rules, and operators."""

from wsss_plugins.lrp.composites import COMPOSITES, Composite, composite
from wsss_plugins.lrp.functional import safe_inverse, stable_inverse
from wsss_plugins.lrp.operators import (
    Add,
    AttentionValue,
    Fork,
    QueryKey,
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
    'QueryKey',
    'Ratio',
    'Rule',
    'Select',
    'Softmax',
    'SoftmaxTaylor',
    'ToLast',
    'ZBox',
    'composite',
    'safe_inverse',
    'stable_inverse',
]
