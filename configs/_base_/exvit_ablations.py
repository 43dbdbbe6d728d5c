"""The rows of eX-ViT's ablations, as overrides of a training config."""

# Table 6: L_global, L_dis, L_div; without L_global the encoder learns by a plain CAM.
_no_global = {'model.head.classify': 'tokens'}
_no_dis = {'model.attribute_loss.discriminability': 0.0, 'custom_hooks': []}
_no_div = {'model.attribute_loss.diversity': 0.0}
modules = {
    'cam': _no_global | _no_dis | _no_div,
    'g': _no_dis | _no_div,
    'dis': _no_global | _no_div,
    'div': _no_global | _no_dis,
    'g_dis': _no_div,
    'g_div': _no_dis,
    'g_dis_div': {},
}

# Table 7: c and S.
_pairs = ((512, 8), (512, 16), (256, 4), (256, 8), (256, 16), (128, 4), (128, 8))
attributes = {
    f'c{c}_s{s}': {'model.head.channels': c, 'model.head.attributes': s}
    for c, s in _pairs
}
