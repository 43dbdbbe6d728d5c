"""Automatic mixed precision of a training: the wrapper of the optimiser that computes it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal

import torch
from mmengine.optim import AmpOptimWrapper, OptimWrapper
from mmengine.runner.amp import autocast
from torch import nn

from wsss_plugins.engine.workers import device
from wsss_plugins.errors import ConfigError
from wsss_plugins.registry import OPTIM_WRAPPERS, find_type

Precision = Literal['float32', 'bfloat16', 'float16']


@OPTIM_WRAPPERS.register_module()
class Bfloat16OptimWrapper(OptimWrapper):
    """mmengine's wrapper, with forward passes in bfloat16, on CPUs and GPUs.

    bfloat16 has the range of float32, so that losses need not be scaled as
    ``AmpOptimWrapper`` scales them for float16. Weights and gradients stay in float32.
    """

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """Computes in bfloat16 what torch's autocast allows."""
        with super().optim_context(model), autocast(dtype=torch.bfloat16):
            yield


def in_precision(wrapper: Mapping[str, Any], precision: Precision) -> dict[str, Any]:
    """The config of an optimiser's wrapper, with the type that a precision needs.

    Args:
        wrapper: The config. Its type is mmengine's ``OptimWrapper`` unless the precision is
            ``'float32'``.
        precision: What the forward passes are computed in.

    Raises:
        ConfigError: The machine cannot compute in the precision, or the type of the
            wrapper says another one.
    """
    kind = find_type(wrapper.get('type', 'OptimWrapper'), OPTIM_WRAPPERS)
    name = getattr(kind, '__name__', str(kind))
    amp = isinstance(kind, type) and issubclass(kind, AmpOptimWrapper)
    if precision != 'float32' and kind is not OptimWrapper:
        raise ConfigError(
            f"speed.precision='{precision}' chooses the type of optim_wrapper, and the "
            f'config says {name}: leave one of them out',
            token='precision',
        )
    if (amp or precision == 'float16') and device().type == 'cpu':
        raise ConfigError(
            f'{name if amp else "float16"} trains in mixed precision that needs a GPU, '
            "and there is none here: set speed.precision='bfloat16', which CPUs have "
            "too, or 'float32', and optim_wrapper.type='OptimWrapper' without "
            'loss_scale, dtype and use_fsdp',
            token=name if amp else 'precision',
        )
    has_bfloat16 = device().type != 'cuda' or torch.cuda.is_bf16_supported()
    if precision == 'bfloat16' and not has_bfloat16:
        raise ConfigError(
            f"speed.precision='bfloat16' needs a GPU that has it, and "
            f"{torch.cuda.get_device_name()} has not: take 'float16'",
            token='precision',
        )
    kinds = dict(float16=AmpOptimWrapper, bfloat16=Bfloat16OptimWrapper)
    return {**wrapper, 'type': kinds.get(precision, kind)}
