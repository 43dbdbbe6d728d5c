"""Pascal VOC 2012 with the masks of SBD: from the archives to a verified tree."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from wsss_plugins.datasets.files import read_id_list
from wsss_plugins.datasets.preparation.labels import object_classes, put_labels
from wsss_plugins.datasets.preparation.opening import open_source
from wsss_plugins.datasets.preparation.parts import (
    MASK_BYTES,
    Sizes,
    check_count,
    compare_sizes,
    require_names,
    write_photos,
)
from wsss_plugins.datasets.preparation.pictures import check_values, decode_mask
from wsss_plugins.datasets.preparation.sbd import (
    SBD_COUNTS,
    SBDMasks,
    write_masks,
)
from wsss_plugins.datasets.preparation.sources import Member, Pool, Source
from wsss_plugins.datasets.preparation.tree import Prepared, Tree
from wsss_plugins.datasets.voc12 import VOC_CLASSES, VOC_COUNTS
from wsss_plugins.errors import DataError
from wsss_plugins.structures import save_label_map

PHOTOS, XML, OWN, AUG = (
    'JPEGImages', 'Annotations', 'SegmentationClass', 'SegmentationClassAug'
)  # fmt: skip
LISTS = 'ImageSets/Segmentation'
LABELS = 'cls_labels.npz'
GIVE_DEVKIT = 'give VOCtrainval_11-May-2012.tar, or the folder VOCdevkit that is in it'


class Devkit:
    """The parts of VOC 2012 that some sources hold, and what belongs in the tree.

    Args:
        pool: The devkit; VOC2012test.tar beside it adds the test photos.
        sbd: The masks of SBD, None to do without ``train_aug``.
        any_count: Accept a part of the data set.

    Raises:
        DataError: Files are missing, or their number is not the published one.
    """

    def __init__(self, pool: Pool, sbd: SBDMasks | None, any_count: bool) -> None:
        self.pool = pool
        self.files = {part: self._part(part) for part in (PHOTOS, XML, OWN)}
        self.lists = self._lists(any_count)
        own, val = set(self.lists['train']), set(self.lists['val'])
        self.sbd_ids: list[str] = []
        if sbd is not None:
            if sbd.suffix == '.mat':
                official = sum(SBD_COUNTS.values())
                check_count('SBD', len(sbd.ids), official, any_count)
            self.sbd_ids = sorted(sbd.ids - own - val)
            self.lists['train_aug'] = sorted(own | set(self.sbd_ids))
            check_count(
                'train_aug (train and SBD without val)',
                len(self.lists['train_aug']),
                VOC_COUNTS['train_aug'],
                any_count,
            )
        self.own_ids = sorted(own | val)
        trained = self.lists.get('train_aug', self.lists['train'])
        self.labelled = list(dict.fromkeys([*trained, *self.lists['val']]))
        self._require_files()

    def _part(self, part: str) -> dict[str, tuple[int, str]]:
        """Files of a folder of VOC2012, or of one that names no year."""
        found = self.pool.files(part, fits=_may_be_2012)
        if part == PHOTOS and not found:
            if self.pool.files(part):
                raise DataError(
                    f'{self.pool.paths} holds another year than VOC2012: {GIVE_DEVKIT}'
                )
            there = '; '.join(source.summary for source in self.pool.sources)
            raise DataError(
                f'{self.pool.paths} has no folder {PHOTOS} (it holds {there}): '
                + GIVE_DEVKIT
            )
        return found

    def _lists(self, any_count: bool) -> dict[str, list[str]]:
        there = self._part(LISTS)
        lists = {}
        for split in ('train', 'val', 'trainval', 'test'):
            if f'{split}.txt' in there:
                index, folder = there[f'{split}.txt']
                lists[split] = self.pool.sources[index].ids(folder, f'{split}.txt')
                official = VOC_COUNTS.get(split, len(lists[split]))
                check_count(f'{split}.txt', len(lists[split]), official, any_count)
        if missing := {'train', 'val'} - set(lists):
            raise DataError(
                f'{self.pool.paths} lacks {LISTS}/{max(missing)}.txt: {GIVE_DEVKIT}'
            )
        return lists

    def _require_files(self) -> None:
        shown = {*self.labelled, *self.lists.get('test', ())}
        for names, part, suffix in (
            (shown, PHOTOS, '.jpg'),
            (self.labelled, XML, '.xml'),
            (self.own_ids, OWN, '.png'),
        ):
            files = sorted(f'{name}{suffix}' for name in names)
            require_names(files, self.files[part], f'files of {part}', GIVE_DEVKIT)

    def names(self, part: str) -> list[str]:
        """Files of a part that go into the tree: all photos and annotations there are."""
        if part == OWN:
            return [f'{name}.png' for name in self.own_ids]
        suffix = '.jpg' if part == PHOTOS else '.xml'
        return [name for name in self.files[part] if name.endswith(suffix)]

    def wanted(self, part: str) -> list[dict[str, set[str]]]:
        """What to read of each source for a part."""
        return self.pool.wanted(self.files[part], self.names(part))


def _may_be_2012(source: Source, folder: str) -> bool:
    """Whether a folder is below none such as VOC2007; VOC2012test.tar is no folder."""
    parts = [*Path(folder).parts, source.path.resolve().name]
    return not any(re.fullmatch(r'VOC20\d\d', p) and p != 'VOC2012' for p in parts)


def prepare_voc12(
    sources: Sequence[Path | str],
    sbd: Sequence[Path | str] | None,
    out: Path | str,
    copy: bool = False,
    difficult: bool = True,
    any_count: bool = False,
    workers: int | None = None,
) -> Prepared:
    """Builds ``out/VOC2012``, which ``VOC12`` reads, from what was downloaded.

    Photos, annotations and VOC's own masks as they are; ``SegmentationClassAug``: VOC's
    own masks where there are any, else those of SBD; ``train_aug.txt``: the images of
    ``train`` and of SBD without those of ``val``, sorted; image-level labels of all of them.

    Args:
        sources: Devkit, as tar or folder; of files there twice, the last counts. When
            ``out/VOC2012`` itself is among them, what it lacks is added.
        sbd: SBD, as archive or folder (see :class:`SBDMasks`); None: no ``train_aug``.
        out: The folder of the devkit.
        copy: Copy files of folders instead of linking to them.
        difficult: Count objects marked as difficult in the labels, as the label files of
            the field do.
        any_count: Accept other numbers of images than the published ones.
        workers: Threads that decode.

    Returns:
        The data root and how many images each list has.

    Raises:
        DataError: Anything is missing, damaged or of another size; nothing is written
            before names, counts and free space are checked.
    """
    pool = Pool(open_source(Path(path)) for path in sources)
    added = Pool(open_source(Path(path)) for path in sbd or ())
    masks = SBDMasks(added) if sbd is not None else None
    devkit = Devkit(pool, masks, any_count)
    options = dict(train_aug=masks is not None, difficult=difficult)
    root = Path(out) / 'VOC2012'
    tree = Tree(root, 'voc12', [pool, added], options, copy, workers)
    _require_space(tree, devkit)
    if done := tree.begin(_own_files(root, devkit)):
        return done
    photos = write_photos(
        tree, pool.members(devkit.wanted(PHOTOS)), len(devkit.names(PHOTOS))
    )
    classes_of = _write_annotations(tree, devkit, difficult)
    sizes = _write_own_masks(tree, devkit)
    compare_sizes(tree, photos, sizes, OWN)
    if masks is not None:
        sizes = write_masks(tree, masks, devkit.sbd_ids, AUG)
        compare_sizes(tree, photos, sizes, AUG)
        _repeat_own_masks(tree, devkit.own_ids)
    for split, names in devkit.lists.items():
        tree.make(f'{LISTS}/{split}.txt', ''.join(f'{n}\n' for n in names).encode())
    labels = {name: classes_of[name] for name in devkit.labelled}
    put_labels(tree, LABELS, labels, len(VOC_CLASSES))
    unlabelled = sum(not classes for classes in labels.values())
    counts = {split: len(names) for split, names in devkit.lists.items()}
    return tree.finish({**counts, 'without_label': unlabelled})


def _own_files(root: Path, devkit: Devkit) -> list[str]:
    """What is made here, without a list of the same ids that is there already."""
    path = root / LISTS / 'train_aug.txt'
    if 'train_aug' not in devkit.lists:
        return [LABELS]
    same = path.is_file() and set(read_id_list(path)) == set(devkit.lists['train_aug'])
    return [AUG, LABELS] if same else [AUG, LABELS, f'{LISTS}/train_aug.txt']


def _require_space(tree: Tree, devkit: Devkit) -> None:
    each = [devkit.wanted(part) for part in (PHOTOS, XML, OWN)]
    needed = sum(tree.bytes_for(devkit.pool, wanted) for wanted in each)
    needed += MASK_BYTES * len(devkit.sbd_ids)
    there = [f'{part}/{n}' for part in (PHOTOS, XML, OWN) for n in devkit.names(part)]
    tree.require_space(needed, there)


def _write_annotations(
    tree: Tree, devkit: Devkit, difficult: bool
) -> dict[str, set[int]]:
    """Writes the XML files; returns the classes of each labelled image."""
    classes_of: dict[str, set[int]] = {}
    labelled = set(devkit.labelled)

    def write(member: Member) -> None:
        """Writes one annotation, and notes the classes that it names."""
        data, where = tree.content(f'{XML}/{member.name}', member)
        name = member.name.removesuffix('.xml')
        if name in labelled:
            classes_of[name] = object_classes(data, where, difficult)
        tree.put(f'{XML}/{member.name}', data, member.path)

    members = devkit.pool.members(devkit.wanted(XML))
    tree.each(members, write, 'annotations', len(devkit.names(XML)))
    return classes_of


def _write_own_masks(tree: Tree, devkit: Devkit) -> Sizes:
    """Writes VOC's masks; those of colours become indices. Returns their sizes."""
    sizes: Sizes = {}

    def write(member: Member) -> None:
        """Writes one mask without its colours, and notes its size."""
        target = f'{OWN}/{member.name}'
        data, where = tree.content(target, member)
        mask = decode_mask(data, where)
        check_values(mask.labels, 1 + len(VOC_CLASSES), where)
        sizes[member.name.removesuffix('.png')] = mask.labels.shape
        if mask.coloured:
            if tree.has(target):
                raise DataError(
                    f'{where} shows colours instead of indices, and is not overwritten: '
                    'choose another --out'
                )
            save_label_map(tree.root / target, mask.labels)
            tree.put(target, (tree.root / target).read_bytes())
        else:
            tree.put(target, data, member.path)

    members = devkit.pool.members(devkit.wanted(OWN))
    tree.each(members, write, "VOC's masks", len(devkit.own_ids))
    return sizes


def _repeat_own_masks(tree: Tree, ids: Iterable[str]) -> None:
    """VOC's masks in ``SegmentationClassAug`` too, as links within the tree."""
    for name in ids:
        data = (tree.root / OWN / f'{name}.png').read_bytes()
        tree.put(f'{AUG}/{name}.png', data, Path('..') / OWN / f'{name}.png')
