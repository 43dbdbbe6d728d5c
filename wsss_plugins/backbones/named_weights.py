"""Finds the initial weights that a training config names, and what it says of their training."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from timm.models import get_pretrained_cfg

from wsss_plugins.backbones.package_weights import is_imagenet_package
from wsss_plugins.backbones.weights import header_of, weights_file
from wsss_plugins.config import find_type
from wsss_plugins.errors import ConfigError
from wsss_plugins.structures.card import (
    Said,
    Supervision,
    Taught,
    in_words,
    supervision_in,
)

DECLARED = 'pretrained_supervision'
"""Key of a training config that declares what its initial weights were trained on."""

LEARNT_KEY = 'supervision'
"""Key in the header of an exported backbone: the annotations it was trained on."""

_IMAGENETS = {
    'in1k': Taught.LABELS('ImageNet-1k'),
    'in12k': Taught.LABELS('ImageNet-12k'),
    'in21k': Taught.LABELS('ImageNet-21k'),
    'in22k': Taught.LABELS('ImageNet-21k'),
}
_SOURCES = ('torchvision://', 'open-mmlab://resnet', 'open-mmlab://vgg')
"""Prefixes of mmengine's names for classifiers that were trained on ImageNet-1k."""

_NAMES = {
    'imagenet labels': 'ImageNet-1k labels',
    'imagenet-1k labels': 'ImageNet-1k labels',
    'imagenet-21k labels': 'ImageNet-21k labels',
    'imagenet-22k labels': 'ImageNet-21k labels',
    'coco pixels': 'COCO pixels',
}
_SELF = re.compile(r'dino(v\d)?|mae|i?jepa|mim|lvd\d+m|sat\d+m')
_TEXTS = re.compile(r'\w*clip\d*|openai|laion\w*|datacomp\w*|webli|dfn\d\w*')


def named_weights(cfg: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    """The weights that a training config names.

    Args:
        cfg: A training config, with ``model`` and perhaps ``pretrained`` and
            ``load_from``.

    Yields:
        The dotted name of a part of the model; True or the file or source of its weights;
        and the part's timm name, if it has one.
    """
    if cfg.get('load_from'):
        yield 'model', cfg['load_from'], None
        return
    files = dict(cfg.get('pretrained') or {})
    for path, node in _nodes(cfg.get('model') or {}, ''):
        given = node.get('pretrained', _default(node.get('type')))
        start = node.get('init_cfg')
        if isinstance(start, Mapping) and start.get('type') == 'Pretrained':
            given = start.get('checkpoint')
        covered = any(path == part or path.startswith(f'{part}.') for part in files)
        if given and not covered:
            yield path or 'model', given, node.get('name')
    for part, file in files.items():
        yield part, file, None


def _nodes(node: Any, path: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every dict with a type below ``node``, with its dotted name."""
    items: Any = ()
    if isinstance(node, Mapping):
        if 'type' in node:
            yield path, node
        items = ((k, v) for k, v in node.items() if k != 'init_cfg')
    elif isinstance(node, list | tuple):
        items = enumerate(node)
    for key, value in items:
        yield from _nodes(value, f'{path}.{key}' if path else str(key))


def _default(kind: Any) -> Any:
    """The value of ``pretrained`` if a config does not set it."""
    try:
        cls = find_type(kind)
    except ConfigError:
        return None
    for base in inspect.getmro(cls) if inspect.isclass(cls) else ():
        own = base.__dict__.get('__init__')
        given = inspect.signature(own).parameters if own is not None else {}
        if 'pretrained' in given:
            default = given['pretrained'].default
            return None if default is inspect.Parameter.empty else default
    return None


def weight_files(cfg: Mapping[str, Any]) -> Iterator[tuple[str, Path]]:
    """The dotted part and the path of every file of weights that a config begins with.

    What timm or OpenMMLab fetch by name is none.
    """
    for part, given, _ in named_weights(cfg):
        if isinstance(given, str) and '://' not in given:
            yield part, weights_file(given)


def supervision_of_timm(model: str, tag: str) -> Supervision:
    """The annotations that the weights of a timm model were trained on, from its name.

    Args:
        model: Such as 'vit_base_patch16_224'.
        tag: Such as 'augreg2_in21k_ft_in1k': first trained, then fine-tuned on.

    Returns:
        Kinds; empty where the names do not tell.
    """
    first, _, later = tag.partition('_ft_')
    tokens = first.split('_')
    found: set[Said[Taught]] = set()
    if 'sa1b' in tokens:
        found.add(Taught.PIXELS('SA-1B'))
    elif any(map(_SELF.fullmatch, tokens)) or re.search('dinov|beit', model):
        found.add(Taught.SELF())
    elif any(map(_TEXTS.fullmatch, tokens)) or re.search('clip|siglip', model):
        found.add(Taught.TEXTS('web'))
    else:
        found |= {_IMAGENETS[token] for token in tokens if token in _IMAGENETS}
    if found:
        found |= {_IMAGENETS[each] for each in later.split('_') if each in _IMAGENETS}
    return frozenset(found)


def weights_of_timm(name: str) -> tuple[str, Supervision]:
    """The full name of the weights of a timm model, and what they were trained on."""
    known = get_pretrained_cfg(name, allow_unregistered=True)
    model, tag = name.split('.')[0], (known.tag if known else '') or ''
    return f'{model}.{tag}', supervision_of_timm(model, tag)


def supervision_of_file(path: Path) -> Supervision:
    """The annotations that an exported backbone was trained on; empty for other files."""
    return supervision_in(header_of(path).get(LEARNT_KEY, ''))


def supervision_of_source(given: str) -> Supervision:
    """The annotations of weights of a known name or package; empty if it does not tell."""
    known = given.startswith(_SOURCES) or is_imagenet_package(given)
    return frozenset([Taught.LABELS('ImageNet-1k')] if known else [])


def declared_supervision(cfg: Mapping[str, Any]) -> dict[str, Supervision]:
    """The supervision that a training config declares, by part; '' stands for all parts.

    Raises:
        ConfigError: The declared text is no known kind of supervision.
    """
    said = cfg.get(DECLARED)
    parts = said if isinstance(said, Mapping) else {'': said}
    return {part: _checked(text) for part, text in parts.items() if text is not None}


def _checked(text: Any) -> Supervision:
    parts = [part.strip() for part in str(text).split('+')]
    found = supervision_in(' + '.join(_NAMES.get(p.lower(), p) for p in parts))
    wrong = {each for each in found if each.kind in (Taught.UNKNOWN, Taught.OTHER)}
    if wrong or not all(parts):
        raise ConfigError(
            f"{DECLARED} must be 'none', 'self-supervised' or what was annotated and how, "
            "such as 'ImageNet labels' or 'COCO pixels' (labels, boxes, pixels or texts; "
            f"divided by +), not '{in_words(frozenset(wrong)) or text}'",
            token=DECLARED,
        )
    return found
