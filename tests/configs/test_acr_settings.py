"""The two settings of ACR, the paper's and the released code's: what they build."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.optim import build_optim_wrapper
from mmengine.registry import init_default_scope

from wsss_plugins.classifiers import ACRClassifier
from wsss_plugins.config import check_config, load_config, plain
from wsss_plugins.registry import MODELS, SCOPE, build_as

ACR = Path(__file__).parents[2] / 'configs/acr'

# lr, momentum, weight decay, epochs, alpha = beta, last norm, epsilon, mean and deviation
EXPECTED = {
    'voc.py': (0.01, 0.9, 5e-4, 15, 100, True, None, 127.5, 127.5),
    'coco.py': (0.01, 0.9, 5e-4, 5, 100, True, None, 127.5, 127.5),
    'voc_released.py': (0.05, 5e-4, 0.0, 10, 125, False, 1e-5, 123.675, 58.395),
    'coco_released.py': (0.05, 5e-4, 0.0, 5, 100, False, 1e-5, 123.675, 58.395),
}
OPTIMISER = {f'optim_wrapper.optimizer.{k}' for k in ('lr', 'momentum', 'weight_decay')}
MODEL = {'model.mean', 'model.std'}
MODEL |= {'model.backbone.final_norm', 'model.backbone.std_eps'}
EPOCHS = {'max_epochs', 'train_cfg.max_epochs', 'param_scheduler.end'}
WEIGHTS = {f'model.consistency.{k}_weight' for k in ('activation', 'affinity')}
PADDING = {f'{k}_dataloader.dataset.pipeline.pad' for k in ('train', 'val')}


def values(node: Any, key: str = '') -> dict[str, list[Any]]:
    """Every value of a config by its dotted key, which leaves out places in lists."""
    if isinstance(node, (dict, list)) and not all(isinstance(v, float) for v in node):
        found: dict[str, list[Any]] = {}
        items = node.items() if isinstance(node, dict) else [('', v) for v in node]
        for name, value in items:
            for below, some in values(
                value, '.'.join(filter(None, (key, name)))
            ).items():
                found.setdefault(below, []).extend(some)
        return found
    return {key: [node]}


def different(one: str, other: str) -> set[str]:
    a, b = (values(plain(load_config(ACR / name).to_dict())) for name in (one, other))
    return {key for key in a.keys() | b.keys() if a.get(key) != b.get(key)}


@pytest.mark.parametrize('name', EXPECTED)
def test_what_is_built(name: str) -> None:
    init_default_scope(SCOPE)
    small = {'model.backbone.pretrained': False, 'model.backbone.depth': 1}
    cfg = load_config(ACR / name, small)
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
    for loader in ('train_dataloader', 'val_dataloader'):
        (crop,) = (step for step in cfg[loader].dataset.pipeline if 'pad' in step)
        mean, deviation = prepare.mean.flatten(), prepare.std.flatten()
        padded = (torch.tensor(crop.pad) - mean) / deviation
        assert padded.abs().max() < 0.01, 'padding is the mean colour'


def test_the_released_code_differs_in_these_options_alone() -> None:
    settings = OPTIMISER | MODEL | PADDING
    assert different('voc.py', 'voc_released.py') == settings | WEIGHTS | EPOCHS
    # On COCO both train for the released 5 epochs, with the weights of the paper.
    assert different('coco.py', 'coco_released.py') == settings
