"""Finds the initial weights of networks, and the annotations these were trained on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from timm.models import get_pretrained_cfg

from wsss_plugins.backbones.named_weights import named_weights, supervision_of_timm
from wsss_plugins.backbones.package_weights import is_imagenet_package
from wsss_plugins.backbones.weights import weights_file
from wsss_plugins.engine.fingerprint import DECLARED
from wsss_plugins.errors import ConfigError
from wsss_plugins.provenance.files import card_of_weights, header_of
from wsss_plugins.structures.card import SupervisionCard
from wsss_plugins.structures.card_parts import (
    KnownBy,
    Said,
    Supervision,
    Taught,
    in_words,
    supervision_in,
)

LEARNT_KEY = 'supervision'
"""Key in the header of an exported backbone: the annotations it was trained on."""

_NAMES = {
    'imagenet labels': 'ImageNet-1k labels',
    'imagenet-1k labels': 'ImageNet-1k labels',
    'imagenet-21k labels': 'ImageNet-21k labels',
    'imagenet-22k labels': 'ImageNet-21k labels',
    'coco pixels': 'COCO pixels',
}
_SOURCES = ('torchvision://', 'open-mmlab://resnet', 'open-mmlab://vgg')
"""Prefixes of mmengine's names for classifiers that were trained on ImageNet-1k."""


@dataclass(frozen=True)
class InitialWeights:
    """The initial weights of one part of a model.

    Attributes:
        part: Dotted name of the part, such as 'backbone'.
        source: Name of a model of timm, or of a file.
        supervision: Annotations that the weights were trained on.
        known_by: Source of that knowledge.
        card: Card of the file; None if it has none.
    """

    part: str
    source: str
    supervision: Supervision
    known_by: Said[KnownBy]
    card: SupervisionCard | None = None


def initial_weights(cfg: Mapping[str, Any]) -> list[InitialWeights]:
    """Lists the initial weights that a training config names.

    The supervision of each is taken from the card of the file, or from the name of the
    timm model; only if neither is known, from the declaration in the config under
    :data:`DECLARED` (a text for all parts, or a dict by part). Otherwise it is unknown.

    Args:
        cfg: A training config, with ``model`` and perhaps ``pretrained`` and
            ``load_from``.

    Returns:
        The weights of each part; empty if the model is trained from scratch.

    Raises:
        ConfigError: The declared text is no known kind of supervision.
    """
    said = declared_supervision(cfg)
    found = []
    for part, given, name in named_weights(cfg):
        declared = said.get(part, said.get(''))
        if given is True:
            found.append(_of_timm(part, str(name), declared))
        else:
            found.append(_of_file(part, str(given), declared))
    return found


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


def _of_timm(part: str, name: str, declared: Supervision | None) -> InitialWeights:
    known = get_pretrained_cfg(name, allow_unregistered=True)
    tag = (known.tag if known else '') or ''
    source = f'{name.split(".")[0]}.{tag} (timm)'
    found = supervision_of_timm(name.split('.')[0], tag)
    if found:
        return InitialWeights(part, source, found, KnownBy.TIMM())
    return _declared(part, source, declared)


def _of_file(part: str, given: str, declared: Supervision | None) -> InitialWeights:
    if given.startswith(_SOURCES) or is_imagenet_package(given):
        learnt = frozenset([Taught.LABELS('ImageNet-1k')])
        return InitialWeights(part, given, learnt, KnownBy.SOURCE())
    path = weights_file(given)
    card = card_of_weights(path)
    if card is None:
        return _declared(part, path.name, declared)
    own = supervision_in(header_of(path).get(LEARNT_KEY, ''))
    learnt = own or frozenset(kind for n in card.networks for kind in n.supervision)
    return InitialWeights(part, path.name, learnt, KnownBy.CARD(path.name), card)


def _declared(part: str, source: str, declared: Supervision | None) -> InitialWeights:
    if declared is not None:
        return InitialWeights(part, source, declared, KnownBy.DECLARED())
    unknown = frozenset([Taught.UNKNOWN(f'{source}, not declared')])
    return InitialWeights(part, source, unknown, KnownBy.NOT_DECLARED())
