"""What is made of files, by the processes that decode them: every format, and what is no picture at all."""

import asyncio
import io
import json
import os
import shutil
import signal
import sys
import tempfile
import zipfile
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from domain.media.renderer import Busy, CannotStart, Limits, Lost, Renderers
from domain.media.renditions import ENCODINGS, Form
from tests.pictures import (
    BLUE,
    FORMATS,
    FORMS,
    GREEN,
    RED,
    corners,
    encoded,
    frames,
    huge_png,
    noisy,
    plain,
    vips_plain,
)

LIMITS = Limits(seconds=30, memory=512 * 1024**2, threads=1)
#: The tallest difference of a colour that goes through a lossy encoder.
NEAR = 8


@dataclass
class Look:
    """What a process answered, and the renditions, opened."""

    answer: Mapping[str, Any]
    pictures: dict[tuple[str, str], Image.Image]

    @property
    def found(self) -> tuple[Any, ...]:
        return tuple(self.answer["found"].values())

    def sizes(self, encoding: str = "webp") -> dict[str, tuple[int, int]]:
        return {name: image.size for (name, kind), image in self.pictures.items() if kind == encoding}


class Studio:
    """Renders bytes as a worker does."""

    def __init__(self, renderers: Renderers, folder: Path) -> None:
        self.renderers = renderers
        self._folder = folder

    async def look(self, data: bytes, *, forms: Sequence[Form] = FORMS, max_pixels: int = 4_000_000) -> Look:
        with tempfile.TemporaryDirectory(dir=self._folder) as name:
            folder = Path(name)
            path = folder / "original"
            path.write_bytes(data)
            async with self.renderers.place() as renderer:
                answer = await renderer.render(path, folder, forms, max_pixels=max_pixels)
            made = answer.get("made", [])
            pictures = {(each["name"], each["encoding"]): opened(Path(each["path"])) for each in made}
            for each in made:
                assert pictures[each["name"], each["encoding"]].size == (each["width"], each["height"])
        return Look(answer, pictures)

    async def refusal(self, data: bytes, **options: Any) -> str:
        answer = (await self.look(data, **options)).answer
        assert set(answer) == {"refused", "detail"}
        return str(answer["refused"])


def opened(path: Path) -> Image.Image:
    image = Image.open(io.BytesIO(path.read_bytes()))
    image.load()
    assert f"image/{(image.format or '').lower()}" == ENCODINGS[path.suffix[1:]]
    return image


def contents(path: str) -> bytes:
    return Path(path).read_bytes()


def near(image: Image.Image, colour: Sequence[int], at: tuple[float, float] = (0.5, 0.5)) -> bool:
    point = (int(image.width * at[0]), int(image.height * at[1]))
    found = image.convert("RGBA" if len(colour) == 4 else "RGB").getpixel(point)
    assert isinstance(found, tuple)
    return all(abs(one - other) <= NEAR for one, other in zip(found, colour, strict=True))


@pytest.fixture(scope="module")
async def studio(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Studio]:
    renderers = Renderers(processes=1, limits=LIMITS)
    yield Studio(renderers, tmp_path_factory.mktemp("studio"))
    await renderers.close()


# -- what is taken ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", FORMATS)
async def test_every_format_becomes_every_rendition(studio: Studio, kind: str):
    look = await studio.look(encoded(corners(), kind))
    assert look.found == (kind, 320, 240, 1)
    for encoding in ENCODINGS:
        assert look.sizes(encoding) == {"zoom": (160, 120), "card": (60, 45), "thumb": (24, 24)}
    for image in look.pictures.values():
        assert near(image, RED, (0.2, 0.2))
        assert near(image, GREEN, (0.8, 0.2))
        assert near(image, BLUE, (0.5, 0.8))


@pytest.mark.parametrize("options", [{"progressive": True}, {"subsampling": 0}, {"restart_marker_rows": 1}])
async def test_jpegs_of_every_making_are_read(studio: Studio, options: dict[str, Any]):
    assert near((await studio.look(encoded(corners(), **options))).pictures["card", "webp"], BLUE, (0.5, 0.9))


@pytest.mark.parametrize("orientation", range(1, 9))
async def test_a_picture_stands_upright_whatever_its_camera_did(studio: Studio, orientation: int):
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_90, 7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }  # fmt: skip
    image, exif = corners(), Image.Exif()
    exif[0x0112] = orientation
    seen = image.transpose(undo[orientation]) if orientation in undo else image
    look = await studio.look(encoded(seen, exif=exif))
    assert look.found == ("jpeg", 320, 240, 1)
    assert look.sizes() == {"zoom": (160, 120), "card": (60, 45), "thumb": (24, 24)}
    for rendition in look.pictures.values():
        assert near(rendition, RED, (0.2, 0.2))
        assert near(rendition, GREEN, (0.8, 0.2))


@pytest.mark.parametrize("kind", ["jpeg", "png", "webp"])
async def test_place_and_camera_and_comments_are_gone(studio: Studio, kind: str):
    exif = Image.Exif()
    exif[0x010F] = "Camera of SECRETOWNER"
    exif.get_ifd(0x8825).update({1: "N", 2: (52.0, 31.0, 12.0), 3: "E", 4: (13.0, 24.0, 36.0)})
    options: dict[str, Any] = {"exif": exif}
    if kind == "jpeg":
        options |= {"comment": b"SECRETOWNER", "xmp": b"<x:xmpmeta>SECRETOWNER</x:xmpmeta>"}
    data = encoded(corners(), kind, **options)
    assert b"SECRETOWNER" in data
    for image in (await studio.look(data)).pictures.values():
        assert not image.getexif()
        assert not image.getexif().get_ifd(0x8825)
        assert not {"exif", "xmp", "comment", "icc_profile", "photoshop"} & set(image.info)


async def test_wide_colours_come_out_as_they_were_seen(studio: Studio):
    p3 = vips_plain(RED).icc_transform("p3", input_profile="srgb")
    stored = p3(5, 5)
    assert abs(stored[0] - RED[0]) > NEAR
    for data in (p3.jpegsave_buffer(Q=98, profile="p3"), p3.pngsave_buffer(profile="p3")):
        look = await studio.look(data)
        assert all(near(image, RED) for image in look.pictures.values())


async def test_cmyk_comes_out_as_it_was_seen(studio: Studio):
    colour = (180, 120, 60)
    cmyk = vips_plain(colour).icc_transform("cmyk", input_profile="srgb")
    look = await studio.look(cmyk.jpegsave_buffer(Q=98, profile="cmyk"))
    assert all(near(image, colour) for image in look.pictures.values())
    assert all(image.mode == "RGB" for image in look.pictures.values())


async def test_cmyk_without_a_profile_is_read_too(studio: Studio):
    look = await studio.look(encoded(plain(colour=(0, 0, 0, 0), mode="CMYK")))
    assert all(near(image, (255, 255, 255)) for image in look.pictures.values())


@pytest.mark.parametrize("profile", [b"", b"no profile" * 50])
async def test_a_profile_that_is_none_is_passed_over(studio: Studio, profile: bytes):
    look = await studio.look(encoded(plain(), icc_profile=profile))
    assert all(near(image, RED) for image in look.pictures.values())


async def test_a_profile_of_other_colours_is_passed_over(studio: Studio):
    look = await studio.look(vips_plain(RED).jpegsave_buffer(Q=98, profile="cmyk"))
    assert all(near(image, RED) for image in look.pictures.values())


async def test_sixteen_bits_become_eight(studio: Studio):
    image = vips_plain([part * 257 for part in RED], interpretation="rgb16", form="ushort")
    look = await studio.look(image.pngsave_buffer())
    assert all(near(image, RED) for image in look.pictures.values())


@pytest.mark.parametrize("mode", ["L", "1", "P", "I;16"])
async def test_grey_and_palettes_are_read(studio: Studio, mode: str):
    image = Image.new("I;16", (320, 240), 65535) if mode == "I;16" else plain(colour=(255,) * 3).convert(mode)
    look = await studio.look(encoded(image, "png"))
    assert all(near(rendition, (255, 255, 255)) for rendition in look.pictures.values())


@pytest.mark.parametrize("kind", ["png", "webp", "avif"])
async def test_alpha_stays_in_webp_and_is_white_in_jpeg(studio: Studio, kind: str):
    look = await studio.look(encoded(plain(colour=(*RED, 0), mode="RGBA"), kind))
    assert look.pictures["card", "webp"].mode == "RGBA"
    assert near(look.pictures["card", "webp"].getchannel("A").convert("RGB"), (0, 0, 0))
    assert near(look.pictures["card", "jpeg"], (255, 255, 255))
    half = await studio.look(encoded(plain(colour=(*RED, 128), mode="RGBA"), kind))
    assert near(half.pictures["zoom", "webp"], (*RED, 128))


@pytest.mark.parametrize("kind", ["gif", "webp", "png"])
async def test_of_an_animation_its_first_frame_is_shown(studio: Studio, kind: str):
    first, *rest = frames(3)
    look = await studio.look(encoded(first, kind, save_all=True, append_images=rest))
    assert look.answer["found"]["width"] == 320
    assert all(near(image, RED) for image in look.pictures.values())


async def test_one_pixel_stays_one_pixel(studio: Studio):
    look = await studio.look(encoded(plain(1, 1), "png"))
    assert set(look.sizes().values()) == {(1, 1)}


@pytest.mark.parametrize(("width", "height"), [(20_000, 1), (1, 20_000)])
async def test_a_line_stays_a_line(studio: Studio, width: int, height: int):
    look = await studio.look(encoded(plain(width, height), "png"))
    longest, shortest = max(width, height), min(width, height)
    assert (longest, shortest) == (20_000, 1)
    assert sorted(look.sizes()["zoom"]) == [1, 160]
    assert sorted(look.sizes()["thumb"]) == [1, 24]


async def test_nothing_is_enlarged(studio: Studio):
    look = await studio.look(encoded(plain(50, 40)))
    assert look.sizes() == {"zoom": (50, 40), "card": (50, 40), "thumb": (24, 24)}


async def test_what_is_hidden_behind_a_picture_is_not_in_its_renditions(studio: Studio):
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as files:
        files.writestr("PAYLOAD.html", "<script>PAYLOAD</script>")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = folder / "original"
        path.write_bytes(encoded(corners()) + archive.getvalue())
        async with studio.renderers.place() as renderer:
            answer = await renderer.render(path, folder, FORMS, max_pixels=4_000_000)
        assert len(answer["made"]) == len(FORMS) * len(ENCODINGS)
        assert not any(b"PAYLOAD" in contents(each["path"]) for each in answer["made"])


# -- what is refused -------------------------------------------------------------------------------------


def archive() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as files:
        files.writestr("picture.jpg", encoded(plain()))
    return file.getvalue()


SVG = b"""<?xml version="1.0"?><!DOCTYPE svg [<!ENTITY file SYSTEM "file:///etc/hostname">]>
<svg xmlns="http://www.w3.org/2000/svg" width="100" height="100"><text y="20">&file;</text></svg>"""
NO_PICTURES: dict[str, Callable[[], bytes]] = {
    "nothing": lambda: b"",
    "text": lambda: b"hello",
    "a svg with an entity": lambda: SVG,
    "a zip": archive,
    "a pdf": lambda: b"%PDF-1.7\n1 0 obj\n<<>>\nendobj\n",
    "a tiff": lambda: bytes(vips_plain(RED).tiffsave_buffer()),
    "a picture of libvips": lambda: bytes(vips_plain(RED).copy_memory().write_to_memory()),
    "a bmp": lambda: b"BM" + bytes(200),
    "half a signature": lambda: b"\x89PNG\r\n",
    "heic": lambda: b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00heicmif1" + bytes(300),
    "csv": lambda: b"1,2,3\n4,5,6\n",
}


@pytest.mark.parametrize("what", NO_PICTURES)
async def test_what_is_no_picture_is_refused(studio: Studio, what: str):
    assert await studio.refusal(NO_PICTURES[what]()) == "not_a_picture"


async def test_a_bomb_is_refused_by_its_header(studio: Studio):
    bomb = huge_png(50_000, 50_000)
    assert len(bomb) < 200
    look = await studio.look(bomb)
    assert look.answer["refused"] == "picture_too_large"
    assert look.answer["detail"] == {"width": 50_000, "height": 50_000, "frames": 1, "most": 4_000_000}


@pytest.mark.parametrize("kind", ["gif", "webp"])
async def test_a_bomb_of_frames_is_refused(studio: Studio, kind: str):
    first, *rest = frames(4, 100, 100)
    data = encoded(first, kind, save_all=True, append_images=rest)
    assert await studio.refusal(data, max_pixels=39_999) == "picture_too_large"
    assert "found" in (await studio.look(data, max_pixels=40_000)).answer


@pytest.mark.parametrize("part", [0.3, 0.6, 0.9])
@pytest.mark.parametrize("kind", FORMATS)
async def test_a_file_that_ends_too_early_is_refused(studio: Studio, kind: str, part: float):
    data = encoded(noisy(), kind)
    assert await studio.refusal(data[: int(len(data) * part)]) in {"picture_broken", "not_a_picture"}


async def test_a_header_with_no_picture_behind_it_is_refused(studio: Studio):
    assert await studio.refusal(huge_png(1000, 1000)) == "picture_broken"


# -- whatever comes --------------------------------------------------------------------------------------


def test_mutated_files_are_rendered_or_refused_and_leave_nothing(tmp_path: Path):
    originals = {kind: encoded(noisy(64, 48), kind) for kind in FORMATS}
    forms = (Form("card", 20, 20, "inside", 50, 50),)
    loop, renderers = asyncio.new_event_loop(), Renderers(processes=1, limits=LIMITS)
    studio = Studio(renderers, tmp_path)

    @settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
    @given(
        kind=st.sampled_from(sorted(FORMATS)),
        edits=st.lists(st.tuples(st.floats(0, 1), st.binary(min_size=1, max_size=4)), max_size=6),
        cut=st.floats(0.5, 1),
    )
    def check(kind: str, edits: list[tuple[float, bytes]], cut: float) -> None:
        data = bytearray(originals[kind])
        for where, what in edits:
            at = int(where * (len(data) - len(what)))
            data[at : at + len(what)] = what
        mutated = bytes(data[: int(len(data) * cut)])
        look = loop.run_until_complete(studio.look(mutated, forms=forms, max_pixels=1_000_000))
        assert set(look.answer) in ({"refused", "detail"}, {"found", "made"})

    try:
        check()
        assert not list(tmp_path.iterdir())
    finally:
        loop.run_until_complete(renderers.close())
        loop.close()


# -- the processes ---------------------------------------------------------------------------------------


@pytest.fixture
async def folder(tmp_path: Path) -> Path:
    (tmp_path / "original").write_bytes(encoded(noisy(1600, 1200)))
    return tmp_path


async def rendered(renderers: Renderers, folder: Path) -> Mapping[str, Any]:
    async with renderers.place() as renderer:
        return await renderer.render(folder / "original", folder, FORMS, max_pixels=4_000_000)


def pid_of(renderers: Renderers) -> int:
    (idle,) = renderers._idle
    assert idle._process is not None
    return idle._process.pid


async def test_a_process_that_dies_between_pictures_is_replaced(folder: Path):
    renderers = Renderers(processes=1, limits=LIMITS)
    await rendered(renderers, folder)
    killed = pid_of(renderers)
    os.kill(killed, signal.SIGSEGV)
    assert "made" in await rendered(renderers, folder)
    assert pid_of(renderers) != killed
    await renderers.close()


async def test_a_picture_that_two_processes_cannot_do_in_time_is_lost_and_the_next_is_done(folder: Path):
    renderers = Renderers(processes=1, limits=LIMITS)
    await rendered(renderers, folder)
    (idle,) = renderers._idle
    idle._limits = Limits(seconds=0.001, memory=LIMITS.memory, threads=1)
    with pytest.raises(Lost, match="time was over"):
        await rendered(renderers, folder)
    idle._limits = LIMITS
    assert "made" in await rendered(renderers, folder)
    await renderers.close()


async def test_a_picture_that_takes_too_much_memory_is_not_done(folder: Path):
    (folder / "original").write_bytes(encoded(noisy(2000, 2000), progressive=True))
    renderers = Renderers(processes=1, limits=Limits(seconds=30, memory=24 * 1024**2, threads=1))
    try:
        answer = await rendered(renderers, folder)
    except Lost:
        return
    finally:
        await renderers.close()
    assert answer["refused"] == "picture_too_costly"


async def test_processes_that_cannot_start_say_nothing_of_pictures(
    folder: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("sys.executable", shutil.which("false"))
    renderers = Renderers(processes=1, limits=LIMITS)
    with pytest.raises(CannotStart):
        await rendered(renderers, folder)
    await renderers.close()


async def test_a_process_that_nobody_ends_any_more_ends_itself(folder: Path):
    os.mkfifo(folder / "endless")
    order = {"path": str(folder / "endless"), "folder": str(folder), "forms": [], "max_pixels": 1}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "domain.media.render_process", "1", str(LIMITS.memory), "1",
        stdin=PIPE, stdout=PIPE,
    )  # fmt: skip
    assert process.stdin is not None
    process.stdin.write(json.dumps(order).encode() + b"\n")
    assert await process.wait() == -signal.SIGALRM


async def test_what_cannot_be_written_says_nothing_of_the_picture(folder: Path):
    renderers = Renderers(processes=1, limits=LIMITS)
    async with renderers.place() as renderer:
        lost = folder / "lost"
        answer = await renderer.render(folder / "original", lost, FORMS, max_pixels=4_000_000)
    assert set(answer) == {"unwritten"}
    await renderers.close()


async def test_who_gives_up_waiting_takes_no_answer_from_the_next(folder: Path):
    renderers = Renderers(processes=1, limits=LIMITS)
    await rendered(renderers, folder)
    waiting = asyncio.create_task(rendered(renderers, folder))
    await asyncio.sleep(0.01)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    (folder / "original").write_bytes(b"no picture")
    assert (await rendered(renderers, folder))["refused"] == "not_a_picture"
    await renderers.close()


async def test_no_more_pictures_are_decoded_at_once_than_there_are_processes(folder: Path):
    renderers = Renderers(processes=1, limits=LIMITS, patience=0.01)
    async with renderers.place():
        with pytest.raises(Busy):
            await rendered(renderers, folder)
    await renderers.close()


async def test_a_process_knows_no_secrets(folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("STOCKYARD_S3_SECRET_KEY", "SECRET")
    renderers = Renderers(processes=1, limits=LIMITS)
    await rendered(renderers, folder)
    environment = contents(f"/proc/{pid_of(renderers)}/environ")
    assert b"STOCKYARD" not in environment
    await renderers.close()
