"""Stages and the tool that read and write the files of other projects."""

from __future__ import annotations

import builtins
import pickle
import runpy
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from refining import CHAIN, IDS, SIZES, write_world
from trees import half_mask

from wsss_plugins.engine import Stage
from wsss_plugins.errors import ConfigError, DataError
from wsss_plugins.registry import STAGES, build_as
from wsss_plugins.structures import Seed, load_json, load_label_map, save_label_map

TOOL = Path(__file__).parents[2] / 'tools/convert_seeds.py'


@pytest.fixture
def world(tmp_path: Path) -> Path:
    """Photos of two sizes, seeds of classes 0 and 1, and masks."""
    write_world(tmp_path)
    for i, (name, size) in enumerate(zip(IDS, SIZES, strict=True)):
        mask = half_mask(1 + i % 2, size)
        save_label_map(tmp_path / f'data/SegmentationClass/{name}.png', mask)
    return tmp_path


def dataset(world: Path, **more: Any) -> dict[str, Any]:
    base = dict(type='FolderWSSS', data_root=str(world / 'data'), split='train')
    return dict(base, classes=('cat', 'dog'), **more)


def run(world: Path, kind: str, name: str, **arguments: Any) -> dict[str, Any]:
    stage = build_as(STAGES, dict(type=kind, name=name, **arguments), Stage)
    (world / name).mkdir(exist_ok=True)
    return stage.run(world / name, {each: world / each for each in stage.inputs})


def read_seeds(world: Path, path: Path | str, name: str = 'ours', **more: Any) -> Any:
    given = dict(path=str(path), dataset=dataset(world)) | more
    return run(world, 'ImportSeedStage', name, **given)


@pytest.mark.parametrize('format', ['irn', 'mctformer'])
def test_what_goes_out_comes_back_and_scores_the_same(world, format) -> None:
    """Seeds, pseudo labels to the last byte, and every number of the evaluation."""
    assert run(world, 'ExportSeedStage', 'out', seeds='cam', format=format) == {
        'files': 5
    }
    assert {p.name for p in (world / 'out/maps').iterdir()} == {f'{n}.npy' for n in IDS}
    metrics = read_seeds(world, world / 'out/maps', format=format)
    assert metrics == dict(images=5, failed=0)
    masks = dataset(world, label_maps='SegmentationClass')
    found = {}
    for seeds in ('cam', 'ours'):
        refined = f'{seeds}_refined'
        given = dict(seeds=seeds, dataset=dataset(world), refiners=CHAIN, workers=1)
        run(world, 'RefineStage', refined, threshold='otsu', **given)
        labels = [(world / refined / f'labels/{n}.png').read_bytes() for n in IDS]
        scores = run(
            world, 'EvaluateSeedStage', f'{seeds}_score', seeds=seeds, dataset=masks
        )
        worth = run(
            world, 'EvaluateLabelStage', f'{seeds}_worth', labels=refined, dataset=masks
        )
        maps = [Seed.load(world / seeds / f'seeds/{n}.npz').scores for n in IDS]
        found[seeds] = [[m.tolist() for m in maps], labels, scores, worth]
    assert found['ours'] == found['cam']
    assert len(set(found['cam'][1])) == 5, 'not all empty'


def test_seeds_with_background(world) -> None:
    given = dict(seeds='cam', dataset=dataset(world), refiners=CHAIN, workers=1)
    run(world, 'RefineStage', 'soft', soft=True, **given)
    run(world, 'ExportSeedStage', 'out', seeds='soft', with_background=True)
    read_seeds(world, world / 'out/maps', with_background=True)
    for name in IDS:
        first, second = (
            Seed.load(world / f'{stage}/seeds/{name}.npz') for stage in ('soft', 'ours')
        )
        assert second.probabilities().equal(first.probabilities())
        assert second.to_label().equal(first.to_label())


def test_broken_files_are_named_and_left_out(world, capsys) -> None:
    run(world, 'ExportSeedStage', 'out', seeds='cam')
    folder = world / 'out/maps'
    (folder / 'image_0.npy').unlink()
    planted = np.array({0: builtins.print}, dtype=object)
    np.save(folder / 'image_1.npy', planted)
    np.save(folder / 'image_2.npy', {2: np.zeros(SIZES[2])})
    np.save(folder / 'image_3.npy', {0: np.zeros(SIZES[3][::-1])})
    assert read_seeds(world, folder) == dict(images=5, failed=4)
    reasons = load_json(world / 'ours/failures.json')
    said = capsys.readouterr().err
    for name, part in [
        ('image_0', 'image_0.npy does not exist'),
        ('image_1', 'it asks for builtins.print'),
        ('image_2', 'the class id 2: allowed are ids 0 to 1'),
        ('image_3', 'turned by 90 degrees'),
    ]:
        assert part in reasons[name]
        assert f'ours: {name} left out: ' in said
    assert [p.name for p in (world / 'ours/seeds').iterdir()] == ['image_4.npz']


def test_what_is_there_is_not_made_again(world) -> None:
    run(world, 'ExportSeedStage', 'out', seeds='cam')
    read_seeds(world, world / 'out/maps')
    files = [*(world / 'out/maps').iterdir(), *(world / 'ours/seeds').iterdir()]
    before = {p: p.stat().st_mtime_ns for p in files}
    (world / 'ours/seeds/image_2.npz').unlink()
    run(world, 'ExportSeedStage', 'out', seeds='cam')
    read_seeds(world, world / 'out/maps')
    changed = {p.name for p, when in before.items() if p.stat().st_mtime_ns != when}
    assert changed == {'image_2.npz'}


def test_only_tagged_classes(world) -> None:
    """The table says 'cat' of every photo; two seeds show 'dog' too."""
    run(world, 'ExportSeedStage', 'out', seeds='cam')
    read_seeds(world, world / 'out/maps', only_tagged=True)
    shown = [Seed.load(world / f'ours/seeds/{n}.npz').classes.tolist() for n in IDS]
    assert shown == [[0]] * 5


def test_a_photo_without_tags_needs_no_file(world) -> None:
    table = world / 'data/train.csv'
    table.write_text(table.read_text().replace('image_1.png,cat', 'image_1.png,'))
    run(world, 'ExportSeedStage', 'out', seeds='cam')
    (world / 'out/maps/image_1.npy').unlink()
    assert read_seeds(world, world / 'out/maps')['failed'] == 0
    assert Seed.load(world / 'ours/seeds/image_1.npz').scores.shape == (0, *SIZES[1])


def test_mistakes_in_the_config(world) -> None:
    with pytest.raises(DataError, match="nowhere of stage 'ours' does not exist"):
        read_seeds(world, world / 'nowhere')
    with pytest.raises(
        ConfigError, match=r"unknown format 'mctform'.*did you mean 'mctformer'"
    ):
        read_seeds(world, world, format='mctform')
    with pytest.raises(ConfigError, match='leave with_background out'):
        build_as(
            STAGES,
            dict(
                type='ExportSeedStage',
                name='out',
                seeds='cam',
                format='irn',
                with_background=True,
            ),
            Stage,
        )
    (world / 'empty/seeds').mkdir(parents=True)
    with pytest.raises(DataError, match='holds no seeds'):
        run(world, 'ExportSeedStage', 'out', seeds='empty')


# ---- label maps


def label(i: int) -> np.ndarray:
    return half_mask(1 + i % 2, SIZES[i])


def write_labels(folder: Path) -> Path:
    """A palette PNG, a grey one, one in colours, an array, and one of another palette."""
    folder.mkdir()
    save_label_map(folder / 'image_0.png', label(0))
    Image.fromarray(label(1)).save(folder / 'image_1.png')
    with Image.open(folder / 'image_0.png') as image:
        coloured = np.array(image.convert('RGB'))[:, ::-1]
    Image.fromarray(coloured).save(folder / 'image_2.png')
    np.save(folder / 'image_3.npy', label(3).astype(np.int64))
    grey = Image.fromarray(label(4))
    grey.putpalette(list(range(256)) * 3)
    grey.save(folder / 'image_4.png')
    return folder


def test_label_maps_become_ours(world) -> None:
    folder = write_labels(world / 'theirs')
    given = dict(path=str(folder), dataset=dataset(world), values={255: 0})
    assert run(world, 'ImportLabelStage', 'labels', **given) == dict(images=5, failed=0)
    for i, name in enumerate(IDS):
        expected = (label(i)[:, ::-1] if i == 2 else label(i)) % 255
        path = world / f'labels/labels/{name}.png'
        assert (load_label_map(path, 3) == expected).all()
        with Image.open(path) as image:
            assert image.mode == 'P'
    masks = dataset(world, label_maps='SegmentationClass')
    scores = run(world, 'EvaluateLabelStage', 'worth', labels='labels', dataset=masks)
    assert 50 < scores['miou'] < 100, 'all but one are the masks'


def test_labels_of_other_ids_and_sizes(world) -> None:
    folder = write_labels(world / 'theirs')
    Image.fromarray(label(1)[:3]).save(folder / 'image_1.png')
    Image.fromarray(np.full(SIZES[4], 17, np.uint8)).save(folder / 'image_4.png')
    given = dict(path=str(folder), dataset=dataset(world))
    assert run(world, 'ImportLabelStage', 'labels', **given)['failed'] == 2
    reasons = load_json(world / 'labels/failures.json')
    assert 'is (3, 7) (height, width) but its photo is (9, 7)' in reasons['image_1']
    assert 'has the label 17: allowed are 0 to 2 and 255' in reasons['image_4']
    run(world, 'ImportLabelStage', 'renamed', **given, values={17: 2, 255: 0})
    assert load_label_map(world / 'renamed/labels/image_4.png').max() == 2
    assert 255 not in load_label_map(world / 'renamed/labels/image_0.png')


# ---- the tool


@pytest.fixture
def convert(monkeypatch, capsys):
    """Runs the tool; its exit code and what it said."""

    def call(*words: object) -> tuple[int, str]:
        monkeypatch.setattr(sys, 'argv', [TOOL.name, *map(str, words)])
        code = 0
        try:
            runpy.run_path(str(TOOL), run_name='__main__')
        except SystemExit as left:
            code = left.code if isinstance(left.code, int) else 1
        said = capsys.readouterr()
        return code, said.out + said.err

    return call


def test_tool_there_and_back(world, convert) -> None:
    code, said = convert(
        world / 'cam/seeds', world / 'irn', '--from', 'wsss', '--to', 'irn'
    )
    assert code == 0 and f'{world}/irn: 5 of 5 files' in said
    convert(world / 'irn', world / 'mct', '--from', 'irn', '--to', 'mctformer')
    code, _ = convert(world / 'mct', world / 'back', '--from', 'psa', '--to', 'wsss')
    for name in IDS:
        first, back = (
            Seed.load(world / f / f'{name}.npz') for f in ('cam/seeds', 'back')
        )
        assert back.scores.equal(first.scores) and back.classes.equal(first.classes)


def test_tool_goes_on(world, convert) -> None:
    command = (world / 'cam/seeds', world / 'psa', '--from', 'wsss', '--to', 'psa')
    convert(*command)
    before = {p: p.stat().st_mtime_ns for p in (world / 'psa').iterdir()}
    (world / 'psa/image_3.npy').unlink()
    (world / 'psa/.image_1.77.part.npy').write_bytes(
        b'half'
    )  # of a run that was killed
    _, said = convert(*command)
    after = {p: p.stat().st_mtime_ns for p in (world / 'psa').glob('[!.]*')}
    assert {p.name for p in after if before[p] != after[p]} == {'image_3.npy'}
    assert 'wsss to psa: 5/5' in said


def test_tool_resizes_to_the_photos(world, convert) -> None:
    (world / 'theirs').mkdir()
    for name in IDS:
        np.save(world / f'theirs/{name}.npy', {1: np.ones((2, 2))})
    command = (world / 'theirs', world / 'new', '--from', 'acr', '--to', 'wsss')
    code, _ = convert(*command, '--images', world / 'data/images')
    assert code == 0
    sizes = [Seed.load(world / f'new/{name}.npz').size for name in IDS]
    assert sizes == SIZES


def test_tool_names_what_is_broken(world, convert) -> None:
    folder = world / 'theirs'
    folder.mkdir()
    np.save(folder / 'good.npy', {1: np.ones((2, 2))})
    np.save(folder / 'more.npy', {21: np.ones((2, 2))})
    (folder / 'bad.npy').write_bytes(pickle.dumps(builtins.exit))
    command = (folder, world / 'new', '--from', 'psa', '--to', 'wsss')
    code, said = convert(*command, '--num-classes', 20)
    assert code == 2 and '2 of 3 files could not be converted' in said
    assert 'bad left out: ' in said and 'more left out: ' in said
    assert 'Traceback' not in said
    assert [p.name for p in (world / 'new').iterdir()] == ['good.npz']


def test_tool_refuses(world, convert) -> None:
    seeds = world / 'cam/seeds'
    wsss = ('--from', 'wsss', '--to', 'wsss')
    for words, message in [
        ((world / 'no', world / 'x', *wsss), 'is no folder'),
        ((seeds, seeds, *wsss), 'IN and OUT are both'),
        ((seeds, world / 'x', '--from', 'irn', '--to', 'psa'), 'holds no *.npy files'),
        ((seeds, world / 'x', '--from', 'wss', '--to', 'psa'), "unknown format 'wss'"),
        ((seeds, world / 'x', *wsss, '--images', world / 'no'), '--images'),
    ]:
        code, said = convert(*words)
        assert code == 2 and message in said and said.count('error: ') == 1
    assert not (world / 'x').exists()
