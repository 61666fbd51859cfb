"""One process that makes renditions, by libvips as our workers do or by Pillow; or makes pictures.

`python -m ops.bench.media` starts it. Both do the same: the table of the settings, small renditions from the
biggest one, the same filter, qualities and efforts, one thread.
"""

import io
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from ops.bench.children import answer, question

MEGABYTE = 1024 * 1024
#: Of made pictures: width, height, and the sizes of the specks with how much they differ, coarse to fine.
WIDTH, HEIGHT = 4000, 3000
NOISE = ((100, 40), (25, 24), (6, 10), (2, 4), (1, 2))
JPEG_QUALITY = 92
#: How often each part of the profile is measured: the least counts.
TRIES = 5

Work = Callable[[Path], None]
Forms = Sequence[dict[str, Any]]


def peak_mb() -> float:
    """The most memory that this process has had resident."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


def make(folder: Path, count: int, kind: str) -> list[str]:
    """Pictures of 12 megapixels: gradients, and noise whose specks are of every size, as in photographs."""
    import pyvips  # noqa: PLC0415 - each contender has the memory of its own library alone

    across = pyvips.Image.xyz(WIDTH, HEIGHT)
    slope = (across[0] * 200 / WIDTH).bandjoin(
        [across[1] * 200 / HEIGHT, (across[0] + across[1]) * 200 / (WIDTH + HEIGHT)]
    )
    width, height = WIDTH + count, HEIGHT + count
    grain = pyvips.Image.black(width, height)
    for seed, (speck, strength) in enumerate(NOISE):
        size = (-(-width // speck) + 1, -(-height // speck) + 1)
        noise = pyvips.Image.gaussnoise(*size, sigma=strength, mean=0, seed=seed)
        grown = noise.resize(speck, kernel="cubic") if speck > 1 else noise
        grain = grain + grown.crop(0, 0, width, height)
    grain = grain.copy_memory()
    paths = []
    for number in range(count):
        # No two are alike, as the specks are elsewhere.
        image = (slope + grain.crop(number, count - number, WIDTH, HEIGHT)).cast("uchar")
        paths.append(str(folder / f"{number}.{kind}"))
        options = {"Q": JPEG_QUALITY} if kind == "jpeg" else {"compression": 4}
        image.copy(interpretation="srgb").write_to_file(paths[-1], **options)
    return paths


def stockyard(forms: Forms, folder: Path) -> Work:
    """What a worker's process does with a picture."""
    from domain.media.images import prepare, render  # noqa: PLC0415
    from domain.media.renditions import Form  # noqa: PLC0415

    table = [Form(**form) for form in forms]
    prepare(threads=1)

    def work(path: Path) -> None:
        render(path, folder, table, max_pixels=WIDTH * HEIGHT)

    return work


def pillow(forms: Forms, folder: Path, *, draft: bool) -> Work:
    """The same by Pillow: with `draft`, libjpeg decodes half the size at once, as it does for us.

    Without, as Pillow's `thumbnail` does it by itself: the whole is decoded, and reduced twice.
    """
    from PIL import Image, ImageOps  # noqa: PLC0415

    lanczos = Image.Resampling.LANCZOS

    def first(path: Path, box: tuple[int, int]) -> Any:
        image = Image.open(path)
        if draft:
            image.draft("RGB", ImageOps.contain(Image.new("1", image.size), box).size)
            upright = ImageOps.contain(image, box, lanczos)
        else:
            image.thumbnail(box, lanczos)
            upright = image
        return ImageOps.exif_transpose(upright)

    def work(path: Path) -> None:
        bigger = None
        for form in sorted(forms, key=lambda each: -each["width"]):
            box = (form["width"], form["height"])
            if bigger is None:
                bigger = made = first(path, box)
            elif form["fit"] == "cover":
                made = ImageOps.fit(bigger, box, lanczos)
            else:
                made = ImageOps.contain(bigger, box, lanczos)
            target = folder / form["name"]
            made.save(target.with_suffix(".webp"), quality=form["webp_quality"], method=4)
            made.save(target.with_suffix(".jpeg"), quality=form["jpeg_quality"], optimize=True)

    return work


def least(call: Callable[[], object]) -> float:
    """Milliseconds of processor time, of the best of some tries."""
    took = []
    for _ in range(TRIES):
        began = time.process_time()
        call()
        took.append(time.process_time() - began)
    return min(took) * 1000


def codecs_of_libvips(path: Path, forms: Forms) -> dict[str, float]:
    """What decoding the original, at half its size where it is a JPEG, and encoding all renditions take."""
    import pyvips  # noqa: PLC0415

    def decode() -> Any:
        options = {"shrink": 2} if path.suffix == ".jpeg" else {}
        return pyvips.Image.new_from_file(str(path), access="sequential", **options).copy_memory()

    def encode(image: Any, kind: str, quality: int) -> None:
        if kind == "webp":
            image.webpsave_buffer(Q=quality, keep="none")
        else:
            image.jpegsave_buffer(Q=quality, keep="none", optimize_coding=True)

    whole = decode()
    made = [whole.thumbnail_image(form["width"], height=form["height"]).copy_memory() for form in forms]
    return {"decode": least(decode), **_encoding(encode, made, forms)}


def codecs_of_pillow(path: Path, forms: Forms, *, draft: bool) -> dict[str, float]:
    """The same; the whole original without `draft`."""
    from PIL import Image, ImageOps  # noqa: PLC0415

    def decode() -> Any:
        image = Image.open(path)
        if draft:
            image.draft("RGB", (WIDTH // 2, HEIGHT // 2))
        image.load()
        return image

    def encode(image: Any, kind: str, quality: int) -> None:
        options = {"method": 4} if kind == "webp" else {"optimize": True}
        image.save(io.BytesIO(), kind, quality=quality, **options)

    whole = decode()
    made = [ImageOps.contain(whole, (form["width"], form["height"])) for form in forms]
    return {"decode": least(decode), **_encoding(encode, made, forms)}


def _encoding(encode: Callable[[Any, str, int], None], made: Sequence[Any], forms: Forms) -> dict[str, float]:
    return {
        kind: sum(
            least(partial(encode, image, kind, form[f"{kind}_quality"]))
            for image, form in zip(made, forms, strict=True)
        )
        for kind in ("webp", "jpeg")
    }


def measure(asked: dict[str, Any]) -> dict[str, Any]:
    """Pictures per second, processor time, and memory; the first picture is a warm-up and not timed."""
    paths, forms = [Path(path) for path in asked["paths"]], asked["forms"]
    with tempfile.TemporaryDirectory() as name:
        if asked["by"] == "stockyard":
            work = stockyard(forms, Path(name))
        else:
            work = pillow(forms, Path(name), draft=asked["by"] == "pillow")
        before = peak_mb()
        work(paths[0])
        began, used = time.perf_counter(), time.process_time()
        for path in paths:
            work(path)
        took, used = time.perf_counter() - began, time.process_time() - used
        result = {
            "rate": len(paths) / took, "cpu_ms": used * 1000 / len(paths), "peak_mb": peak_mb(),
            "start_mb": before,
        }  # fmt: skip
    if asked["by"] == "stockyard":
        return result | codecs_of_libvips(paths[0], forms)
    return result | codecs_of_pillow(paths[0], forms, draft=asked["by"] == "pillow")


def main() -> int:
    """0."""
    asked = question()
    if "make" in asked:
        answer({"paths": make(Path(asked["folder"]), asked["make"], asked["kind"])})
    else:
        answer(measure(asked))
    return 0


if __name__ == "__main__":
    sys.exit(main())
