"""Supervision cards as text: a line of abbreviations, and a list of all facts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from wsss_plugins.structures.card import SupervisionCard
from wsss_plugins.structures.card_parts import (
    AppliedTo,
    CodeState,
    Learnt,
    Network,
    Said,
    Source,
    Split,
    Tags,
    TagSource,
    Taught,
    Threshold,
    in_words,
)

LEGEND: Mapping[str, str] = MappingProxyType(
    {
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
    }
)
"""The abbreviations of :func:`short_form`."""

CODE_WORDS: Mapping[CodeState, str] = MappingProxyType(
    {
        CodeState.ACCEPTED: 'changed after this stage ran; accepted by --accept-code',
        CodeState.UNRECORDED: 'not recorded by the version that ran this stage',
        CodeState.UNKNOWN: 'without a source file, so its changes are not noticed',
    }
)
SHORT_LEARNT: Mapping[Learnt, str] = MappingProxyType(
    {
        Learnt.TAGS: 'I',
        Learnt.TAGS_FROM_MASKS: 'I from masks',
        Learnt.PIXELS: 'F',
        Learnt.UNKNOWN: '?',
        Learnt.OTHER: '?',
    }
)
SHORT_TAUGHT: Mapping[Said[Taught], str] = MappingProxyType(
    {
        Taught.NOTHING(): 'scratch',
        Taught.LABELS('ImageNet-1k'): 'IN-1k',
        Taught.LABELS('ImageNet-21k'): 'IN-21k',
        Taught.SELF(): 'SSL',
    }
)
SHORT_TAGS: Mapping[Tags, str] = MappingProxyType(
    {
        Tags.NONE: '',
        Tags.TRUE: 'true tags',
        Tags.TRUE_FROM_MASKS: 'true tags from masks',
        Tags.PREDICTED: 'predicted tags',
    }
)


def short_form(card: SupervisionCard) -> str:
    """The card in one line, with the abbreviations that :data:`LEGEND` explains."""
    seeds = min(len(card.seeds), card.runs)
    predicts = {c.on is AppliedTo.PREDICTIONS: None for c in card.crf}
    taught = {k: None for n in card.networks for k in n.supervision}
    parts = [
        str(card.split) if card.split else '',
        _each((SHORT_LEARNT.get(n.learnt_from.kind, '') for n in card.networks), '+'),
        _each(sorted(map(_taught, taught)), '+'),
        _each((_threshold(card, t) for t in card.thresholds), ', '),
        SHORT_TAGS.get(card.labels.kind, 'tags ?') if card.labels else '',
        '+'.join('CRF' if on else 'label CRF' for on in predicts),
        _views(card.scales, card.flip),
        f'{card.protocol["classes"]} classes' if 'classes' in card.protocol else '',
        f'{seeds} seed{"s" * (seeds != 1)}' if seeds else '',
        'code accepted'
        if any(c.state is CodeState.ACCEPTED for c in card.code)
        else '',
    ]
    return ' · '.join(part for part in parts if part)


def _each(texts: Iterable[str], between: str) -> str:
    """Joins the texts that are not empty, each once."""
    return between.join(dict.fromkeys(filter(None, texts)))


def _taught(kind: Said[Taught]) -> str:
    if kind.kind is Taught.UNKNOWN:
        return 'weights ?'
    return SHORT_TAUGHT.get(kind, str(kind))


def _threshold(card: SupervisionCard, threshold: Threshold) -> str:
    source = card.source_of(threshold)
    if threshold.source is Source.LABEL_FREE:
        source = threshold.detail or source
    factor = '' if threshold.factor == 1 else f'×{threshold.factor:g}'
    return f'thr: {"masks" if source == "other masks" else source}{factor}'


def _views(scales: tuple[float, ...] | None, flip: bool | None) -> str:
    if scales is None and flip is None:
        return ''
    sizes = 'ms' if scales and len(scales) > 1 else ''
    if scales and len(scales) == 1 and scales != (1.0,):
        sizes = f'scale {scales[0]:g}'
    return _each([sizes, 'flip' if flip else ''], '+') or '1 view'


def long_form(card: SupervisionCard) -> list[tuple[str, str]]:
    """All facts of a card, as pairs of a title and a text."""
    split = card.split
    rows = [('images measured', _split(split) if split else 'none')]
    if split is not None:
        read = f'checksum {split.masks}' if split.masks else 'none read'
        rows.append(('their masks', read))
    rows += [(f'network of {n.stage}', _network(n)) for n in card.networks]
    rows += [(f'threshold of {t.stage}', _found(t)) for t in card.thresholds]
    rows += [
        ('image-level labels at the last inference', str(card.labels or 'none')),
        ('views', _view_words(card.scales, card.flip)),
    ]
    rows += [
        (f'CRF of {c.stage}', f'{c.preset}, on {c.on.value} {c.settings}'.strip())
        for c in card.crf
    ]
    rows += [(f'methods of {m.stage}', m.what) for m in card.methods]
    measured = 'to measure only' if split and split.masks else 'none'
    rows.append(('ground-truth pixels', '; '.join(card.pixels) or measured))
    rows += [(title.replace('_', ' '), text) for title, text in card.protocol.items()]
    runs = f'{card.runs} run{"s" * (card.runs != 1)}, seeds '
    rows += [
        ('random seeds', runs + (_listed(card.seeds) or 'unknown')),
        *((f'code of {c.stage}', CODE_WORDS[c.state]) for c in card.code),
        ('commits', _listed(card.commits) or 'unknown'),
        ('machines', f'{_listed(card.devices)}; workers {_listed(card.workers)}'),
        ('versions', _listed(card.versions)),
    ]
    return rows


def _listed(values: Iterable[object]) -> str:
    return ', '.join(map(str, values))


def _split(split: Split) -> str:
    text = f'{split.images} of {split.data} {split.name}, checksum {split.checksum}'
    if split.left_out:
        text += f', {split.left_out} left out'
    return text + (', tags derived from masks' if split.tags is TagSource.MASKS else '')


def _network(network: Network) -> str:
    text = f'{network.model}, {network.weights}'
    if network.supervision != {Taught.NOTHING()}:
        text += f' ({in_words(network.supervision)}: {_listed(network.known_by)})'
    text += f', learns from {network.learnt_from}'
    return text + (f' of {network.split}' if network.split else '')


def _found(threshold: Threshold) -> str:
    factor = '' if threshold.factor == 1 else f'{threshold.factor:g} times '
    text = f'{factor}{threshold.source.value}'
    text += f' ({threshold.detail})' if threshold.detail else ''
    text += f', on {threshold.split}' if threshold.split else ''
    values = ', '.join(f'{value:g}' for value in threshold.values)
    return text + (f': {values}' if values else '')


def _view_words(scales: tuple[float, ...] | None, flip: bool | None) -> str:
    if scales is None and flip is None:
        return 'none'
    sizes = 'scales ' + ', '.join(f'{scale:g}' for scale in scales or (1.0,))
    return sizes + (', with mirrored images' if flip else ', not mirrored')
