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
from trees import make_voc

from wsss_plugins.backbones import TimmCNN, TimmViT
from wsss_plugins.backbones.timm_weights import (
    answers,
    create_timm_model,
    is_cached,
    option_of_weights,
)
from wsss_plugins.config import load_config, set_everywhere
from wsss_plugins.errors import CheckpointError
from wsss_plugins.explain.models import load_model
from wsss_plugins.stages import TrainStage
from wsss_plugins.stages.train import train_alone

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


ROOT = Path(__file__).parents[2]


def test_the_error_names_the_option_to_type(
    offline: list[tuple], tmp_path: Path
) -> None:
    def said(call: Any) -> str:
        with pytest.raises(CheckpointError) as caught:
            call()
        return str(caught.value)

    cfg = load_config(ROOT / 'configs/acr/synthetic.py')
    cfg.model.backbone = dict(type='TimmViT', name=NAME, pretrained=True)
    make_voc(tmp_path / 'voc', {'a': ['dog'], 'b': ['cat']})
    for key, value in dict(data_root=str(tmp_path / 'voc'), split='train').items():
        set_everywhere(cfg, key, value)
    stage = TrainStage('cam', cfg.to_dict())
    stage.seed = 0
    assert said(lambda: stage.run(tmp_path / 'cam', {})).endswith(
        """(--cfg-options "pipeline.cam.options={'model.backbone.pretrained': 'FILE'}")"""
    )
    assert said(lambda: train_alone(cfg, tmp_path / 'alone', 0)).endswith(
        '(--cfg-options model.backbone.pretrained=FILE)'
    )
    assert '(--weights FILE' in said(lambda: load_model(NAME))


@pytest.mark.parametrize(
    ('model', 'key'),
    [
        (dict(name=NAME), 'model.pretrained'),
        (dict(a=1, stem=dict(name='x'), net=dict(name=NAME)), 'model.net.pretrained'),
        (dict(parts=[dict(), dict(name=NAME)]), 'model.parts.1.pretrained'),
        (dict(name='another'), None),
        (None, None),
    ],
)
def test_where_the_weights_are_named(model: Any, key: str | None) -> None:
    assert option_of_weights(model, NAME) == key
