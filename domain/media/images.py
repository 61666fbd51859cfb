"""The pixels, by libvips: what a file is, and its renditions. Runs in a process of its own, see `renderer`.

Nothing here trusts the file: only the loaders of formats that are taken are allowed, the header is looked at
before anything is decoded, and what is written has nothing of the file but its pixels.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyvips

from domain.media.renditions import ENCODINGS, ROOM, Form, Step, steps

#: Formats that are taken: libvips' name of the loader's class, and its function.
FORMATS = {
    "jpeg": ("VipsForeignLoadJpeg", "jpegload_source"),
    "png": ("VipsForeignLoadPng", "pngload_source"),
    "webp": ("VipsForeignLoadWebp", "webpload_source"),
    "gif": ("VipsForeignLoadNsgif", "gifload_source"),
    "avif": ("VipsForeignLoadHeif", "heifload_source"),
}
CONTENT_TYPES = {name: f"image/{name}" for name in FORMATS}
_LOADERS = {loader: name for name, (_, loader) in FORMATS.items()}
_WHITE = [255.0, 255.0, 255.0]
_PROFILE = "icc-profile-data"
_TURNED = frozenset({5, 6, 7, 8})


class Refused(Exception):
    """The file is not rendered. `code` says why: see `domain.media.errors`."""

    def __init__(self, code: str, **detail: Any) -> None:
        self.code = code
        self.detail = detail
        super().__init__(code)


class Unwritten(Exception):
    """A rendition could not be written, as where the disk is full: nothing is said of the picture."""


@dataclass(frozen=True, slots=True)
class Found:
    """What a file's header says. `width` and `height` are those of the upright picture."""

    format: str
    width: int
    height: int
    frames: int


@dataclass(frozen=True, slots=True)
class Made:
    """One rendition, in a file of its own."""

    name: str
    encoding: str
    path: str
    width: int
    height: int


def prepare(*, threads: int) -> None:
    """Once in a process: allows the loaders of `FORMATS` alone, keeps nothing in memory between pictures."""
    pyvips.block_untrusted_set(True)
    pyvips.operation_block_set("VipsForeignLoad", True)
    for blocked, _ in FORMATS.values():
        pyvips.operation_block_set(blocked, False)
    pyvips.cache_set_max(0)
    pyvips.concurrency_set(threads)


def inspect(path: Path, *, max_pixels: int) -> Found:
    """Reads the header; nothing is decoded.

    Raises Refused for what is none of `FORMATS`, and where all frames together have more than `max_pixels`.
    """
    try:
        header = pyvips.Image.new_from_source(_source(path), "", access="sequential")
        found = _found(header)
    except (pyvips.Error, KeyError) as error:
        raise Refused("not_a_picture") from error
    if found.width * found.height * found.frames > max_pixels:
        size = {"width": found.width, "height": found.height, "frames": found.frames}
        raise Refused("picture_too_large", **size, most=max_pixels)
    return found


def _found(header: pyvips.Image) -> Found:
    fields = set(header.get_fields())
    kind = _LOADERS[header.get("vips-loader")]
    if kind == "avif" and header.get("heif-compression") != "av1":
        raise Refused("not_a_picture")
    turned = "orientation" in fields and header.get("orientation") in _TURNED
    width, height = (header.height, header.width) if turned else (header.width, header.height)
    return Found(kind, width, height, header.get("n-pages") if "n-pages" in fields else 1)


def render(path: Path, folder: Path, forms: Sequence[Form], *, max_pixels: int) -> tuple[Found, list[Made]]:
    """Makes every rendition of the file's first frame, in `folder`.

    Raises Refused as `inspect` does, and where the picture cannot be read to its end; and Unwritten.
    """
    found = inspect(path, max_pixels=max_pixels)
    try:
        return found, list(_render(path, folder, found, forms))
    except pyvips.Error as error:
        raise Refused("picture_too_costly" if "memory" in error.detail else "picture_broken") from error


def _render(path: Path, folder: Path, found: Found, forms: Sequence[Form]) -> Iterator[Made]:
    planned = list(steps(forms, width=found.width, height=found.height))
    needed = {step.source for step in planned}
    kept: dict[str, pyvips.Image] = {}
    for step in planned:
        source = kept[step.source] if step.source else _load(path, found, step.scale)
        image = _resized(source, step, found)
        if step.source is None:
            # libvips has made CMYK into sRGB to resize it, by its profile.
            image = _shown(image, profiled=source.interpretation != "cmyk")
        # Its pixels are needed several times, and the original can be read once only.
        image = image.copy_memory()
        if step.form.name in needed:
            kept[step.form.name] = image
        for encoding in ENCODINGS:
            target = folder / f"{step.form.name}.{encoding}"
            _save(image, target, encoding, quality=step.form.quality(encoding))
            yield Made(step.form.name, encoding, str(target), image.width, image.height)


def _source(path: Path) -> pyvips.Source:
    # Not by its name, in which libvips would look for options.
    return pyvips.Source.new_from_file(str(path))


def _load(path: Path, found: Found, scale: float) -> pyvips.Image:
    """Rows as they are read; by decoders that can, no bigger than they are needed."""
    options: dict[str, Any] = {"access": "sequential", "fail_on": "error"}
    if found.format == "jpeg":
        options["shrink"] = next(shrink for shrink in (8, 4, 2, 1) if shrink * scale <= 1)
    elif found.format == "webp" and found.frames == 1:
        options["scale"] = min(1.0, ROOM * scale)
    return getattr(pyvips.Image, FORMATS[found.format][1])(_source(path), **options)


def _resized(image: pyvips.Image, step: Step, found: Found) -> pyvips.Image:
    """Upright, of the size that the step's form says."""
    form = step.form
    crop = "centre" if form.fit == "cover" else "none"
    if form.fit == "inside":
        # Rounded from the original's size, whatever it is made from.
        width = max(1, round(found.width * step.scale))
        height = max(1, round(found.height * step.scale))
    else:
        width, height = min(form.width, found.width), min(form.height, found.height)
    return image.thumbnail_image(
        width, height=height, size="force" if form.fit == "inside" else "down", crop=crop
    )


def _shown(image: pyvips.Image, *, profiled: bool) -> pyvips.Image:
    """In sRGB with eight bits, with its alpha, if it has any; grey stays grey."""
    if profiled and image.get_typeof(_PROFILE):
        image = _converted(image)
    if image.interpretation not in {"srgb", "b-w"}:
        image = image.colourspace("srgb")
    return image.cast("uchar") if image.format != "uchar" else image


def _converted(image: pyvips.Image) -> pyvips.Image:
    try:
        return image.icc_transform(
            "srgb", embedded=True, input_profile="srgb", intent="relative", black_point_compensation=True
        )
    except pyvips.Error:  # the profile is of no use: many pictures carry one that is not theirs
        return image


def _save(image: pyvips.Image, path: Path, encoding: str, *, quality: int) -> None:
    """Raises Unwritten. The image is all in memory: what fails here is not the picture's fault."""
    try:
        _write(image, path, encoding, quality=quality)
    except pyvips.Error as error:
        if "memory" in error.detail:
            raise
        raise Unwritten(error.detail) from error


def _write(image: pyvips.Image, path: Path, encoding: str, *, quality: int) -> None:
    """Pixels alone: no EXIF, no place, no comment, no profile, as what has none is sRGB on the web."""
    target = pyvips.Target.new_to_file(str(path))
    if encoding == "webp":
        image.webpsave_target(target, Q=quality, keep="none")
        return
    flat = image.flatten(background=_WHITE) if image.hasalpha() else image
    flat.jpegsave_target(target, Q=quality, keep="none", interlace=False, optimize_coding=True)
