"""Opening of pictures that anybody may have made: whatever is wrong with one is one line."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from wsss_plugins.errors import DataError, UserError, described


@contextmanager
def opened_picture(
    path: Path | str, what: str = 'image', remedy: str = 'replace the file'
) -> Iterator[Image.Image]:
    """An opened picture, whose pixels are decoded when they are read.

    Args:
        path: The file, in any format that Pillow reads.
        what: A word for the file, for messages.
        remedy: What to do, for messages.

    Yields:
        Pillow's image.

    Raises:
        DataError: The file is missing, is no regular file, no picture, damaged, or too
            large for memory.
    """
    with decoding(f'{what} {path}', remedy):
        if not stat.S_ISREG(Path(path).stat().st_mode):  # a pipe would be waited for
            kind = 'a folder' if Path(path).is_dir() else 'a pipe or a device'
            raise DataError(f'{what} {path} is {kind} and no file: {remedy}')
        with Image.open(path) as image:
            yield image


@contextmanager
def decoding(where: str, remedy: str = 'replace it') -> Iterator[None]:
    """Makes one line of whatever a decoder raises in the block.

    Decoders raise anything at a damaged file, when it is opened or when its pixels are
    read; all of it is an error of the data.

    Args:
        where: The picture, for messages.
        remedy: What to do, for messages.

    Yields:
        Nothing.

    Raises:
        DataError: The block raises anything but an error for users.
    """
    try:
        yield
    except UserError:
        raise
    except FileNotFoundError as error:
        raise DataError(f'{where} does not exist') from error
    except (Image.DecompressionBombError, MemoryError) as error:
        most = 2 * (Image.MAX_IMAGE_PIXELS or 0)
        raise DataError(
            f'{where} is too large for memory: more than {most / 1e6:.0f} million '
            f'pixels, {3 * most / 1e9:.1f} GB when decoded; cut it into parts or make it '
            'smaller'
        ) from error
    except Exception as error:
        reason = ' '.join(str(error).split()) or type(error).__name__
        if isinstance(error, UnidentifiedImageError):
            reason = 'no known format'
        elif not isinstance(error, OSError | SyntaxError | ValueError):
            reason = described(error)
        raise DataError(f'{where} cannot be decoded ({reason}): {remedy}') from error
