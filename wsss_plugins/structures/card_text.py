"""Supervision cards as text: a line of abbreviations, a list of all facts, and JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable
from enum import Enum
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from wsss_plugins.errors import DataError
from wsss_plugins.structures.card import (
    AppliedTo,
    CodeState,
    Network,
    Said,
    Source,
    Split,
    SupervisionCard,
    Taught,
    Threshold,
    in_words,
    read,
    supervision_in,
)

LEGEND = {
    'VOC12 val 1449': 'the images measured and how many; (-2): two failed',
    'I': 'networks learnt from image-level labels',
    'I from masks': 'these labels were derived from ground-truth masks',
    'F': 'a network learnt from ground-truth masks',
    '?': 'it is not known what a network, or imported files, were trained on',
    'scratch': 'a network began with random weights',
    'IN-1k, IN-21k': 'a network began with weights from labels of ImageNet',
    'SSL': 'a network began with weights that were learnt without labels',
    'thr: these masks': 'the threshold is the best on the masks it is measured on',
    'thr: masks×0.8': '0.8 times the best on the masks of other images',
    'thr: fixed': 'the threshold, or what stands for it, is a number of the config',
    'thr: otsu': 'the threshold follows from the seeds without any mask',
    'true tags': 'the last inference was told the classes of each image',
    'predicted tags': 'the classes of each image were predicted',
    'CRF': 'dense CRF on the predictions',
    'label CRF': 'dense CRF on the way to pseudo labels',
    'ms+flip': 'several scales and the mirrored image; 1 view: the image alone',
    '3 of 5 classes': 'the mean is over these; the others are absent from the masks',
    '3 seeds': 'runs with other random seeds',
    'code accepted': 'code changed after a stage ran; the user kept its result',
    'background lost': 'label maps lost most of the background of their seeds',
}
"""The abbreviations of :func:`short_form`."""

CODE_WORDS = {
    CodeState.ACCEPTED: 'changed after this stage ran; accepted by --accept-code',
    CodeState.UNRECORDED: 'not recorded by the version that ran this stage',
    CodeState.UNKNOWN: 'without a source file, so its changes are not noticed',
    CodeState.LOST: 'ran as recorded; its label maps lost the background of the seeds',
}
IMAGENETS = {'ImageNet-1k labels': 'IN-1k', 'ImageNet-21k labels': 'IN-21k'}


def short_form(card: SupervisionCard) -> str:
    """The card in one line, with the abbreviations that :data:`LEGEND` explains."""
    seeds, networks = min(len(card.seeds), card.runs), card.networks
    crf = ['CRF' if c.on is AppliedTo.PREDICTIONS else 'label CRF' for c in card.crf]
    parts = [
        str(card.split or ''),
        _each((_abbreviated(n.learnt_from) for n in networks), '+'),
        _each(sorted(_abbreviated(t) for n in networks for t in n.supervision), '+'),
        _each((_threshold(card, t) for t in card.thresholds), ', '),
        _abbreviated(card.labels) if card.labels else '',
        _each(crf, '+'),
        _views(card)[0],
        f'{card.protocol["classes"]} classes' if 'classes' in card.protocol else '',
        f'{seeds} seed{"s" * (seeds != 1)}' if seeds else '',
        _each((c.state.short for c in card.code), ' · '),
    ]
    return ' · '.join(filter(None, parts))


def _each(texts: Iterable[str], between: str) -> str:
    """Joins the texts that are not empty, each once."""
    return between.join(dict.fromkeys(filter(None, texts)))


def _abbreviated(fact: Said[Any]) -> str:
    return IMAGENETS.get(str(fact), fact.kind.short.format(fact.detail))


def _threshold(card: SupervisionCard, threshold: Threshold) -> str:
    source = card.source_of(threshold)
    if threshold.source is Source.LABEL_FREE:
        source = threshold.detail or source
    factor = '' if threshold.factor == 1 else f'×{threshold.factor:g}'
    return f'thr: {"masks" if source == "other masks" else source}{factor}'


def _views(card: SupervisionCard) -> tuple[str, str]:
    """Texts of scales and mirroring, abbreviated and in full."""
    scales = card.scales or (1.0,)
    if card.scales is None and card.flip is None:
        return '', 'none'
    sizes = 'ms' if len(scales) > 1 else f'scale {scales[0]:g}'
    flip = 'flip' if card.flip else ''
    short = _each(['' if scales == (1.0,) else sizes, flip], '+') or '1 view'
    mirrored = 'with mirrored images' if card.flip else 'not mirrored'
    return short, f'scales {", ".join(f"{s:g}" for s in scales)}, {mirrored}'


def long_form(card: SupervisionCard) -> list[tuple[str, str]]:
    """All facts of a card, as pairs of a title and a text."""
    split, masks = card.split, card.split and card.split.masks
    measured = 'to measure only' if masks else 'none'
    runs = f'{card.runs} run{"s" * (card.runs != 1)}, seeds '
    rows = [('images measured', 'none')]
    if split:
        read = f'checksum {masks}' if masks else 'none read'
        rows = [('images measured', _images(split)), ('their masks', read)]
    return [
        *rows,
        *((f'network of {n.stage}', _network(n)) for n in card.networks),
        *((f'threshold of {t.stage}', _found(t)) for t in card.thresholds),
        ('image-level labels at the last inference', str(card.labels or 'none')),
        ('views', _views(card)[1]),
        *(
            (f'CRF of {c.stage}', f'{c.preset}, on {c.on.value} {c.settings}'.strip())
            for c in card.crf
        ),
        *((f'methods of {m.stage}', m.what) for m in card.methods),
        ('ground-truth pixels', '; '.join(card.pixels) or measured),
        *((title.replace('_', ' '), text) for title, text in card.protocol.items()),
        ('random seeds', runs + (_listed(card.seeds) or 'unknown')),
        *((f'code of {c.stage}', CODE_WORDS[c.state]) for c in card.code),
        ('commits', _listed(card.commits) or 'unknown'),
        ('machines', f'{_listed(card.devices)}; workers {_listed(card.workers)}'),
        ('versions', _listed(card.versions)),
    ]


def _listed(values: Iterable[object]) -> str:
    return ', '.join(map(str, values))


def _images(split: Split) -> str:
    text = f'{split.images} of {split.data} {split.name}, checksum {split.checksum}'
    text += f', {split.left_out} left out' if split.left_out else ''
    return text + (', tags derived from masks' if split.tags == 'masks' else '')


def _network(network: Network) -> str:
    text = f'{network.model}, {network.weights}'
    if network.supervision != {Taught.NOTHING()}:
        text += f' ({in_words(network.supervision)}: {_listed(network.known_by)})'
    text += f', learns from {network.learnt_from}'
    return text + (f' of {network.split}' if network.split else '')


def _found(threshold: Threshold) -> str:
    text = '' if threshold.factor == 1 else f'{threshold.factor:g} times '
    text += threshold.source.value
    text += f' ({threshold.detail})' if threshold.detail else ''
    text += f', on {threshold.split}' if threshold.split else ''
    values = ', '.join(f'{value:g}' for value in threshold.values)
    return text + (f': {values}' if values else '')


def card_to_json(card: SupervisionCard) -> dict[str, Any]:
    """Turns a card into JSON; the short form and the uses of pixels are added to read."""
    content = _converted(SupervisionCard, card, to_json=True)
    if not card.code:
        del content['code']
    return dict(short=short_form(card), **content, pixels=list(card.pixels))


def card_from_json(content: Any) -> SupervisionCard:
    """Reads a card from JSON of :func:`card_to_json`, or from the text of the JSON.

    Raises:
        DataError: ``content`` is no dict, lacks a field, or has a value of a wrong type.
    """
    try:
        content = json.loads(content) if isinstance(content, str) else content
        names = SupervisionCard.__dataclass_fields__
        known = {k: v for k, v in {**content}.items() if k in names}
        return _converted(SupervisionCard, known, to_json=False)
    except (TypeError, KeyError, AttributeError, ValueError) as error:
        raise DataError(
            f'this is no supervision card ({error}): run the stage again that wrote it'
        ) from error


def _converted(kind: Any, value: Any, to_json: bool) -> Any:
    """Turns a value of type ``kind`` into JSON, or that JSON back into the value."""
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        return None if value is None else _converted(inner[0], value, to_json)
    if origin is frozenset:
        return in_words(value) if to_json else supervision_in(value)
    if origin is Said:
        return str(value) if to_json else read(inner[0], value)
    if origin is tuple:
        is_text = get_origin(inner[0]) is Said
        parts = value.split(', ') if is_text and not to_json else value
        found = [_converted(inner[0], each, to_json) for each in parts]
        return tuple(found) if not to_json else ', '.join(found) if is_text else found
    if hasattr(kind, '__dataclass_fields__'):
        given, hints = vars(value) if to_json else {**value}, get_type_hints(kind)
        parts = {k: _converted(hints.get(k), v, to_json) for k, v in given.items()}
        return parts if to_json else kind(**parts)
    if isinstance(kind, type) and issubclass(kind, Enum):
        return value.value if to_json else kind(value)
    return value
