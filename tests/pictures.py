"""Pictures for tests, as clients send them."""

import io
import struct
import zlib
from collections.abc import Sequence
from typing import Any

import pyvips
from PIL import Image

from domain.media.renditions import Form

RED, GREEN, BLUE = (200, 40, 30), (30, 170, 60), (40, 60, 200)
#: Pillow's names of the formats that are taken.
FORMATS = {"jpeg": "JPEG", "png": "PNG", "webp": "WEBP", "gif": "GIF", "avif": "AVIF"}
FORMS = (
    Form("thumb", 24, 24, "cover", webp_quality=90, jpeg_quality=95),
    Form("card", 60, 60, "inside", webp_quality=90, jpeg_quality=95),
    Form("zoom", 160, 160, "inside", webp_quality=90, jpeg_quality=95),
)


def encoded(image: Image.Image, kind: str = "jpeg", **options: Any) -> bytes:
    """The picture as a file of that format."""
    file = io.BytesIO()
    image.save(file, FORMATS[kind], **options)
    return file.getvalue()


def plain(width: int = 320, height: int = 240, colour: Any = RED, mode: str = "RGB") -> Image.Image:
    """One colour."""
    return Image.new(mode, (width, height), colour)


def noisy(width: int = 320, height: int = 240) -> Image.Image:
    """A picture that no format makes small."""
    return Image.effect_noise((width, height), 80).convert("RGB")


def corners() -> Image.Image:
    """Red at the upper left, green at the upper right, blue below."""
    image = plain(320, 240, BLUE)
    image.paste(RED, (0, 0, 160, 120))
    image.paste(GREEN, (160, 0, 320, 120))
    return image


def frames(count: int = 3, width: int = 320, height: int = 240) -> Sequence[Image.Image]:
    """Of an animation that begins red."""
    return [plain(width, height, (200 - 60 * number, 40, 30 + 60 * number)) for number in range(count)]


def vips_plain(colour: Sequence[float], *, interpretation: str = "srgb", form: str = "uchar") -> Any:
    """One colour in a form that Pillow cannot write."""
    image = pyvips.Image.black(320, 240, bands=len(colour)) + list(colour)
    return image.cast(form).copy(interpretation=interpretation)


def huge_png(width: int, height: int) -> bytes:
    """A small file whose header promises many pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0)
    rows = zlib.compress(bytes(4096), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
