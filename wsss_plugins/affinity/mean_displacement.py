"""Measures the mean displacement that an IRNet predicts, when its training has ended."""

from __future__ import annotations

from typing import Any

import torch
from mmengine.dist import all_reduce, get_rank, get_world_size
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from torch import Tensor

from wsss_plugins.affinity.irn import IRNet
from wsss_plugins.errors import ConfigError
from wsss_plugins.registry import HOOKS


@HOOKS.register_module()
class MeanDisplacementHook(Hook):
    """Measures the mean displacement of an :class:`IRNet` after its training.

    The mean runs over one random view of each training image. Displacements that differ by
    a constant have the same loss, so that training leaves their mean to chance, and the
    search of centres needs it to be 0.

    Source: the released code of IRN, which measures it on a list of its own, whose images
    it crops at the top left.
    """

    def after_train(self, runner: Runner) -> None:
        """Sets ``mean_displacement``; every worker looks at its share of the images.

        Raises:
            ConfigError: The model is no :class:`IRNet`.
        """
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        if not isinstance(model, IRNet):
            raise ConfigError(
                f'{type(model).__name__} has no displacements: leave '
                'MeanDisplacementHook out of custom_hooks',
                token='MeanDisplacementHook',
            )
        dataset = runner.train_dataloader.dataset
        begin_epoch = getattr(dataset, 'begin_epoch', None)
        if begin_epoch is not None:  # the views follow from the seed alone
            begin_epoch(runner.seed, runner.max_epochs)
        mean = model.mean_displacement.zero_()
        model.eval()
        total = torch.zeros(2, dtype=torch.float64, device=mean.device)
        for index in range(get_rank(), len(dataset), get_world_size()):
            total += _mean_of(model, dataset[index])
        all_reduce(total)
        mean.copy_(total / len(dataset))
        model.train()


@torch.no_grad()
def _mean_of(model: IRNet, sample: dict[str, Any]) -> Tensor:
    """Mean displacement ``(2,)`` of one sample of a data set."""
    batch = dict(inputs=[sample['inputs']], data_samples=[sample['data_samples']])
    inputs = model.data_preprocessor(batch)['inputs']
    _, displacement = model.maps(inputs)
    return displacement[0].mean((1, 2))
