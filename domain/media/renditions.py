"""The table of renditions: their sizes, which is made from which, and what they are called. Pure."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Literal

#: What is made of each entry of the table: the ending of its key, and its content type.
ENCODINGS = {"webp": "image/webp", "jpeg": "image/jpeg"}
#: Part of every key. Another number makes every rendition anew: raise it where the pixels change.
PIPELINE = 1
#: A rendition is made from a bigger one that has at least so many times its size, and from the original else.
ROOM = 2.0


@dataclass(frozen=True, slots=True)
class Form:
    """One entry of the table: a box in pixels, how the picture fits it, and the quality of each encoding.

    `inside` keeps the whole picture within the box; `cover` fills the box and cuts off what is beyond it, as
    much at both ends. No picture is enlarged: a small one stays as it is, but for what `cover` cuts off.
    """

    name: str
    width: int
    height: int
    fit: Literal["inside", "cover"]
    webp_quality: int
    jpeg_quality: int

    def quality(self, encoding: str) -> int:
        """Of 1 to 100."""
        return self.webp_quality if encoding == "webp" else self.jpeg_quality

    def scale(self, width: int, height: int) -> float:
        """What the sides of an upright picture of that size are multiplied by; 1 at most."""
        across, down = self.width / width, self.height / height
        return min(1.0, max(across, down) if self.fit == "cover" else min(across, down))


@dataclass(frozen=True, slots=True)
class Step:
    """One rendition to be made: from the one of that name, or from the original where it is None."""

    form: Form
    scale: float
    source: str | None


def steps(forms: Sequence[Form], *, width: int, height: int) -> Iterator[Step]:
    """In an order in which each comes after the one that it is made from: the biggest first.

    Whole renditions alone are made from: what was cut off is not there any more.
    """
    whole: list[Step] = []
    for form in sorted(forms, key=lambda each: (-each.scale(width, height), each.fit == "cover")):
        scale = form.scale(width, height)
        roomy = [each for each in whole if each.scale >= ROOM * scale or each.scale == scale]
        step = Step(form, scale, roomy[-1].form.name if roomy else None)
        if form.fit == "inside":
            whole.append(step)
        yield step


def name_of(form: Form, encoding: str) -> str:
    """What a rendition's key ends with: another one where anything of the form is another."""
    told = json.dumps([PIPELINE, asdict(form)], sort_keys=True)
    return f"{form.name}-{hashlib.sha256(told.encode()).hexdigest()[:12]}.{encoding}"
