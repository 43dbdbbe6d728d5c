"""A momentum branch: copies of modules whose weights are moving averages."""

from __future__ import annotations

import copy
import math
from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from torch import nn

from wsss_plugins.errors import ConfigError
from wsss_plugins.registry import HOOKS

PATIENCE = 100
"""A branch that was not updated in as many training steps is an error of the config."""


class MomentumBranch(nn.Module):
    """Copies of modules with moving averages of their weights, which are not trained.

    All tensors of the copies are buffers: they are saved and resumed with the model,
    and neither optimisers nor distributed training use them. The copies stay in
    evaluation mode.

    Source: He et al., Momentum Contrast (MoCo), CVPR 2020, eq. 2.

    Args:
        modules: The modules to copy, by the name of the copy.
    """

    def __init__(self, **modules: nn.Module) -> None:
        super().__init__()
        self.steps_waited = 0
        for name, module in modules.items():
            self.add_module(name, _as_buffers(copy.deepcopy(module)))
        self.train(False)

    def train(self, mode: bool = True) -> MomentumBranch:
        """Stays in evaluation mode."""
        super().train(False)
        return self

    @torch.no_grad()
    def follow(self, momentum: float = 0.0, **modules: nn.Module) -> None:
        """Updates the copies towards the original modules.

        Args:
            momentum: m of ``copy = m copy + (1 - m) original``; 0 copies the weights.
            modules: The original modules, by the names of the constructor.
        """
        self.steps_waited = 0
        for name, module in modules.items():
            copies = self.get_submodule(name).state_dict()
            trained = dict(module.named_parameters())
            for key, value in module.state_dict().items():
                if key in trained and value.is_floating_point():
                    copies[key].lerp_(value, 1 - momentum)
                else:
                    copies[key].copy_(value)

    def wait(self) -> None:
        """Counts a training step; the next :meth:`follow` sets the count back.

        Raises:
            ConfigError: The copies were not updated for many steps, so that a
                :class:`MomentumHook` is missing.
        """
        self.steps_waited += 1
        if self.steps_waited > PATIENCE:
            raise ConfigError(
                f'the momentum branch did not move in {PATIENCE} steps of training: add '
                'dict(type=MomentumHook) to custom_hooks, or in a loop of your own call '
                'follow(momentum) after each step'
            )


def _as_buffers(module: nn.Module) -> nn.Module:
    """Turns every parameter below ``module`` into a buffer of the same name."""
    for part in module.modules():
        for name, value in list(part.named_parameters(recurse=False)):
            del part._parameters[name]
            part.register_buffer(name, value.detach())
    return module


@HOOKS.register_module()
class MomentumHook(Hook):
    """Updates the momentum branch of a model after each training step.

    When training begins, the weights are copied into the branch. The momentum depends
    on the number of the step alone, so that a resumed training continues exactly.

    Args:
        momentum: m, in [0, 1).
        warmup: Whether the first steps use a smaller momentum, ``(1 + t) / (10 + t)``
            after t steps. Otherwise the average would contain the random initial
            weights for about 1 / (1 - m) steps.
        ramp: Whether m rises to 1 along half a cosine, as in BYOL.

    Raises:
        ConfigError: ``momentum`` is outside [0, 1).
    """

    def __init__(
        self, momentum: float = 0.999, warmup: bool = True, ramp: bool = False
    ) -> None:
        if not 0 <= momentum < 1:
            raise ConfigError(
                f'momentum must be in [0, 1), not {momentum}', token='momentum'
            )
        self.momentum, self.warmup, self.ramp = momentum, warmup, ramp

    def at(self, step: int, steps: int) -> float:
        """The momentum after ``step`` of ``steps`` steps."""
        value = self.momentum
        if self.ramp:
            value = 1 - (1 - value) * (1 + math.cos(math.pi * step / steps)) / 2
        return min(value, (1 + step) / (10 + step)) if self.warmup else value

    def before_train(self, runner: Runner) -> None:
        """Copies the weights into the branch, unless the training is resumed."""
        if runner.iter == 0:
            self._model(runner).follow(0.0)

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any = None,
        outputs: Any = None,
    ) -> None:
        """Updates the branch after steps that changed the weights."""
        stepped = runner.optim_wrapper.should_update()
        momentum = self.at(runner.iter, runner.max_iters) if stepped else 1.0
        self._model(runner).follow(momentum)

    def _model(self, runner: Runner) -> Any:
        """The model without its distributed wrapper.

        Raises:
            ConfigError: The model has no momentum branch.
        """
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        if not hasattr(model, 'follow'):
            raise ConfigError(
                f'{type(model).__name__} has no momentum branch: leave MomentumHook out',
                token='MomentumHook',
            )
        return model
