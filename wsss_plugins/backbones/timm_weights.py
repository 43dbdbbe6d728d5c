"""Models of timm with its own weights; without a network an error within seconds."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

import timm
import torch
from huggingface_hub import constants, try_to_load_from_cache
from timm.models import PretrainedCfg

from wsss_plugins.errors import CheckpointError

HUB_FILES = ('model.safetensors', 'pytorch_model.bin')
"""Names of the weights in a repository of the Hugging Face hub, as timm tries them."""


def create_timm_model(name: str, pretrained: bool, **options: Any) -> Any:
    """``timm.create_model``, but one line within seconds where weights cannot be fetched.

    The hub's own client tries again and again for a minute before it gives up. So this
    first looks whether the weights are on this machine already, and otherwise whether
    their server answers at all.

    Args:
        name: A model of timm, perhaps with the tag of its weights.
        pretrained: Whether to load timm's weights, from the cache or the network.
        options: Further arguments of ``timm.create_model``.

    Raises:
        CheckpointError: The weights are not in the cache and cannot be fetched.
    """
    if not pretrained:
        return timm.create_model(name, False, **options)
    known = timm.get_pretrained_cfg(name)
    if known is not None and not is_cached(known) and not answers(_server_of(known)):
        raise _not_fetched(name)
    try:
        return timm.create_model(name, True, **options)
    except (OSError, RuntimeError) as error:
        raise _not_fetched(name) from error


def is_cached(weights: PretrainedCfg) -> bool:
    """Whether timm finds weights on this machine.

    Args:
        weights: timm's description of them.
    """
    if weights.file or weights.state_dict:
        return True
    if weights.hf_hub_id:
        repository, _, revision = weights.hf_hub_id.partition('@')
        own = weights.hf_hub_filename
        files = [own] if own else HUB_FILES
        found = [
            try_to_load_from_cache(repository, file, revision=revision or None)
            for file in files
        ]
        return any(isinstance(path, str) for path in found)
    folder = Path(torch.hub.get_dir()) / 'checkpoints'
    url = _url_of(weights)
    return bool(url) and (folder / Path(url).name).is_file()


def answers(url: str, seconds: float = 5.0) -> bool:
    """Whether anything answers at an address, whatever it says; proxies are used.

    Args:
        url: The address; an empty one answers, since there is nothing to ask.
        seconds: How long to wait for a connection.
    """
    if not url:
        return True
    try:
        with urlopen(Request(url, method='HEAD'), timeout=seconds):
            return True
    except HTTPError:
        return True
    except URLError as error:
        return isinstance(
            error.reason, ssl.SSLError
        )  # it spoke; its client may know it
    except OSError:
        return False


def _server_of(weights: PretrainedCfg) -> str:
    """Where weights are fetched from; empty where that is not known."""
    if weights.hf_hub_id:
        return '' if constants.HF_HUB_OFFLINE else constants.ENDPOINT
    return _url_of(weights)


def _url_of(weights: PretrainedCfg) -> str:
    """The address of a file of weights; timm may give its checksum beside it."""
    given = weights.url or ''
    return given if isinstance(given, str) else given[0]


def _not_fetched(name: str) -> CheckpointError:
    return CheckpointError(
        f'the timm weights of {name} could not be downloaded: fetch them where there '
        'is a network and give the file as the weights (pretrained=FILE)'
    )
