"""PredictStage: the refiners behind a segmentor, and the models that they need."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from refining import IDS, make, pair, write_world
from torch import Tensor, nn

from wsss_plugins.affinity import ColourFeatures
from wsss_plugins.refiners import RandomWalk
from wsss_plugins.stages import PredictStage
from wsss_plugins.structures import Seed, load_label_map


class Segmentor(nn.Module):
    """Sees a cat where it is red, a dog where it is green."""

    data_preprocessor = SimpleNamespace(mean=0.0, std=32.0)

    def encode_decode(self, view: Tensor, metas: list[dict[str, Any]]) -> Tensor:
        return view[:, [2, 0, 1]]


def test_refiners_get_the_models_of_their_stages(tmp_path, monkeypatch) -> None:
    world = write_world(tmp_path)
    models = dict(net=Segmentor(), affinity=ColourFeatures(stride=2, sigma=50.0))
    monkeypatch.setattr(
        'wsss_plugins.stages.predict.load_trained', lambda path, kind: models[path.name]
    )
    walk = dict(type=RandomWalk, affinity='affinity', steps=3)
    dataset = make(world).dataset
    stage = PredictStage('predicted', 'net', dataset, flip=False, refiners=[walk])
    assert stage.inputs == ('net', 'affinity')
    inputs = {name: Path(name) for name in stage.inputs}
    assert stage.run(world / 'predicted', inputs) == dict(images=5)
    refiner = RandomWalk(models['affinity'], steps=3)
    changed = 0
    for name in IDS:
        image, _ = pair(world, name)
        shares = (image[[2, 0, 1]].float() / 32).softmax(0)
        seed = Seed(shares[1:], torch.arange(2), shares[0])
        label = torch.from_numpy(load_label_map(world / f'predicted/labels/{name}.png'))
        assert torch.equal(label, refiner(image, seed).to_label())
        changed += int((label != seed.to_label()).sum())
    assert changed > 20, 'the walk has its say'
