"""The rows of table 4 of eX-ViT: the model that is explained, and by which method."""

from wsss_plugins import seeds

rows = dict(
    grad_cam=('vit', dict(type=seeds.AttentionGradCAM)),
    partial_lrp=('vit', dict(type=seeds.PartialLRP)),
    raw_attention=('vit', dict(type=seeds.RawAttention)),  # the row 'ViT'
    rollout=('vit', dict(type=seeds.AttentionRollout)),
    transformer_attribution=('vit', dict(type=seeds.TransformerAttribution)),
    generic_relevance=('vit', dict(type=seeds.GenericAttentionRelevance)),
    ex_vit=('exvit', dict(type=seeds.AttributeCAM)),
)
