"""Learning rates of DeepLab and IRN: higher for layers that start at random."""

from __future__ import annotations

from typing import Any

from mmengine.optim import DefaultOptimWrapperConstructor
from torch import nn
from torch.nn.modules.batchnorm import _NormBase

from wsss_plugins.errors import ConfigError, near_names
from wsss_plugins.registry import OPTIM_WRAPPER_CONSTRUCTORS

RULES = {
    'head': 10.0,
    'bias': 2.0,
    'bias_decay': 0.0,
    'heads': ('decode_head', 'auxiliary_head'),
}
"""The keys of ``paramwise_cfg`` and their defaults."""

NORMS = (_NormBase, nn.GroupNorm, nn.LayerNorm)


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class DeepLabRates(DefaultOptimWrapperConstructor):
    """At most four groups of parameters: 1x, 2x, 10x and 20x the learning rate.

    ``optim_wrapper = dict(constructor=DeepLabRates, paramwise_cfg=dict(head=10.0), ...)``.
    mmengine's own constructor cannot double the biases of a layer that has a rate of its
    own, and warns of every frozen parameter; here those are left out.

    Source: the solver and ``lr_mult`` of DeepLab's Caffe models (Chen et al., PAMI 2017);
    Ahn and Kwak (PSA), CVPR 2018, use the same four.

    Args:
        optim_wrapper_cfg: With ``optimizer``, which has ``lr`` and ``weight_decay``.
        paramwise_cfg: ``head``, factor of the layers that start at random (default 10);
            ``bias``, further factor of biases other than a norm's (default 2);
            ``bias_decay``, factor of their weight decay (default 0); ``heads``, names of
            the parts of the model that count as the head (default ``decode_head`` and
            ``auxiliary_head``).

    Raises:
        ConfigError: ``paramwise_cfg`` has an unknown key, the optimiser has no learning
            rate, or the model lacks a part of ``heads``.
    """

    def __init__(
        self,
        optim_wrapper_cfg: dict[str, Any],
        paramwise_cfg: dict[str, Any] | None = None,
    ) -> None:
        given = dict(paramwise_cfg or {})
        for key in given:
            if key not in RULES:
                raise ConfigError(
                    f"paramwise_cfg of DeepLabRates has no '{key}': "
                    f'{near_names(key, RULES)}',
                    token=key,
                )
        self.rules = {**RULES, **given}
        super().__init__(optim_wrapper_cfg, self.rules)
        if self.base_lr is None:
            raise ConfigError(
                'DeepLabRates needs optimizer.lr, the learning rate of the backbone',
                token='optimizer',
            )

    def add_params(
        self,
        params: list[dict[str, Any]],
        module: nn.Module,
        prefix: str = '',
        is_dcn_module: int | float | None = None,
    ) -> None:
        """Adds the groups of ``module``'s parameters to ``params``; called by mmengine."""
        heads = [name for name in self.rules['heads'] if hasattr(module, name)]
        if not heads:
            raise ConfigError(
                f'{type(module).__name__} has none of the parts '
                f'{", ".join(self.rules["heads"])}: name its head in paramwise_cfg.heads',
                token='heads',
            )
        norms = {
            f'{name}.bias'
            for name, part in module.named_modules()
            if isinstance(part, NORMS)
        }
        groups: dict[tuple[float, float], list[nn.Parameter]] = {}
        for name, parameter in module.named_parameters():
            if not parameter.requires_grad:
                continue
            rate = self.rules['head'] if name.split('.')[0] in heads else 1.0
            decay = 1.0
            if name.endswith('.bias') and name not in norms:
                rate, decay = rate * self.rules['bias'], self.rules['bias_decay']
            groups.setdefault((rate, decay), []).append(parameter)
        for (rate, decay), chosen in groups.items():
            group = dict(params=chosen, lr=self.base_lr * rate)
            if self.base_wd is not None:
                group['weight_decay'] = self.base_wd * decay
            params.append(group)


MOMENTA = ('released', 'paper')


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class IRNRates(DeepLabRates):
    """Two groups of parameters of an IRNet: the displacement branch learns ten times as fast.

    ``optim_wrapper = dict(constructor=IRNRates, paramwise_cfg=dict(preset='released'),
    optimizer=dict(type=SGD, lr=0.1, weight_decay=1e-4))``.

    Source: the released code of Ahn et al. (IRN), CVPR 2019. Its optimiser passes the weight
    decay in the place of SGD's momentum, so that the momentum is 1e-4; the option called
    momentum, 0.9, is the exponent of the schedule.

    Args:
        optim_wrapper_cfg: With ``optimizer``, an SGD with ``lr`` and ``weight_decay``, whose
            ``momentum`` is filled in.
        paramwise_cfg: ``preset``: ``'released'`` (default), the momentum is the weight
            decay, or ``'paper'``, it is 0.9; and ``head``, factor of the displacement
            branch (default 10).

    Raises:
        ConfigError: ``preset`` or another key is unknown, or the optimiser has no
            ``weight_decay`` or a ``momentum`` of its own.
    """

    def __init__(
        self,
        optim_wrapper_cfg: dict[str, Any],
        paramwise_cfg: dict[str, Any] | None = None,
    ) -> None:
        given = dict(paramwise_cfg or {})
        preset = given.pop('preset', 'released')
        if preset not in MOMENTA:
            raise ConfigError(
                f"unknown preset '{preset}' of IRNRates: {near_names(preset, MOMENTA)}",
                token=preset,
            )
        optimizer = dict(optim_wrapper_cfg['optimizer'])
        if 'momentum' in optimizer or 'weight_decay' not in optimizer:
            raise ConfigError(
                'IRNRates needs optimizer.weight_decay, and sets the momentum itself: leave '
                "optimizer.momentum out and choose preset='released' or 'paper'",
                token='optimizer',
            )
        decay = optimizer['weight_decay']
        optimizer['momentum'] = decay if preset == 'released' else 0.9
        parts = ('displacements', 'coarse', 'mixed', 'displacement')
        rules = dict(bias=1.0, bias_decay=1.0, heads=parts)
        super().__init__(dict(optim_wrapper_cfg, optimizer=optimizer), rules | given)
