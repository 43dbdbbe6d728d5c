"""A page that lists what this package can do with each vision transformer of timm."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import timm

from wsss_plugins.backbones.timm_survey import Finding, survey
from wsss_plugins.registry import SEED_HEADS, plugin_names

COMMAND = 'wsss list vits --write'

VERDICTS = {
    'all': 'All seed heads',
    'some': 'Some seed heads',
    'backbone': 'As a backbone only',
    'refused': 'Refused',
    'broken': 'A law does not hold',
}
"""Titles of the sections of the page, in order."""


def find(names: Iterable[str], tell: Callable[[Finding], None]) -> list[Finding]:
    """Tries models of timm.

    Args:
        names: Names of models.
        tell: Called with each finding as soon as it is made.
    """
    findings = []
    for name in names:
        findings.append(survey(name))
        tell(findings[-1])
    return findings


def line_of(found: Finding) -> str:
    """A row of the page for one model."""
    reasons = '; '.join(limits(found))
    return f'| `{found.name}` | {found.kind or "-"} | {reasons or "-"} |'


def limits(found: Finding) -> Iterator[str]:
    """What a model cannot be used for, and why."""
    if found.refused:
        yield _reason(found.refused)
    if found.broken:
        yield 'broken: ' + ', '.join(found.broken)
    if found.refused:
        return
    if not found.class_token:
        yield 'no class token'
        yield from _by_own_head(found)
    if found.attention:
        yield found.attention
    elif found.relevance:
        yield 'no relevance propagation'
    elif found.pixels:
        yield 'relevance ends at the tokens'


def _by_own_head(found: Finding) -> Iterator[str]:
    """What the model's own pooling can be used for where there is no class token."""
    if found.pooling == 'attention' and not found.attention + found.relevance:
        yield 'relevance only by its own head'
    elif found.pooling == 'mean' and not found.attention + found.pixels:
        yield 'relevance only of pixels, by its own head'


def _reason(message: str) -> str:
    """The reason in a refusal: 'a Beit, which ...'."""
    _, _, rest = message.partition(' is ')
    return rest.split(', not a plain')[0] or message


def page_of(findings: Iterable[Finding]) -> str:
    """The page.

    Args:
        findings: One per model.

    Returns:
        Markdown, one table for each verdict, rows of the same parts together.
    """
    findings = list(findings)
    parts = [_head(findings)]
    for verdict, title in VERDICTS.items():
        rows = [f for f in findings if f.verdict == verdict]
        if rows:
            rows.sort(key=lambda f: (f.kind, tuple(limits(f)), f.name))
            parts.append(f'\n## {title} ({len(rows)})\n\n{_about(verdict)}\n')
            parts.append('| model | parts | limits |\n|---|---|---|')
            parts.extend(map(line_of, rows))
    return '\n'.join(parts) + '\n'


def _head(findings: list[Finding]) -> str:
    return f"""Written by `{COMMAND}` with timm {timm.__version__}: {len(findings)} names.
Each was built without weights, two blocks deep and as narrow as it allows, with biases, norms and
layer scales drawn anew, and tried in float64: its tokens are those of timm's own model; the
captured attention changes neither them nor their gradients; the form with a module for every
operation gives the same tokens and attention (1e-9); the rules of Chefer et al. conserve
relevance from the output to the tokens before the first block (1e-5). The same holds for the
attention pooling of a model's own head, where there is one.
`tests/backbones/test_timm_survey.py` tries one model of each kind again."""


def _about(verdict: str) -> str:
    needs = ', '.join(f'`{name}`' for name in class_token_heads())
    without = ', '.join(f'`{name}`' for name in gradient_heads())
    latent, mean = (
        ', '.join(f'`{name}`' for name in relevance_heads(pooling))
        for pooling in ('attention', 'mean')
    )
    return {
        'all': 'Every seed head that accepts a model with one class token accepts these.',
        'some': (
            'Where there is no class token, registers are not read as one: train with '
            f"`sources=('patch',)`; refused are {needs}. `TimmClassifier` keeps the "
            "model's own head. Relevance passes its attention pooling in "
            f'{latent}, its avg pooling in {mean}, whose maps are of pixels. Where '
            'relevance ends at the tokens (a CNN cuts the image into patches), maps of '
            'pixels are refused.'
        ),
        'backbone': (
            'The attention cannot be read as one matrix per head, so that only heads that '
            f'read none make maps: {without}. Others are refused before any training.'
        ),
        'refused': '`TimmViT` says so in one line before any training.',
        'broken': 'A defect of this package: the tests allow no model here.',
    }[verdict]


def class_token_heads() -> list[str]:
    """Seed heads that read a class token, TSCAM among them, which says so by itself."""
    return sorted(
        name for name, cls in _heads() if cls.needs_class_token or name == 'TSCAM'
    )


def relevance_heads(pooling: str) -> list[str]:
    """Seed heads that follow relevance through a pooling of tokens.

    Args:
        pooling: 'mean' or 'attention'.
    """
    return sorted(
        name for name, cls in _heads() if pooling in getattr(cls, 'poolings', ())
    )


def gradient_heads() -> list[str]:
    """Seed heads that read no attention, but for that of an AttributeHead."""
    return sorted(
        name
        for name, cls in _heads()
        if not cls.needs_attention and name != 'AttributeCAM'
    )


def _heads() -> list[tuple[str, Any]]:
    """Names and classes of the seed heads of this package."""
    plugin_names(SEED_HEADS)  # imports what registers
    heads = SEED_HEADS.module_dict.items()
    return [(n, cls) for n, cls in heads if cls.__module__.startswith('wsss_plugins.')]
