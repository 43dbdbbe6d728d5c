"""Models of timm with its own weights; without a network an error within seconds."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
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


class UnreachableWeightsError(CheckpointError):
    """Weights of timm are not on this machine and cannot be fetched.

    Args:
        name: The model of timm.
        option: Option that takes a file of the weights, as the message names it; a tool
            gives its own.
    """

    def __init__(self, name: str, option: str = 'pretrained=FILE') -> None:
        super().__init__(
            f'the timm weights of {name} could not be downloaded: fetch them where there '
            f'is a network and give the file as the weights ({option})'
        )
        self.name = name


@contextmanager
def naming_option(option: Callable[[str], str]) -> Iterator[None]:
    """Sets the option that errors in the block name for the file of the weights.

    Args:
        option: From the name of a timm model to what a user types, with FILE for the file.

    Raises:
        UnreachableWeightsError: The block's, with that option.
    """
    try:
        yield
    except UnreachableWeightsError as error:
        raise UnreachableWeightsError(error.name, option(error.name)) from error


def option_of_weights(model: Any, name: str, path: str = 'model') -> str | None:
    """The dotted key of ``pretrained`` in the part of a model that is timm's ``name``.

    Args:
        model: The config of the model.
        name: A model of timm.
        path: Where the config is.

    Returns:
        Such as 'model.backbone.pretrained'; None where no part has that name.
    """
    if isinstance(model, Mapping):
        if model.get('name') == name:
            return f'{path}.pretrained'
        parts = [(f'{path}.{key}', value) for key, value in model.items()]
    elif isinstance(model, list | tuple):
        parts = [(f'{path}.{i}', value) for i, value in enumerate(model)]
    else:
        parts = []
    found = (option_of_weights(value, name, below) for below, value in parts)
    return next(filter(None, found), None)


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
        UnreachableWeightsError: The weights are not in the cache and cannot be fetched.
    """
    if not pretrained:
        return timm.create_model(name, False, **options)
    known = timm.get_pretrained_cfg(name)
    if known is not None and not is_cached(known) and not answers(_server_of(known)):
        raise UnreachableWeightsError(name)
    try:
        return timm.create_model(name, True, **options)
    except (OSError, RuntimeError) as error:
        raise UnreachableWeightsError(name) from error


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
    """Whether a server responds at an address; proxies are used.

    Args:
        url: The address; the result for an empty one is True.
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
    """The server of the weights; empty if it is not known."""
    if weights.hf_hub_id:
        return '' if constants.HF_HUB_OFFLINE else constants.ENDPOINT
    return _url_of(weights)


def _url_of(weights: PretrainedCfg) -> str:
    """The address of a file of weights; timm may give its checksum beside it."""
    given = weights.url or ''
    return given if isinstance(given, str) else given[0]
