"""The table of renditions: sizes, what is made from what, and names."""

from dataclasses import replace

import pytest
from pydantic import ValidationError

from domain.media.renditions import Form, name_of, steps
from domain.settings.media import Media, RenditionForm

ZOOM = Form("zoom", 1600, 1600, "inside", 80, 82)
CARD = Form("card", 600, 600, "inside", 80, 82)
THUMB = Form("thumb", 240, 240, "cover", 80, 82)


def sources(*forms: Form, width: int, height: int) -> dict[str, str | None]:
    return {step.form.name: step.source for step in steps(forms, width=width, height=height)}


def test_inside_keeps_the_whole_and_cover_fills_the_box():
    assert CARD.scale(4000, 3000) == 600 / 4000
    assert THUMB.scale(4000, 3000) == 240 / 3000


def test_nothing_is_enlarged():
    assert [form.scale(100, 50) for form in (ZOOM, CARD, THUMB)] == [1, 1, 1]


def test_small_ones_are_made_from_bigger_ones_and_the_biggest_from_the_original():
    assert sources(THUMB, CARD, ZOOM, width=4000, height=3000) == {
        "zoom": None, "card": "zoom", "thumb": "zoom",
    }  # fmt: skip


def test_a_rendition_is_not_made_from_one_that_is_hardly_bigger():
    near = Form("near", 900, 900, "inside", 80, 82)
    assert sources(near, ZOOM, width=4000, height=3000) == {"zoom": None, "near": None}


def test_what_was_cut_is_made_nothing_from():
    wide = Form("wide", 2000, 500, "cover", 80, 82)
    assert sources(wide, CARD, width=4000, height=3000) == {"wide": None, "card": None}


def test_a_picture_that_is_smaller_than_all_boxes_is_read_once():
    assert sources(ZOOM, CARD, width=100, height=50) == {"zoom": None, "card": "zoom"}


@pytest.mark.parametrize(
    "changed",
    [
        replace(CARD, name="other"),
        replace(CARD, width=601),
        replace(CARD, fit="cover"),
        replace(CARD, webp_quality=81),
    ],
)
def test_another_entry_of_the_table_is_another_key(changed: Form):
    assert name_of(changed, "webp") != name_of(CARD, "webp")


def test_the_same_entry_is_the_same_key_and_says_its_encoding():
    assert name_of(CARD, "webp") == name_of(replace(CARD), "webp")
    assert name_of(CARD, "jpeg").startswith("card-")
    assert name_of(CARD, "jpeg").endswith(".jpeg")


def test_the_settings_table_becomes_forms():
    assert [Form(**form.model_dump()).name for form in Media().renditions] == ["thumb", "card", "zoom"]


def test_two_entries_of_one_name_are_refused():
    twice = [RenditionForm(name="card", width=1, height=1)] * 2
    with pytest.raises(ValidationError, match="a name of its own"):
        Media(renditions=twice)
