"""MS COCO 2014: from zips or folders to a verified tree with label maps."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from wsss_plugins.datasets.coco14 import COCO_CATEGORIES, COCO_CLASS_OF, load_instances
from wsss_plugins.datasets.coco_masks import (
    by_image,
    draw_label_map,
    with_compact_polygons,
)
from wsss_plugins.datasets.preparation.given_maps import GivenMaps, Ids
from wsss_plugins.datasets.preparation.labels import put_labels
from wsss_plugins.datasets.preparation.opening import open_source
from wsss_plugins.datasets.preparation.parts import (
    MASK_BYTES,
    check_count,
    require_names,
    write_photos,
)
from wsss_plugins.datasets.preparation.sources import Pool
from wsss_plugins.datasets.preparation.tree import Prepared, Tree
from wsss_plugins.errors import DataError
from wsss_plugins.structures import IGNORE, save_label_map

COCO_COUNTS = {'train2014': 82783, 'val2014': 40504}
"""Images of the official splits."""

COCO_LABELLED = {'train2014': 82081, 'val2014': 40137}
"""Images with an annotation in the official splits; training leaves out the others."""

GROUND_TRUTH = 'SegmentationClass'
LABEL_IDS = 'label_ids.csv'
GIVE_ZIPS = (
    'give train2014.zip, val2014.zip and annotations_trainval2014.zip, or the folders '
    'that are in them'
)


class Split:
    """One split: its instances file, photos and annotations.

    Args:
        name: 'train2014' or 'val2014'.
        tree: The tree that the files are written to.
        pool: The sources.
    """

    def __init__(self, name: str, tree: Tree, pool: Pool) -> None:
        self.name, self.tree, self.pool = name, tree, pool
        self.json = f'annotations/instances_{name}.json'

    def read(self, any_count: bool) -> None:
        """Writes the instances file and reads it.

        Raises:
            DataError: The instances file is damaged, or does not list the official
                number of images.
        """
        index, folder = self.pool.files('annotations')[Path(self.json).name]
        source = self.pool.sources[index]
        self.tree.put_file(self.json, source, folder, Path(self.json).name)
        path = self.tree.root / self.json
        content = load_instances(path, keep=with_compact_polygons)
        self.images: list[dict[str, Any]] = content['images']
        self.found = by_image(content)
        check_count(path.name, len(self.images), COCO_COUNTS[self.name], any_count)
        check_count(
            f'{path.name}: what is labelled',
            len(self.found),
            COCO_LABELLED[self.name],
            any_count,
        )

    def classes(self, image: dict[str, Any]) -> set[int]:
        """Classes that an image is annotated with."""
        found = self.found.get(image['id'], [])
        return {COCO_CLASS_OF[item['category_id']] for item in found}

    def write_photos(self) -> None:
        """Writes the photos that the file lists.

        Raises:
            DataError: A photo is missing, damaged, or of another size than the
                instances file says.
        """
        files = self.pool.files(self.name)
        names = sorted(image['file_name'] for image in self.images)
        require_names(names, files, f'photos of {self.name}', GIVE_ZIPS)
        members = self.pool.members(self.pool.wanted(files, names))
        sizes = write_photos(self.tree, members, len(names), self.name)
        for image in self.images:
            size = sizes[Path(image['file_name']).stem]
            if size != (image['height'], image['width']):
                self.tree.discard(f'{self.name}/{image["file_name"]}')
                raise DataError(
                    f'{self.name}/{image["file_name"]} is {size[0]} x {size[1]} (H x W), '
                    f'its annotations say {image["height"]} x {image["width"]}: replace it'
                )

    def write_maps(self, given: GivenMaps | None) -> None:
        """Draws the label maps, or copies given ones."""
        folder = f'{GROUND_TRUTH}/{self.name}'
        source = self.tree.root / self.json

        def write(image: dict[str, Any], data: bytes = b'', where: str = '') -> None:
            """Writes the label map of one image, unless it is there."""
            target = f'{folder}/{Path(image["file_name"]).stem}.png'
            if not self.tree.has(target):
                if given is None:
                    labels = draw_label_map(
                        image, self.found.get(image['id'], []), source
                    )
                else:
                    labels = given.labels(data, where, self.classes(image))
                save_label_map(self.tree.root / target, labels)
            self.tree.put(target, (self.tree.root / target).read_bytes())

        if given is None:
            self.tree.each(self.images, write, 'label maps', len(self.images))
            return
        image_of: dict[str, dict[str, Any]] = {}
        wanted: dict[str, set[str]] = {}
        for image in self.images:
            where, name = given.find(self.name, Path(image['file_name']).stem)
            image_of[name] = image
            wanted.setdefault(where, set()).add(name)
        self.tree.each(
            given.source.members(wanted),
            lambda m: write(image_of[m.name], m.read(), m.where),
            'label maps',
            len(image_of),
        )

    def write_labels(self) -> None:
        """Writes the image-level labels of all images, unlabelled ones too."""
        classes_of = {Path(i['file_name']).stem: self.classes(i) for i in self.images}
        name = f'cls_labels_{self.name}.npz'
        put_labels(self.tree, name, classes_of, len(COCO_CATEGORIES))


def prepare_coco14(
    sources: Sequence[Path | str],
    out: Path | str,
    copy: bool = False,
    any_count: bool = False,
    label_maps: Path | str | None = None,
    ids: Ids = 80,
    workers: int | None = None,
) -> Prepared:
    """Builds the tree that ``COCO14`` reads from what was downloaded.

    For each split whose instances file is there: ``annotations/``, the photos, label maps in
    ``SegmentationClass/<split>`` for evaluation, ``cls_labels_<split>.npz``; and
    ``label_ids.csv``, which says what the values of the label maps mean.

    Args:
        sources: Zips, folders or instances files; of files there twice, the last counts.
        out: The data root.
        copy: Copy files of folders instead of linking to them.
        any_count: Accept other numbers of images than the published ones.
        label_maps: Folder or archive of label maps to take in place of drawing them.
        ids: What the values of those mean: 80: classes 1 to 80; 91: COCO's category ids,
            which are mapped.
        workers: Threads that decode and draw.

    Returns:
        The data root, and images of each split with and without annotations.

    Raises:
        DataError: Anything is missing, damaged or of another size.
    """
    pool = Pool(open_source(Path(path), ['.json']) for path in sources)
    given = None if label_maps is None else GivenMaps(Path(label_maps), ids)
    options: dict[str, Any] = dict(label_maps='drawn')
    if given is not None:
        options = dict(label_maps=given.source.identity(), ids=ids)
    tree = Tree(Path(out), 'coco14', [pool], options, copy, workers)
    splits = _splits(tree, pool)
    _require_space(tree, pool, splits)
    labels = [f'cls_labels_{split.name}.npz' for split in splits]
    if done := tree.begin([GROUND_TRUTH, LABEL_IDS, *labels]):
        return done
    counts = {}
    for split in splits:
        split.read(any_count)
        split.write_photos()
        split.write_maps(given)
        split.write_labels()
        counts[split.name] = len(split.images)
        counts[f'{split.name}_unlabelled'] = len(split.images) - len(split.found)
    tree.make(LABEL_IDS, _label_ids().encode())
    return tree.finish(counts)


def _splits(tree: Tree, pool: Pool) -> list[Split]:
    """The splits whose instances file is there; refuses sources without any."""
    there = pool.files('annotations')
    names = [name for name in COCO_COUNTS if f'instances_{name}.json' in there]
    if not names:
        held = '; '.join(source.summary for source in pool.sources)
        raise DataError(
            f'{pool.paths} has no annotations/instances_train2014.json and none of val2014 '
            f'(it holds {held}): {GIVE_ZIPS}'
        )
    return [Split(name, tree, pool) for name in names]


def _require_space(tree: Tree, pool: Pool, splits: Sequence[Split]) -> None:
    needed, written = 0, []
    for split in splits:
        photos = {
            n: at for n, at in pool.files(split.name).items() if n.endswith('.jpg')
        }
        needed += tree.bytes_for(pool, pool.wanted(photos, photos))
        needed += MASK_BYTES * len(photos)
        written += [f'{split.name}/{name}' for name in photos]
        lists = pool.files('annotations')
        needed += tree.bytes_for(pool, pool.wanted(lists, [Path(split.json).name]))
        written.append(split.json)
    tree.require_space(needed, written)


def _label_ids() -> str:
    """The id map of the label maps, as a table."""
    lines = ['value,category_id,name', '0,,background']
    for category, name in COCO_CATEGORIES.items():
        lines.append(f'{COCO_CLASS_OF[category] + 1},{category},{name}')
    return '\n'.join([*lines, f'{IGNORE},,ignored', ''])
