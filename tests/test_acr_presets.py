"""The presets of ACR: what configs/acr/voc.py becomes with each."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from mmengine.optim import build_optim_wrapper
from mmengine.registry import init_default_scope

from wsss_plugins.classifiers import ACRClassifier
from wsss_plugins.config import check_config, load_config, plain
from wsss_plugins.registry import MODELS, SCOPE, build_as

CONFIGS = Path(__file__).parents[1] / 'configs'
PRESETS = load_config(CONFIGS / '_base_/acr_presets.py').presets.to_dict()

# lr, momentum, weight decay, epochs, alpha = beta, last norm, epsilon, mean and deviation
EXPECTED = {
    'paper': (0.01, 0.9, 5e-4, 15, 100, True, None, 127.5, 127.5),
    'released': (0.05, 5e-4, 0.0, 10, 125, False, 1e-5, 123.675, 58.395),
    'released_coco': (0.05, 5e-4, 0.0, 5, 100, False, 1e-5, 123.675, 58.395),
}


@pytest.mark.parametrize('name', sorted(EXPECTED))
def test_what_is_built(name) -> None:
    init_default_scope(SCOPE)
    small = {'model.backbone.pretrained': False, 'model.backbone.depth': 1}
    base = load_config(CONFIGS / 'acr/voc.py').to_dict()
    cfg = load_config(CONFIGS / 'acr/voc.py', PRESETS[name] | small)
    check_config(cfg.to_dict())
    model = build_as(MODELS, cfg.model, ACRClassifier)
    group = build_optim_wrapper(model, cfg.optim_wrapper).optimizer.param_groups[0]
    (schedule,) = cfg.param_scheduler
    assert schedule.end == cfg.train_cfg.max_epochs and schedule.power == 0.9
    loss, prepare = model.consistency, model.data_preprocessor
    assert loss.activation_weight == loss.affinity_weight
    eps = {
        getattr(m, 'eps', None)
        for m in model.backbone.modules()
        if type(m).__name__ == 'DeviationConv2d'
    }
    got = (
        group['lr'], group['momentum'], group['weight_decay'], cfg.train_cfg.max_epochs,
        loss.affinity_weight, model.backbone.final_norm, *(eps or {None}),
        prepare.mean[0].item(), prepare.std[0].item(),
    )  # fmt: skip
    assert got == pytest.approx(EXPECTED[name])
    for loader, at in (('train_dataloader', 3), ('val_dataloader', 2)):
        pad = cfg[loader].dataset.pipeline[at].pad
        padded = (torch.tensor(pad) - prepare.mean.flatten()) / prepare.std.flatten()
        assert padded.abs().max() < 0.01, 'padding is the mean colour'
    # All else is that of voc.py.
    changed = {key.split('.')[0] for key in PRESETS[name]}
    assert all(cfg.to_dict()[k] == base[k] for k in base if k not in changed)


def test_both_presets_name_the_same_options() -> None:
    keys = [set(preset) for preset in PRESETS.values()]
    assert all(other == keys[0] for other in keys) and set(PRESETS) == set(EXPECTED)


def test_the_config_of_the_released_settings() -> None:
    """configs/acr/voc_released.py is voc.py with the preset, to the last option."""
    written = load_config(CONFIGS / 'acr/voc_released.py').to_dict()
    made = load_config(CONFIGS / 'acr/voc.py', PRESETS['released']).to_dict()
    assert written.pop('max_epochs') == made['train_cfg']['max_epochs']
    made.pop('max_epochs')
    assert plain(written) == plain(made)
