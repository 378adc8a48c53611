"""One image file, by Pillow: its shape, what is wrong with it, its pixels upright."""

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

_EXIF = {"exif", "xmp", "XML:com.adobe.xmp", "Raw profile type exif"}  # where Pillow finds it
_TURNED = (5, 6, 7, 8)  # values of EXIF's Orientation that swap height and width


def shape_of(file: str) -> tuple[int, int] | None:
    """(H, W) once it is turned upright, from the header; None where that cannot be read."""
    from PIL import Image

    try:
        with Image.open(file) as image:
            # a PNG tells it at its end, so one that is turned is told when it is read
            turned = image.format != "PNG" and _orientation(image) in _TURNED
            return (image.width, image.height) if turned else (image.height, image.width)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None


def _orientation(image):
    """EXIF's Orientation, 1 for upright. Pillow turns a TIFF by itself."""
    if image.format == "TIFF" or (image.format != "PNG" and _EXIF.isdisjoint(image.info)):
        return 1
    return image.getexif().get(0x0112, 1)


def read_picture(file: str, pixels: np.ndarray, *, size: int | None, limit: float) -> str | None:
    """Read an image file into pixels (H, W, 3) uint8, upright; or return, as text, why not.

    size: it is squeezed to, or None.   limit: the most pixels that it may have.
    """
    from PIL import Image, ImageOps

    try:
        with Image.open(file) as image:
            if why := _refused(image, limit):
                return why
            if size:
                # large JPEGs are decoded at a fraction of their size
                image.draft("RGB", (size, size))
            if _orientation(image) != 1:
                ImageOps.exif_transpose(image, in_place=True)
            if image.mode != "RGB":
                image = image.convert("RGB")
            if size:
                image = image.resize((size, size), Image.Resampling.BILINEAR, reducing_gap=3)
            if (image.height, image.width) != pixels.shape[:2]:
                return (
                    f"is {image.width}x{image.height} once turned upright, and others are "
                    f"{pixels.shape[1]}x{pixels.shape[0]}: give a size (--size 64)"
                )
            pixels[:] = np.asarray(image)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        return _why(error, limit)
    return None


def header_fault(file: str, limit: float) -> str | None:
    """Why a file cannot be read, as far as its header tells it, or None."""
    from PIL import Image

    try:
        with Image.open(file) as image:
            return _refused(image, limit)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        return _why(error, limit)


def _refused(image, limit):
    if image.mode.startswith(("I", "F")):
        return f"has more than 8 bits a pixel, mode {image.mode}: convert it to 8"
    count = image.width * image.height
    if count > limit:
        return (
            f"has {count:,} pixels, more than the limit of {limit:,}: max_pixels={count} "
            f"(--max-pixels {count}) reads it"
        )
    return None


def _why(error, limit):
    """An error of Pillow in words."""
    from PIL import Image, UnidentifiedImageError

    if isinstance(error, Image.DecompressionBombError):
        return (
            f"has more pixels than the limit of {limit:,}: give a larger one, max_pixels=N "
            "(--max-pixels N)"
        )
    if isinstance(error, UnidentifiedImageError):
        return "cannot be identified as an image"
    return " ".join(str(error).split()) or type(error).__name__


_LIMIT = threading.Lock()


@contextmanager
def pillow_limit(max_pixels: int | None) -> Iterator[float]:
    """The most pixels that an image may have. Pillow's own limit is a global of its module, and its
    only door: it is lifted for a moment where another one is asked for.
    """
    from PIL import Image

    if max_pixels is None:
        most = Image.MAX_IMAGE_PIXELS
        with warnings.catch_warnings():  # it warns of what it reads, from half of its limit on
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            yield 2 * most if most else float("inf")
        return
    with _LIMIT:
        before = Image.MAX_IMAGE_PIXELS
        Image.MAX_IMAGE_PIXELS = None
        try:
            yield max_pixels
        finally:
            Image.MAX_IMAGE_PIXELS = before
