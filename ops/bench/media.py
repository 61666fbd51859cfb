"""How fast renditions are made, and in how much memory: our workers' pipeline beside Pillow, in turn.

`python -m ops.bench.media` makes pictures of 12 megapixels, and in each round gives them to one fresh process
of each contender; docs/performance.md says what was found. The last line is JSON.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from statistics import mean
from typing import Any

from domain.settings import Media
from ops.bench import watch
from ops.bench.children import ChildError, ask
from ops.bench.figures import Figure, Figures, tidy

#: In the order in which they take turns.
CONTENDERS = ("stockyard", "pillow", "pillow_thumbnail")
#: Times Pillow's rate, at this part of its memory.
TARGET_RATE, TARGET_MEMORY = 2.0, 0.5
#: As a worker's processes have it, see `domain/media/renderer.py`.
ENVIRONMENT = {"MALLOC_ARENA_MAX": "1"}
#: Pictures of a PNG round, as a part of those of JPEG: they are larger.
PNG_PART = 5
#: The longest that one child may take, in seconds.
PATIENCE = 3600.0
ROWS = (
    ("pictures/s", "rate"),
    ("peak memory, MB", "peak_mb"),
    ("of it before the first picture", "start_mb"),
    ("processor time, ms per picture", "cpu_ms"),
    ("  decoding", "decode"),
    ("  encoding WebP", "webp"),
    ("  encoding JPEG", "jpeg"),
)


def main(argv: Sequence[str] | None = None) -> int:
    """0; 1 after one line on standard error. A target that is missed is told, and no failure."""
    parser = argparse.ArgumentParser(prog="python -m ops.bench.media", description=__doc__.split("\n")[0])
    parser.add_argument("--pictures", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args(argv)
    try:
        with tempfile.TemporaryDirectory(prefix="stockyard-bench-") as folder:
            outcome = measure(Path(folder), asked.pictures, asked.rounds)
    except ChildError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    print(json.dumps(outcome))
    return 0


def measure(folder: Path, pictures: int, rounds: int) -> dict[str, Any]:
    """Makes pictures, lets the contenders take turns, prints tables, and answers all figures."""
    forms = [form.model_dump() for form in Media().renditions]
    found: dict[str, Any] = {}
    for kind, count in (("jpeg", pictures), ("png", max(1, pictures // PNG_PART))):
        wanted = {"make": count, "kind": kind, "folder": str(folder)}
        paths = ask("media_child", wanted, patience=PATIENCE)["paths"]
        size = mean(Path(path).stat().st_size for path in paths) / watch.MEGABYTE
        figures = _rounds(paths, forms, rounds)
        print(f"{count} pictures of 12 megapixels, {kind.upper()} of {size:.1f} MB each, {rounds} rounds")
        print(*_table(figures), sep="\n")
        found[kind] = {"mb": tidy(size), "medians": figures.medians(), "spreads": figures.spreads()}
        found[kind] |= {"rate": _ratio(figures, "rate"), "memory": _ratio(figures, "peak_mb")}
        for path in paths:
            Path(path).unlink()
    reached = found["jpeg"]["rate"] >= TARGET_RATE and found["jpeg"]["memory"] <= TARGET_MEMORY
    return {
        "pictures": pictures, "rounds": rounds, **found, "reached": reached,
        "versions": {name: version(name) for name in ("pyvips-binary", "pillow")}, "machine": watch.machine(),
    }  # fmt: skip


def _rounds(paths: Sequence[str], forms: Sequence[dict[str, Any]], rounds: int) -> Figures:
    figures = Figures()
    for _ in range(rounds):
        for contender in CONTENDERS:
            asked = {"by": contender, "paths": paths, "forms": forms}
            environment = ENVIRONMENT if contender == "stockyard" else {}
            for name, value in ask("media_child", asked, environment, patience=PATIENCE).items():
                figures.add(f"{contender}_{name}", value)
    return figures


def _ratio(figures: Figures, name: str) -> float:
    """Ours to Pillow's, where both decode as little as they have to."""
    return tidy(figures.ratio(f"stockyard_{name}", f"pillow_{name}") or 0.0)


def _table(figures: Figures) -> Iterator[str]:
    yield f"{'median (lowest-highest)':34}" + "".join(f"{contender:>26}" for contender in CONTENDERS)
    for label, name in ROWS:
        cells = (_cell(figures[f"{contender}_{name}"]) for contender in CONTENDERS)
        yield f"{label:34}" + "".join(f"{cell:>26}" for cell in cells)


def _cell(figure: Figure) -> str:
    return f"{tidy(figure.median):g} ({tidy(figure.low):g}-{tidy(figure.high):g})"


if __name__ == "__main__":
    sys.exit(main())
