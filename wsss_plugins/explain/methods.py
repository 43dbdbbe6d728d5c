"""Methods by name: every registered seed head."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from wsss_plugins.errors import ConfigError, near_names
from wsss_plugins.registry import SEED_HEADS, build_as, plugin_names
from wsss_plugins.seeds import SeedHead

# Not in MCTformer, whose T ends the capitals.
WORD_BREAK = re.compile(r'(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])(?!Tformer)')


def short_name(name: str) -> str:
    """``'generic_attention_relevance'`` of ``'GenericAttentionRelevance'``."""
    return WORD_BREAK.sub('_', name).lower()


def spelt_out(name: str) -> str:
    """``'attention grad CAM'`` of ``'AttentionGradCAM'``."""
    words = WORD_BREAK.sub(' ', name).split()
    return ' '.join(w if w.isupper() else w.lower() for w in words)


def method_names() -> dict[str, str]:
    """The name of each seed head in its registry, by its short name."""
    return {short_name(name): name for name in plugin_names(SEED_HEADS)}


def build_method(method: str | Mapping[str, Any] | SeedHead) -> SeedHead:
    """The seed head that ``method`` means.

    Args:
        method: A name of :func:`method_names`, long or short (case, ``_`` and ``-`` do
            not count), a dotted path such as ``my_heads.MyHead``, a config with ``type``
            and arguments, or a seed head.

    Raises:
        ConfigError: No seed head has this name; the message lists near names.
    """
    if isinstance(method, str):
        names = method_names()
        spelt = {_letters(name): name for name in names.values()}
        name = spelt.get(_letters(method), method)
        if name not in spelt.values() and '.' not in name:
            known = near_names(short_name(method), names, most=len(names))
            raise ConfigError(f"unknown method '{method}': {known}", token=method)
        method = dict(type=name)
    return build_as(SEED_HEADS, method, SeedHead)


def _letters(name: str) -> str:
    return re.sub(r'[_-]', '', name).lower()
