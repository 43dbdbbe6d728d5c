"""Finding the mask of a photo by its name."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

from wsss_plugins.datasets.photo_files import PhotoFiles
from wsss_plugins.errors import DataError

SUFFIX = '.png'


class MaskFiles:
    """The masks of a folder, and the photos that they belong to.

    The name of a mask is looked up among the photos as a name in a table is, see
    :class:`PhotoFiles`: ``a.png``, ``A.PNG`` and ``a.jpg.png`` are masks of ``a.jpg``. A
    mask in a sub-folder belongs to a photo in the sub-folder of the same name only.

    Args:
        folder: The folder of the masks.
        photos: The photos.

    Attributes:
        by_photo: The masks of each photo that has some; photo and masks are paths below
            their folders, with '/'.
        unclear: The photos that a mask may belong to, by mask, where they are several.
        strangers: Masks that belong to no photo.
        others: Files that are no PNG.
    """

    def __init__(self, folder: Path, photos: PhotoFiles) -> None:
        self.folder = folder
        self.by_photo: dict[str, list[str]] = defaultdict(list)
        self.unclear: dict[str, list[str]] = {}
        self.strangers: list[str] = []
        self.others: list[str] = []
        for mask in PhotoFiles(folder).names:
            if not mask.casefold().endswith(SUFFIX):
                self.others.append(mask)
                continue
            name = mask[: -len(SUFFIX)]
            found = photos.candidates(name, keep_folder='/' in name)
            if len(found) > 1:
                self.unclear[mask] = found
            elif found:
                self.by_photo[found[0]].append(mask)
            else:
                self.strangers.append(mask)

    def find(self, photo: str) -> str | None:
        """The mask of ``photo``, a path below the folder of the photos.

        Returns:
            A path below the folder of the masks; None where there is no mask.

        Raises:
            DataError: Several masks have the name of the photo, or a mask has the names
                of several photos, of which this is one.
        """
        masks = self.by_photo.get(photo, [])
        for mask, photos in self.unclear.items():
            if not masks and photo in photos:
                raise DataError(
                    f'mask {self.folder / mask} may belong to several photos '
                    f'({", ".join(photos)}): name it like one of them, with its '
                    f'sub-folder and suffix, such as {photo}{SUFFIX}'
                )
        if len(masks) > 1:
            raise DataError(
                f'photo {photo} has several masks in {self.folder} '
                f'({", ".join(masks)}): keep one'
            )
        return masks[0] if masks else None
