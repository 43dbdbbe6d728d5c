"""The rows of eX-ViT's ablations, as overrides of a training config."""

# Table 6: L_global, L_dis, L_div; without L_global the encoder learns by a plain CAM.
modules = {
    'cam': {
        'model.head.classify': 'tokens',
        'model.attribute_loss.discriminability': 0.0,
        'model.attribute_loss.diversity': 0.0,
        'custom_hooks': [],
    },
    'g': {
        'model.attribute_loss.discriminability': 0.0,
        'model.attribute_loss.diversity': 0.0,
        'custom_hooks': [],
    },
    'dis': {
        'model.head.classify': 'tokens',
        'model.attribute_loss.diversity': 0.0,
    },
    'div': {
        'model.head.classify': 'tokens',
        'model.attribute_loss.discriminability': 0.0,
        'custom_hooks': [],
    },
    'g_dis': {'model.attribute_loss.diversity': 0.0},
    'g_div': {'model.attribute_loss.discriminability': 0.0, 'custom_hooks': []},
    'g_dis_div': {},
}

# Table 7: c and S.
attributes = {
    f'c{channels}_s{count}': {
        'model.head.channels': channels,
        'model.head.attributes': count,
    }
    for channels, count in (
        (512, 8),
        (512, 16),
        (256, 4),
        (256, 8),
        (256, 16),
        (128, 4),
        (128, 8),
    )
}
