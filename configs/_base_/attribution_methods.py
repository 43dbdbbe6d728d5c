"""Every attribution method, as the scripts of Chefer et al. call those of their paper."""

from wsss_plugins.seeds import (
    CPLRP,
    GETAM,
    AttentionGradCAM,
    AttentionRollout,
    AttnLRP,
    FullLRP,
    GenericAttentionRelevance,
    InputXGradient,
    IntegratedGradients,
    LeGrad,
    LRPRollout,
    PartialLRP,
    RawAttention,
    TransformerAttribution,
)

methods = dict(
    rollout=dict(type=AttentionRollout, start_block=1),
    raw_attention=dict(type=RawAttention),
    grad_cam=dict(type=AttentionGradCAM),
    lrp=dict(type=FullLRP),
    partial_lrp=dict(type=PartialLRP),
    transformer_attribution=dict(type=TransformerAttribution, start_block=1),
    # These are in neither table.
    lrp_rollout=dict(type=LRPRollout, start_block=1),
    generic_relevance=dict(type=GenericAttentionRelevance),
    attn_lrp=dict(type=AttnLRP),
    cp_lrp=dict(type=CPLRP),
    legrad=dict(type=LeGrad),
    getam=dict(type=GETAM),
    input_x_gradient=dict(type=InputXGradient),
    integrated_gradients=dict(type=IntegratedGradients),
)
