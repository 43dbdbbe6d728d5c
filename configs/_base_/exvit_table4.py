"""The rows of table 4 of eX-ViT: the model that is explained, and by which method."""

from wsss_plugins.seeds import (
    AttentionGradCAM,
    AttentionRollout,
    AttributeCAM,
    GenericAttentionRelevance,
    PartialLRP,
    RawAttention,
    TransformerAttribution,
)

rows = dict(
    grad_cam=('vit', dict(type=AttentionGradCAM)),
    partial_lrp=('vit', dict(type=PartialLRP)),
    raw_attention=('vit', dict(type=RawAttention)),  # the row 'ViT'
    rollout=('vit', dict(type=AttentionRollout)),
    transformer_attribution=('vit', dict(type=TransformerAttribution)),
    generic_relevance=('vit', dict(type=GenericAttentionRelevance)),
    ex_vit=('exvit', dict(type=AttributeCAM)),
)
