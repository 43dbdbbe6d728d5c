"""A second branch whose weights are moving averages of those that are trained."""

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
"""Training steps after which a branch that never moved is a mistake of the config."""


class MomentumBranch(nn.Module):
    """Copies of modules, that follow them slowly and are not trained.

    Everything in them is a buffer: it is saved and resumed with the model, and neither
    optimisers nor distributed training see it. They stay in evaluation mode.

    Source: He et al., Momentum Contrast (MoCo), CVPR 2020, eq. 2.

    Args:
        modules: What to copy, by the name of the copy.
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
        """Moves the copies towards what they are copies of.

        Args:
            momentum: m of ``copy = m copy + (1 - m) original``; 0 makes them equal.
            modules: The originals, by the names given first.
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
            ConfigError: The copies have not moved for long.
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
    """Moves the momentum branch of a model after each step of training.

    The branch is made equal to what it follows when training begins. The momentum of a
    step follows from its number alone, so that a resumed training goes on exactly.

    Args:
        momentum: m, in [0, 1).
        warmup: Whether the first steps take a smaller one, ``(1 + t) / (10 + t)`` after
            t steps: an average over 1 / (1 - m) steps would for as long be one of
            random weights.
        ramp: Whether m rises to 1 along half a cosine, as in BYOL.

    Raises:
        ConfigError: ``momentum`` out of range.
    """

    def __init__(
        self, momentum: float = 0.999, warmup: bool = True, ramp: bool = False
    ) -> None:
        if not 0 <= momentum < 1:
            raise ConfigError(f'momentum must be in [0, 1), not {momentum}', 'momentum')
        self.momentum, self.warmup, self.ramp = momentum, warmup, ramp

    def at(self, step: int, steps: int) -> float:
        """The momentum after ``step`` of ``steps`` steps."""
        value = self.momentum
        if self.ramp:
            value = 1 - (1 - value) * (1 + math.cos(math.pi * step / steps)) / 2
        return min(value, (1 + step) / (10 + step)) if self.warmup else value

    def before_train(self, runner: Runner) -> None:
        """Makes the branch equal, unless training goes on."""
        if runner.iter == 0:
            self._model(runner).follow(0.0)

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any = None,
        outputs: Any = None,
    ) -> None:
        """Moves the branch, if the weights have moved: gradients may be accumulated."""
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
                'MomentumHook',
            )
        return model
