"""Every attribution method, as the scripts of Chefer et al. call those of their paper."""

from wsss_plugins import seeds

methods = dict(
    rollout=dict(type=seeds.AttentionRollout, start_block=1),
    raw_attention=dict(type=seeds.RawAttention),
    grad_cam=dict(type=seeds.AttentionGradCAM),
    lrp=dict(type=seeds.FullLRP),
    partial_lrp=dict(type=seeds.PartialLRP),
    transformer_attribution=dict(type=seeds.TransformerAttribution, start_block=1),
    # These are in neither table.
    lrp_rollout=dict(type=seeds.LRPRollout, start_block=1),
    generic_relevance=dict(type=seeds.GenericAttentionRelevance),
    attn_lrp=dict(type=seeds.AttnLRP),
    cp_lrp=dict(type=seeds.CPLRP),
    legrad=dict(type=seeds.LeGrad),
    getam=dict(type=seeds.GETAM),
    input_x_gradient=dict(type=seeds.InputXGradient),
    integrated_gradients=dict(type=seeds.IntegratedGradients),
)
