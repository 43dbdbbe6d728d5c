"""What the paper of ACR says, and what its released code does, as overrides of acr/voc.py.

Only what the two differ in; docs/methods.md says why for each.
"""

# 0.5 in [0, 1], as the hybrid's ImageNet weights were trained; a short side's padding
# is the mean colour in either case.
half = {
    'model.mean': [127.5, 127.5, 127.5],
    'model.std': [127.5, 127.5, 127.5],
    'train_dataloader.dataset.pipeline.3.pad': [128, 128, 128],
    'val_dataloader.dataset.pipeline.2.pad': [128, 128, 128],
}
imagenet = {
    'model.mean': [123.675, 116.28, 103.53],
    'model.std': [58.395, 57.12, 57.375],
    'train_dataloader.dataset.pipeline.3.pad': [124, 116, 104],
    'val_dataloader.dataset.pipeline.2.pad': [124, 116, 104],
}

presets = {
    'paper': {
        'model.backbone.final_norm': True,
        'model.backbone.std_eps': None,  # timm's
        'model.consistency.activation_weight': 100.0,
        'model.consistency.affinity_weight': 100.0,
        'optim_wrapper.optimizer.lr': 0.01,
        'optim_wrapper.optimizer.momentum': 0.9,  # the paper does not say
        'optim_wrapper.optimizer.weight_decay': 5e-4,
        'train_cfg.max_epochs': 15,
        'param_scheduler.0.end': 15,
        **half,
    },
    'released': {
        'model.backbone.final_norm': False,
        'model.backbone.std_eps': 1e-5,
        'model.consistency.activation_weight': 125.0,
        'model.consistency.affinity_weight': 125.0,
        'optim_wrapper.optimizer.lr': 0.05,
        # The weight decay is passed in the place of the momentum.
        'optim_wrapper.optimizer.momentum': 5e-4,
        'optim_wrapper.optimizer.weight_decay': 0.0,
        'train_cfg.max_epochs': 10,
        'param_scheduler.0.end': 10,
        **imagenet,
    },
}
# Its script for COCO names no weight, which leaves the default.
presets['released_coco'] = presets['released'] | {
    'model.consistency.activation_weight': 100.0,
    'model.consistency.affinity_weight': 100.0,
    'train_cfg.max_epochs': 5,
    'param_scheduler.0.end': 5,
}
