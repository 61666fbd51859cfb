"""The bench of pictures: its contenders do the same, on pictures small enough for a test."""

from pathlib import Path

import pytest

from domain.settings import Media
from ops.bench import media, media_child
from ops.bench.children import ask
from tests.pictures import encoded, noisy


@pytest.mark.long
def test_each_contender_measures_the_same_things(tmp_path: Path):
    path = tmp_path / "0.jpeg"
    path.write_bytes(encoded(noisy(640, 480)))
    forms = [form.model_dump() for form in Media().renditions]
    wanted = {"by": "", "paths": [str(path)], "forms": forms}
    found = {each: ask("media_child", {**wanted, "by": each}) for each in media.CONTENDERS}
    assert all(set(figures) == {name for _, name in media.ROWS} for figures in found.values())
    assert all(value > 0 for figures in found.values() for value in figures.values())


def test_pillow_makes_the_renditions_that_we_make(tmp_path: Path):
    path, folder = tmp_path / "original.jpeg", tmp_path / "made"
    folder.mkdir()
    path.write_bytes(encoded(noisy(640, 480)))
    forms = [form.model_dump() for form in Media().renditions]
    media_child.pillow(forms, folder, draft=True)(path)
    assert sorted(each.name for each in folder.iterdir()) == sorted(
        f"{form['name']}.{encoding}" for form in forms for encoding in ("jpeg", "webp")
    )
