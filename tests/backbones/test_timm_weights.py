"""Weights of timm without a network: an error within seconds, and none where not needed."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
import timm
from huggingface_hub import constants

from wsss_plugins.backbones import TimmCNN, TimmViT
from wsss_plugins.backbones.timm_weights import (
    answers,
    create_timm_model,
    is_cached,
)
from wsss_plugins.errors import CheckpointError

NAME = 'vit_tiny_patch16_224'
CLOSED = 'http://127.0.0.1:9'


@pytest.fixture
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple]:
    """No cache and no server; the calls of timm that a test makes."""
    monkeypatch.setattr(constants, 'HF_HUB_CACHE', str(tmp_path / 'hub'))
    monkeypatch.setattr(constants, 'ENDPOINT', CLOSED)
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'torch'))
    calls: list[tuple] = []
    monkeypatch.setattr(timm, 'create_model', lambda *a, **k: calls.append((a, k)))
    return calls


def put_into_cache(file: str) -> None:
    known = timm.get_pretrained_cfg(NAME)
    repository = known.hf_hub_id.replace('/', '--')
    folder = Path(constants.HF_HUB_CACHE) / f'models--{repository}'
    for path, text in {'refs/main': 'abc', f'snapshots/abc/{file}': ''}.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)


@pytest.mark.parametrize(
    'build',
    [
        lambda: create_timm_model(NAME, True),
        lambda: TimmViT(NAME, pretrained=True),
        lambda: TimmCNN('resnet18', pretrained=True),
    ],
)
def test_what_cannot_be_fetched_is_refused_before_anything_is_tried(
    offline: list[tuple], build: Any
) -> None:
    begin = time.monotonic()
    with pytest.raises(CheckpointError, match='could not be downloaded: fetch them'):
        build()
    assert time.monotonic() - begin < 10 and offline == []


@pytest.mark.parametrize('file', ['model.safetensors', 'pytorch_model.bin'])
def test_weights_in_the_cache_need_no_server(offline: list[tuple], file: str) -> None:
    known = timm.get_pretrained_cfg(NAME)
    assert not is_cached(known)
    put_into_cache(file)
    assert is_cached(known)
    create_timm_model(NAME, True, num_classes=3)
    assert offline == [((NAME, True), dict(num_classes=3))]


def test_a_file_in_another_name_is_no_cache(offline: list[tuple]) -> None:
    put_into_cache('config.json')
    assert not is_cached(timm.get_pretrained_cfg(NAME))


def test_weights_of_an_address_are_looked_for_where_torch_keeps_them(
    offline: list[tuple], tmp_path: Path
) -> None:
    known = timm.models.PretrainedCfg(url=f'{CLOSED}/net-1.pth')
    assert not is_cached(known)
    path = tmp_path / 'torch/hub/checkpoints/net-1.pth'
    path.parent.mkdir(parents=True)
    path.write_bytes(b'')
    assert is_cached(known)


def test_without_pretrained_weights_nobody_is_asked(offline: list[tuple]) -> None:
    create_timm_model(NAME, False)
    assert offline == [((NAME, False), {})]


@pytest.fixture
def server() -> Iterator[str]:
    """A server that answers every question with 404."""

    class NotFound(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.send_error(404)

        def log_message(self, *_: Any) -> None:
            pass

    with HTTPServer(('127.0.0.1', 0), NotFound) as found:
        threading.Thread(target=found.serve_forever, daemon=True).start()
        yield f'http://127.0.0.1:{found.server_port}'
        found.shutdown()


def test_any_answer_counts(server: str) -> None:
    assert answers(server) and answers('')
    assert not answers(CLOSED)


def test_who_never_answers_is_not_waited_for() -> None:
    with socket.create_server(('127.0.0.1', 0)) as silent:
        begin = time.monotonic()
        assert not answers(f'http://127.0.0.1:{silent.getsockname()[1]}', seconds=0.2)
        assert time.monotonic() - begin < 5


def test_a_failure_on_the_way_is_the_same_error(
    server: str, offline: list[tuple], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError('the line went dead')

    monkeypatch.setattr(constants, 'ENDPOINT', server)
    monkeypatch.setattr(timm, 'create_model', fail)
    with pytest.raises(CheckpointError, match=f'timm weights of {NAME} could not'):
        create_timm_model(NAME, True)
