"""PredictStage: scales, mirror image, refiners, and the models that they need."""

from __future__ import annotations

import gc
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mmseg.models.data_preprocessor import SegDataPreProcessor
from refining import IDS, make, pair, write_world
from torch import Tensor, nn

from wsss_plugins.affinity import ColourFeatures
from wsss_plugins.engine import Stage
from wsss_plugins.errors import ConfigError
from wsss_plugins.refiners import DenseCRF, RandomWalk, Refiner
from wsss_plugins.registry import STAGES, build_as
from wsss_plugins.stages import PredictStage
from wsss_plugins.stages.predict import BEHIND, _among, _winner
from wsss_plugins.structures import Seed, load_label_map
from wsss_plugins.structures.card import Tags


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


@pytest.mark.parametrize('refined', [False, True])
def test_among_the_tags_of_the_image(tmp_path, monkeypatch, refined) -> None:
    """All images are tagged with the cat alone; the dog is seen where none may be."""
    world = write_world(tmp_path)
    monkeypatch.setattr(
        'wsss_plugins.stages.predict.load_trained', lambda *_: Segmentor()
    )
    Seen.classes.clear()
    arguments = dict(flip=False, refiners=[dict(type=Seen)] if refined else [])
    stage = PredictStage(
        'predicted', 'net', make(world).dataset, only_tagged=True, **arguments
    )
    free = PredictStage('free', 'net', make(world).dataset, **arguments)
    for each in (stage, free):
        each.run(world / each.name, dict(net=Path('net')))
    dogs = 0
    for name in IDS:
        blue, red, _ = pair(world, name)[0][[2, 0, 1]].int()
        label = load_label_map(world / f'predicted/labels/{name}.png')
        assert np.array_equal(label, (red > blue).numpy())
        dogs += (load_label_map(world / f'free/labels/{name}.png') == 2).sum()
    assert dogs > 20, 'dogs are seen where no tag forbids them'
    assert Seen.classes == ([[0]] * 5 + [[0, 1]] * 5 if refined else [])
    assert stage.measured().labels == Tags.TRUE()
    assert free.measured().labels == Tags.NONE()


def test_no_probability_among_the_tags() -> None:
    """Where the softmax leaves nothing to the tagged classes, the pixel is background."""
    shares = torch.tensor([0.0, 0.0, 1.0]).reshape(3, 1, 1)
    assert _among(shares, np.array([True, False])).flatten().tolist() == [0.0] * 3


class Edges(nn.Module):
    """Logits of three classes at a quarter of the size; sees left from right."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 5, 4, 2)
        self.data_preprocessor = SegDataPreProcessor(
            mean=[120.0, 110.0, 100.0], std=[60.0, 50.0, 40.0]
        )

    def encode_decode(self, view: Tensor, metas: list[dict[str, Any]]) -> Tensor:
        assert metas[0]['img_shape'] == tuple(view.shape[-2:])
        logits = 3 * self.conv(view)
        size = view.shape[-2:]
        return F.interpolate(logits, size=size, mode='bilinear', align_corners=False)


def by_hand(model: Edges, image: Tensor, scales, flip: bool) -> list[Tensor]:
    """Probabilities of each scale and of its mirror image, as a loop."""
    mean = torch.tensor([120.0, 110.0, 100.0])[:, None, None]
    std = torch.tensor([60.0, 50.0, 40.0])[:, None, None]
    pixels = ((image - mean) / std)[None]
    height, width = image.shape[1:]
    found = []
    for scale in scales:
        sides = (round(height * scale), round(width * scale))
        view = F.interpolate(pixels, size=sides, mode='bilinear')
        for mirrored in (False, True)[: 1 + flip]:
            seen = view.flip(3) if mirrored else view
            logits = F.interpolate(3 * model.conv(seen), size=sides, mode='bilinear')
            logits = F.interpolate(logits, size=(height, width), mode='bilinear')
            shares = logits[0].softmax(0)
            found.append(shares.flip(2) if mirrored else shares)
    return found


def stage_of(**given: Any) -> PredictStage:
    dataset = dict(type='VOC12', data_root='', split='')
    config = dict(type='PredictStage', name='p', model='m', dataset=dataset, **given)
    stage = build_as(STAGES, config, Stage)
    assert isinstance(stage, PredictStage)
    return stage


@pytest.fixture
def image() -> Tensor:
    """A photo of 37x50 with structure."""
    noise = torch.rand(1, 3, 9, 13)
    smooth = F.interpolate(noise, size=(37, 50), mode='bicubic')[0]
    return (255 * smooth.clamp(0, 1)).to(torch.uint8)


@pytest.mark.parametrize('flip', [False, True])
def test_averages_scales_and_mirror_images(image, flip: bool) -> None:
    model, scales = Edges().eval(), (0.5, 0.75, 1.0, 1.25, 1.5)
    views = by_hand(model, image, scales, flip)
    assert len(views) == 5 * (1 + flip)
    wanted = torch.stack(views).double().mean(0).float()
    found = stage_of(scales=scales, flip=flip).probabilities(model, image)
    torch.testing.assert_close(found, wanted)
    alone = stage_of(flip=not flip, scales=scales).probabilities(model, image)
    assert (alone - wanted).abs().max() > 1e-3


def test_keeps_the_largest_probability_where_asked_to(image) -> None:
    model = Edges().eval()
    views = by_hand(model, image, (0.5, 1.5), flip=True)
    stage = stage_of(scales=(0.5, 1.5), merge='max')
    wanted = torch.stack(views).amax(0)
    torch.testing.assert_close(stage.probabilities(model, image), wanted)


def test_order_of_the_channels_is_the_preprocessors(image) -> None:
    model = Edges().eval()
    stage = stage_of(flip=False)
    rgb = stage.probabilities(model, image)
    model.data_preprocessor = SegDataPreProcessor(
        mean=[100.0, 110.0, 120.0], std=[40.0, 50.0, 60.0], rgb_to_bgr=True
    )
    model.conv.weight.data = model.conv.weight.data.flip(1)
    torch.testing.assert_close(stage.probabilities(model, image), rgb)
    prepared = model.data_preprocessor(dict(inputs=[image], data_samples=None))[
        'inputs'
    ]
    views = F.interpolate(
        model.encode_decode(prepared, [dict(img_shape=(37, 50))]), (37, 50)
    )
    torch.testing.assert_close(views[0].softmax(0), rgb)


def test_dense_crf_follows_the_merged_probabilities(tmp_path, monkeypatch) -> None:
    world = write_world(tmp_path)
    model = Edges().eval()
    monkeypatch.setattr('wsss_plugins.stages.predict.load_trained', lambda *_: model)
    crf = dict(type='DenseCRF', preset='deeplab', iterations=3)
    stage = PredictStage(
        'predicted', 'net', make(world).dataset, scales=(1.0, 2.0), refiners=[crf]
    )
    stage.run(world / 'predicted', dict(net=Path('net')))
    refiner = DenseCRF(preset='deeplab', iterations=3)
    changed = 0
    for name in IDS:
        photo, _ = pair(world, name)
        shares = torch.stack(by_hand(model, photo, (1.0, 2.0), True)).mean(0)
        seed = Seed(shares[1:], torch.arange(2), shares[0])
        wanted = refiner(photo, seed).to_label().numpy()
        found = load_label_map(world / f'predicted/labels/{name}.png')
        assert np.array_equal(found, wanted)
        changed += int((wanted != shares.argmax(0).numpy()).sum())
    assert changed, 'the CRF has its say'


class Seen(Refiner):
    """Notes the classes that it was given."""

    classes: ClassVar[list[list[int]]] = []

    def refine(self, image: Tensor, seed: Seed) -> Seed:
        self.classes.append(seed.classes.tolist())
        return seed


def test_refines_the_objects_that_are_likely_somewhere(image) -> None:
    Seen.classes.clear()
    shares = torch.zeros(5, 37, 50)
    shares[0], shares[2], shares[4] = 0.4, 0.55, 0.04
    shares[4, 3, 3], shares[1, 1, 1] = 0.9, 0.01
    found = []
    for above in (0.0, 0.01, 0.5, 0.95):
        stage = stage_of(refiners=[dict(type=Seen)], refine_above=above)
        found.append(stage._refined(image, shares))
    assert Seen.classes == [[0, 1, 3], [1, 3], [1, 3], []]
    assert torch.equal(found[0], shares)
    for each, left_out in ((found[1], [1, 3]), (found[3], [1, 2, 3, 4])):
        assert (each[left_out] == 0).all()
        kept = [c for c in range(5) if c not in left_out]
        assert torch.equal(each[kept], shares[kept])


def test_memory_does_not_grow_with_the_views() -> None:
    """A photo of COCO has 81 maps for each of twelve views: two at once, not twelve."""
    shape, alive = (81, 40, 50), []

    class Counting(nn.Module):
        data_preprocessor = SimpleNamespace(mean=0.0, std=1.0)

        def encode_decode(self, view: Tensor, metas: list[dict[str, Any]]) -> Tensor:
            alive.append(
                {
                    each.untyped_storage().data_ptr()
                    for each in gc.get_objects()
                    if type(each) is Tensor and tuple(each.shape[-3:]) == shape
                }
            )
            return view.new_zeros(1, 81, 10, 12)

    image = torch.zeros(3, 40, 50, dtype=torch.uint8)
    scales = (0.5, 0.75, 1.0, 1.25, 1.5, 1.75)
    shares = stage_of(scales=scales).probabilities(Counting(), image)
    assert len(alive) == 12 and max(map(len, alive)) == 1
    torch.testing.assert_close(shares, torch.full(shape, 1 / 81))


def test_memory_of_the_stage_is_that_of_few_maps(tmp_path) -> None:
    """Threads enlarge views and write labels behind the network: a few, not all views."""
    world = write_world(tmp_path)
    most, threads = [], set()

    class Counting(nn.Module):
        data_preprocessor = SimpleNamespace(mean=0.0, std=1.0)

        def encode_decode(self, view: Tensor, metas: list[dict[str, Any]]) -> Tensor:
            threads.add(threading.current_thread())
            most.append(
                sum(
                    type(each) is Tensor and each.ndim == 3 and len(each) == 81
                    for each in gc.get_objects()
                )
            )
            return view.new_zeros(1, 81, 3, 4)

    scales = (0.5, 0.75, 1.0, 1.25, 1.5, 1.75)
    stage = PredictStage('p', 'net', make(world).dataset, scales=scales)
    stage.predict(Counting(), tmp_path / 'p')
    assert len(most) == 12 * len(IDS) and max(most) <= 2 * BEHIND + 2
    assert threads == {threading.main_thread()}


@pytest.mark.parametrize('classes', [1, 2, 21])
def test_the_winner_is_the_argmax(classes: int) -> None:
    """Numbers of few values: there are ties, of which the first class wins."""
    shares = torch.randint(0, 4, (classes, 19, 23)).float()
    assert _winner(shares).equal(shares.argmax(0).to(torch.uint8))


def test_slides_where_the_model_asks_for_it(image) -> None:
    class Sliding(Edges):
        test_cfg = dict(mode='slide')

        def slide_inference(self, view: Tensor, metas: list[dict[str, Any]]) -> Tensor:
            return view.new_tensor([1.0, 5.0, 2.0])[None, :, None, None].expand(
                1, 3, *view.shape[-2:]
            )

    assert (stage_of().probabilities(Sliding(), image).argmax(0) == 1).all()


def test_goes_on_where_it_stopped(tmp_path, monkeypatch) -> None:
    world = write_world(tmp_path)
    monkeypatch.setattr(
        'wsss_plugins.stages.predict.load_trained', lambda *_: Segmentor()
    )
    stage = PredictStage('predicted', 'net', make(world).dataset)
    stage.run(world / 'predicted', dict(net=Path('net')))
    files = [world / f'predicted/labels/{name}.png' for name in IDS]
    first = files[0].read_bytes()
    files[0].unlink()
    files[1].write_bytes(b'kept as it is')
    stage.run(world / 'predicted', dict(net=Path('net')))
    assert files[0].read_bytes() == first
    assert files[1].read_bytes() == b'kept as it is'


@pytest.mark.parametrize(
    ('given', 'message'),
    [
        (dict(scales=()), r'needs scales > 0, at least one, not \(\)'),
        (dict(scales=(1.0, -0.5)), r'not \(1.0, -0.5\)'),
        (dict(merge='sum'), "unknown merge 'sum': Allowed: max, mean"),
        (dict(merge='maximum'), "did you mean 'max'"),
    ],
)
def test_refuses(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        stage_of(**given)
