"""What networks begin with, and what those weights were learnt from, as far as it is known."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from timm.models import get_pretrained_cfg

from wsss_plugins.backbones.weights import header, weights_file
from wsss_plugins.config import find_type
from wsss_plugins.engine.fingerprint import DECLARED
from wsss_plugins.engine.record import StageRecord
from wsss_plugins.engine.runner import RESUME_FILE, WEIGHTS_FILE
from wsss_plugins.errors import ConfigError, DataError
from wsss_plugins.structures import load_json
from wsss_plugins.structures.card import SupervisionCard
from wsss_plugins.structures.card_json import card_from_json
from wsss_plugins.structures.card_parts import UNKNOWN, kinds

LEARNT_KEY = 'supervision'
"""In the header of a file that is meant to begin with: what it was learnt from."""

METRICS_FILE = 'metrics.json'
CARD_KEY = 'card'
RANDOM = 'from scratch'

_KIND = re.compile(r'none|self-supervised|\S.* (labels|boxes|pixels|texts)')
_NAMES = {
    'imagenet labels': 'ImageNet-1k labels',
    'imagenet-1k labels': 'ImageNet-1k labels',
    'imagenet-21k labels': 'ImageNet-21k labels',
    'imagenet-22k labels': 'ImageNet-21k labels',
    'coco pixels': 'COCO pixels',
}
_IMAGENETS = {
    'in1k': 'ImageNet-1k labels',
    'in12k': 'ImageNet-12k labels',
    'in21k': 'ImageNet-21k labels',
    'in22k': 'ImageNet-21k labels',
}
_SELF = re.compile(r'dino(v\d)?|mae|i?jepa|mim|lvd\d+m|sat\d+m')
_TEXTS = re.compile(r'\w*clip\d*|openai|laion\w*|datacomp\w*|webli|dfn\d\w*')
_SOURCES = ('torchvision://', 'open-mmlab://resnet', 'open-mmlab://vgg')
"""Names under which mmengine knows classifiers that were trained on ImageNet-1k."""


@dataclass(frozen=True)
class InitialWeights:
    """What one part of a model begins with.

    Attributes:
        part: Dotted name of the part, such as 'backbone'.
        source: A model of timm, or the name of a file.
        supervision: See :class:`~wsss_plugins.structures.card_parts.Network`.
        known_by: Likewise.
        card: That of the file, where it has one.
    """

    part: str
    source: str
    supervision: str
    known_by: str
    card: SupervisionCard | None = None


def initial_weights(cfg: Mapping[str, Any]) -> list[InitialWeights]:
    """Every set of weights that a training config names; none means from scratch.

    A card of the file goes before the name of a timm model, that before what the config
    declares under :data:`DECLARED` (for all, or a dict by part), that before nothing.

    Args:
        cfg: A training config, with ``model`` and perhaps ``pretrained`` and
            ``load_from``.

    Raises:
        ConfigError: What is declared is no kind of supervision.
    """
    said = declared_supervision(cfg)
    found = []
    for part, given, name in _named(cfg):
        declared = said.get(part, said.get(''))
        if given is True:
            found.append(_of_timm(part, str(name), declared))
        else:
            found.append(_of_file(part, str(given), declared))
    return found


def weight_files(cfg: Mapping[str, Any]) -> Iterator[tuple[str, Path]]:
    """The dotted part and the path of every file of weights that a config begins with.

    What timm or OpenMMLab fetch by name is none.
    """
    for part, given, _ in _named(cfg):
        if isinstance(given, str) and '://' not in given:
            yield part, weights_file(given)


def declared_supervision(cfg: Mapping[str, Any]) -> dict[str, str]:
    """What a training config declares, by part; '' for all parts.

    Raises:
        ConfigError: The declared text is no known kind of supervision.
    """
    said = cfg.get(DECLARED)
    parts = said if isinstance(said, Mapping) else {'': said}
    return {part: _checked(text) for part, text in parts.items() if text is not None}


def _checked(text: Any) -> str:
    """What is declared, in the words of cards.

    Raises:
        ConfigError: The declared text is no known kind of supervision.
    """
    parts = [part.strip() for part in str(text).split('+')]
    wrong = [part for part in parts if not _KIND.fullmatch(_named_kind(part))]
    if wrong:
        raise ConfigError(
            f"{DECLARED} must be 'none', 'self-supervised' or what was annotated and how, "
            "such as 'ImageNet labels' or 'COCO pixels' (labels, boxes, pixels or texts; "
            f"divided by +), not '{wrong[0]}'",
            token=DECLARED,
        )
    return ' + '.join(sorted(map(_named_kind, parts)))


def _named_kind(text: str) -> str:
    return _NAMES.get(text.lower(), text)


def _named(cfg: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    """Part, what ``pretrained`` is or a file, and the timm name, of all that is loaded."""
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
    """What ``pretrained`` is where a config does not say so."""
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


def _of_timm(part: str, name: str, declared: str | None) -> InitialWeights:
    known = get_pretrained_cfg(name, allow_unregistered=True)
    tag = (known.tag if known else '') or ''
    source = f'{name.split(".")[0]}.{tag} (timm)'
    found = supervision_of_timm(name.split('.')[0], tag)
    if found:
        return InitialWeights(part, source, found, 'name of timm')
    return _declared(part, source, declared)


def supervision_of_timm(model: str, tag: str) -> str | None:
    """What the weights of a timm model were learnt from, by the rules of timm's names.

    Args:
        model: Such as 'vit_base_patch16_224'.
        tag: Such as 'augreg2_in21k_ft_in1k': first trained, then fine-tuned on.

    Returns:
        Kinds, or None where the names do not tell.
    """
    first, _, later = tag.partition('_ft_')
    tokens = first.split('_')
    found = set()
    if 'sa1b' in tokens:
        found.add('SA-1B pixels')
    elif any(map(_SELF.fullmatch, tokens)) or re.search('dinov|beit', model):
        found.add('self-supervised')
    elif any(map(_TEXTS.fullmatch, tokens)) or re.search('clip|siglip', model):
        found.add('web texts')
    else:
        found |= {_IMAGENETS[token] for token in tokens if token in _IMAGENETS}
    if not found:
        return None
    found |= {_IMAGENETS[token] for token in later.split('_') if token in _IMAGENETS}
    return ' + '.join(sorted(found))


def _of_file(part: str, given: str, declared: str | None) -> InitialWeights:
    if given.startswith(_SOURCES):
        return InitialWeights(part, given, 'ImageNet-1k labels', 'name of the source')
    path = weights_file(given)
    card = card_of_weights(path)
    if card is not None:
        own = _header(path).get(LEARNT_KEY)
        texts = [own] if own else [n.supervision for n in card.networks]
        learnt = ' + '.join(sorted(kinds(texts)))
        return InitialWeights(part, path.name, learnt, f'card of {path.name}', card)
    return _declared(part, path.name, declared)


def _declared(part: str, source: str, declared: str | None) -> InitialWeights:
    if declared is not None:
        return InitialWeights(part, source, declared, 'declared in the config')
    text = f'{UNKNOWN} ({source}, not declared)'
    return InitialWeights(part, source, text, 'not declared')


def card_of_weights(path: Path) -> SupervisionCard | None:
    """The card that travels with weights of ours: inside the file, or beside it."""
    path = Path(path)
    if path.name in (WEIGHTS_FILE, RESUME_FILE):
        card = card_of_folder(path.parent)
        if card is not None:
            return card
    return _read(_header(path).get(CARD_KEY))


def _header(path: Path) -> dict[str, str]:
    """What a file of weights says of itself, if it can be read."""
    try:
        return header(path) if path.is_file() else {}
    except (SafetensorError, OSError):
        return {}  # whoever loads the weights says what is wrong


def card_of_folder(folder: Path) -> SupervisionCard | None:
    """The card of a stage's folder, or of one that ``tools/train.py`` wrote."""
    record = StageRecord.load(folder)
    if record is not None:
        return record.supervision
    path = folder / METRICS_FILE
    content = load_json(path) if path.is_file() else None
    return _read(content.get(CARD_KEY)) if isinstance(content, dict) else None


def _read(content: Any) -> SupervisionCard | None:
    """A card, perhaps as text; None where it is none."""
    try:
        content = json.loads(content) if isinstance(content, str) else content
        return None if content is None else card_from_json(content)
    except (DataError, ValueError):
        return None
