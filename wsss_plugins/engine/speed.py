"""Switches that make a training faster or smaller: the key ``speed`` of its config."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import torch
from torch import nn

from wsss_plugins.arguments import check_arguments, shown_value
from wsss_plugins.backbones.checkpointing import blocks_of, forget_inside
from wsss_plugins.config import SPEED
from wsss_plugins.engine.counts import count_in_whole_batches
from wsss_plugins.engine.frozen import freeze, parts_named, unknown_part
from wsss_plugins.engine.pieces import refuse_pieces, train_step_in_pieces
from wsss_plugins.engine.precision import in_precision
from wsss_plugins.engine.workers import world_size
from wsss_plugins.errors import ConfigError

_OF_MMENGINE = dict(compile='compile', activation_checkpointing='checkpoint')
"""Keys of mmengine's Runner, and the switch that takes the place of each."""


@dataclass(frozen=True)
class Speed:
    """The switches of one training; all are off by default.

    Args:
        precision: ``'bfloat16'`` or ``'float16'`` computes the forward and backward
            passes with automatic mixed precision; float16 needs a GPU.
        accumulate: Number of pieces in which the batch of each worker is computed. Their
            gradients are added up, so that a step is that of the whole batch.
        checkpoint: True stores only the inputs of the backbone's blocks for the backward
            pass, which computes the rest again; names of parts of the model store only the
            inputs of these.
        channels_last: Whether the weights of convolutions, and with them the maps, have
            the channels as the last axis in memory.
        compile: Whether the backbone is compiled by ``torch.compile``.
        frozen: Names of modules and weights that are not trained, see
            :func:`~wsss_plugins.engine.frozen.parts_named`. Modules stay in evaluation
            mode. They have no backward pass unless weights before them are trained.

    Raises:
        ConfigError: A value is out of range, or switches exclude each other.
    """

    precision: Literal['float32', 'bfloat16', 'float16'] = 'float32'
    accumulate: int = 1
    checkpoint: bool | Sequence[str] = False
    channels_last: bool = False
    compile: bool = False
    frozen: Sequence[str] = ()

    def __post_init__(self) -> None:
        """Refuses values out of range, and switches that exclude each other."""
        if self.accumulate < 1:
            raise ConfigError(
                f'speed.accumulate is a number of pieces of the batch, from 1 on, not '
                f'{self.accumulate}',
                token='accumulate',
            )
        if self.compile and self.checkpoint:
            raise ConfigError(
                'speed.compile and speed.checkpoint exclude each other: torch.compile '
                'refuses parts that are checkpointed with contexts; leave one of them out',
                token='checkpoint',
            )

    @classmethod
    def of(cls, cfg: Mapping[str, Any]) -> Speed:
        """The switches of a training config, all off where it has none.

        Raises:
            ConfigError: A switch is unknown or its value of a wrong kind, or the config has
                a switch of mmengine in place of ours.
        """
        for key, name in _OF_MMENGINE.items():
            if cfg.get(key):
                raise ConfigError(
                    f'{key} is a switch of mmengine that does not fit the models here: '
                    f'set speed.{name} in its place',
                    token=key,
                )
        given = cfg.get(SPEED) or {}
        if not isinstance(given, Mapping):
            raise ConfigError(
                f'speed must be a dict of switches, not {shown_value(given)}',
                token=SPEED,
            )
        check_arguments(cls, given)
        return cls(**given)

    def check(self, model: nn.Module) -> None:
        """Refuses switches that do not work with a model, which is not changed.

        Raises:
            ConfigError: The message names the switch and what in the model excludes it.
        """
        parts_named(model, self.frozen)
        if self.checkpoint:
            self._forgetting(model)
        if self.compile:
            _refuse_compilation(model)
        if self.accumulate > 1:
            refuse_pieces(model)

    def prepare(self, model: nn.Module) -> None:
        """Applies the switches to a model; its weights keep their names and values.

        Call it before the model is wrapped for distributed training.

        Raises:
            ConfigError: A switch does not work with the model.
        """
        self.check(model)
        for name, part in parts_named(model, self.frozen).items():
            freeze(part, name)
        if self.checkpoint:
            own, parts = self._forgetting(model)
            for backbone in own:
                backbone.checkpoint = True
            for part in parts:
                forget_inside(part)
        if self.accumulate > 1 or world_size() > 1:
            count_in_whole_batches(model)
        if self.channels_last:
            whole: Any = model  # mypy does not know the argument
            whole.to(memory_format=torch.channels_last)
        if self.compile:
            model.get_submodule('backbone').compile()

    def in_pieces(self, model: nn.Module) -> nn.Module:
        """The model, perhaps wrapped, whose ``train_step`` computes a batch in pieces."""
        if self.accumulate > 1:
            step = partial(train_step_in_pieces, model, self.accumulate)
            setattr(model, 'train_step', step)  # noqa: B010 (mypy: a method)
        return model

    def optim_wrapper(self, config: Any) -> Any:
        """The config of an optimiser's wrapper in the precision of the training.

        Raises:
            ConfigError: The machine cannot compute in the precision, or the config says a
                precision or an accumulation of its own beside these.
        """
        if not isinstance(config, Mapping):
            return config
        if self.accumulate > 1 and config.get('accumulative_counts', 1) != 1:
            raise ConfigError(
                'speed.accumulate divides the batch, and optim_wrapper.'
                'accumulative_counts joins several batches: leave one of them out',
                token='accumulative_counts',
            )
        return in_precision(config, self.precision)

    def _forgetting(self, model: nn.Module) -> tuple[list[Any], list[nn.Module]]:
        """Backbones that checkpoint by themselves, and parts that are to be checkpointed.

        Raises:
            ConfigError: The model has no part of a name, or no blocks.
        """
        if not isinstance(self.checkpoint, bool):
            named = dict(model.named_modules())
            for name in self.checkpoint:
                if name not in named:
                    raise unknown_part('checkpoint', name, named)
            return [], [named[name] for name in self.checkpoint]
        backbone: Any = getattr(model, 'backbone', model)
        own = [
            m
            for m in backbone.modules()
            if isinstance(getattr(m, 'checkpoint', 0), bool)
        ]
        inside = {id(part) for module in own for part in module.modules()}
        blocks = [block for block in blocks_of(backbone) if id(block) not in inside]
        if not own and not blocks:
            raise ConfigError(
                f'speed.checkpoint=True stores the inputs of blocks, and '
                f'{type(backbone).__name__} has none: name parts of the model, such as '
                "speed.checkpoint=['backbone.features'], or leave it out",
                token='checkpoint',
            )
        return own, blocks


def _refuse_compilation(model: nn.Module) -> None:
    if not isinstance(getattr(model, 'backbone', None), nn.Module):
        raise ConfigError(
            f"speed.compile compiles the model's backbone, and {type(model).__name__} "
            'has none: leave it out',
            token='compile',
        )
