"""Parts of a model that are not trained, by name."""

from __future__ import annotations

import fnmatch
import logging
from collections.abc import Mapping, Sequence
from typing import Any

from mmengine.logging import print_log
from torch import Tensor, nn

from wsss_plugins.errors import ConfigError, near_names


def parts_named(
    model: nn.Module, names: Sequence[str]
) -> dict[str, nn.Module | Tensor]:
    """Modules and weights of a model, by name; those inside of another one are left out.

    Args:
        model: The model.
        names: Names of modules and of weights, with ``*``, ``?`` and ``[0-5]`` for several,
            as in ``'backbone.vit.blocks.[0-5]'``.

    Raises:
        ConfigError: A name fits nothing, or nothing else is left to train.
    """
    parts: dict[str, Any] = dict(model.named_modules()) | dict(model.named_parameters())
    parts.pop('', None)
    found: dict[str, Any] = {}
    for name in names:
        chosen = fnmatch.filter(parts, name)
        if not chosen:
            raise unknown_part('frozen', name, parts)
        found |= {key: parts[key] for key in chosen}
    outer = {
        key: part
        for key, part in found.items()
        if not any(key.startswith(f'{other}.') for other in found)
    }
    still = {id(weight) for part in outer.values() for weight in _weights_of(part)}
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    if outer and all(id(weight) in still for weight in trained):
        raise ConfigError(
            f'speed.frozen={list(names)} leaves nothing to train: name fewer parts',
            token='frozen',
        )
    return outer


def unknown_part(switch: str, name: str, parts: Mapping[str, Any]) -> ConfigError:
    """The error of a switch that names no part of the model."""
    return ConfigError(
        f"speed.{switch}: the model has no part '{name}'; {near_names(name, parts)}",
        token=name,
    )


def freeze(part: nn.Module | Tensor, name: str) -> None:
    """Takes a module or a weight out of training; a module stays in evaluation mode.

    The first pass with gradients warns of a module whose backward pass is computed all the
    same.

    Args:
        part: The module or the weight.
        name: Its name in the model, for the warning.
    """
    part.requires_grad_(False)
    if not isinstance(part, nn.Module):
        return
    part.eval()
    setattr(part, 'train', lambda mode=True: part)  # noqa: B010 (mypy: a method)

    def look(_: nn.Module, __: object, output: Any) -> None:
        """Forward hook that looks at one training pass and removes itself."""
        outputs = output if isinstance(output, list | tuple) else [output]
        handle.remove()
        if any(isinstance(each, Tensor) and each.requires_grad for each in outputs):
            print_log(
                f'speed.frozen: {name} is frozen, and its backward pass is computed all '
                'the same, since weights before it are trained: freeze these too',
                logger='current',
                level=logging.WARNING,
            )

    handle = part.register_forward_hook(look)


def _weights_of(part: nn.Module | Tensor) -> list[Tensor]:
    return [part] if isinstance(part, Tensor) else list(part.parameters())
