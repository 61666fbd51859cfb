"""The pieces that pages are made of. Whatever they show is text: nothing of it is read as HTML."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from nicegui import ui
from nicegui.elements.mixins.text_element import TextElement

from api.console.doors import HOME
from api.console.words import visible

#: The address of a page, with what it is asked for.
Asked = Mapping[str, str | None]
#: A sentence with the name and the address of the page where something can be done about it.
Way = tuple[str, str, str]
#: A sentence, with or without.
Line = str | Way


def path(page: str, asked: Asked | None = None) -> str:
    """The address of a page of the console; what is None or empty is left out."""
    query = urlencode({name: value for name, value in (asked or {}).items() if value})
    return f"{HOME}{page}" + (f"?{query}" if query else "")


def text(tag: str, says: str, classes: str = "") -> TextElement:
    """An element with text in it."""
    return TextElement(tag=tag, text=visible(says)).classes(classes)


def heading(says: str) -> TextElement:
    """The head of a part of the page."""
    return text("h2", says)


def note(says: str = "", classes: str = "") -> TextElement:
    """A line of text."""
    return text("p", says, f"note {classes}")


def link(says: str, target: str) -> TextElement:
    """A way to another page of the console."""
    found = text("a", says)
    found.props["href"] = target
    return found


def back(says: str, target: str) -> None:
    """The way to the page that lists what this one shows one of."""
    with ui.element("p").classes("back"):
        link(says, target)


def state(says: str) -> TextElement:
    """A state, as a badge."""
    return text("span", says, f"state state-{says}")


def button(says: str, on_click: Callable[[], Any], *, danger: bool = False) -> TextElement:
    """A button with words on it."""
    made = text("button", says, "go danger" if danger else "go").on("click", on_click)
    made.props["type"] = "button"
    return made


def known() -> ui.element:
    """A part of the page that is not seen until something is known to be put into it."""
    part = ui.element("div")
    part.set_visibility(False)
    return part


class Facts:
    """Names and values, which change in place."""

    def __init__(self, label: str) -> None:
        with ui.element("dl").classes("facts") as self._list:
            self._list.props["aria-label"] = label
        self._shown: list[tuple[str, str, str | None]] = []

    def show(self, *rows: tuple[str, str] | tuple[str, str, str | None]) -> None:
        """Each a name, a value, and where the value leads to, if anywhere. A state is a badge."""
        wanted = [(row[0], row[1], row[2] if len(row) > 2 else None) for row in rows]  # noqa: PLR2004 - the third
        if wanted == self._shown:
            return
        self._shown = wanted
        self._list.clear()
        with self._list:
            for name, value, target in wanted:
                text("dt", name)
                with ui.element("dd"):
                    if target:
                        link(value, target)
                    elif name == "State":
                        state(value)
                    else:
                        text("span", value)


class Lines:
    """A list of sentences, told to screen readers when it changes."""

    def __init__(self, label: str, *, empty: str, live: bool = False) -> None:
        with ui.element("ul").classes("lines") as self._list:
            self._list.props["aria-label"] = label
        if live:
            self._list.props["aria-live"] = "polite"
        self._empty = empty
        self._shown: tuple[list[Line], str] | None = None

    def show(self, lines: Sequence[Line], *, tone: str = "warn") -> None:
        """One entry for each; `tone` is `warn` for what needs attention, `plain` for what does not."""
        if (list(lines), tone) == self._shown:
            return
        self._shown = list(lines), tone
        self._list.clear()
        with self._list:
            for line in lines:
                says, name, target = (line, "", "") if isinstance(line, str) else line
                with text("li", "", tone):
                    text("span", says)
                    if target:
                        link(name, target)
            if not lines:
                text("li", self._empty, "fine")


class Box:
    """Preformatted text in a box that can be scrolled with the keyboard."""

    def __init__(self, label: str) -> None:
        self._box = text("pre", "", "box")
        self._box.props.update({"tabindex": "0", "role": "region", "aria-label": label})

    def show(self, says: str) -> None:
        """Instead of what it said before."""
        if self._box.text != (says := visible(says)):
            self._box.text = says


class Search:
    """A form whose answer is a page with an address of its own: it can be kept, and gone back to."""

    def __init__(self, page: str, asked: Asked) -> None:
        self._asked = asked
        self._page = page
        self.form = ui.element("form").classes("search")
        self.form.props.update({"method": "get", "action": path(page), "role": "search"})

    def field(self, name: str, label: str, *, hint: str = "") -> "Search":
        """A line to type into."""
        with self.form, text("label", label):
            entry = ui.element("input")
            # As the value it would be set again with each change of the page, over what is being typed.
            entry.props.update(
                {"name": name, "defaultValue": self._asked.get(name) or "", "maxlength": "200"}
            )
            entry.props["placeholder"] = hint
        return self

    def choice(self, name: str, label: str, options: Sequence[tuple[str, str]]) -> "Search":
        """One of several values, each with its words."""
        with self.form, text("label", label), ui.element("select") as entry:
            entry.props["name"] = name
            for value, says in options:
                option = text("option", says)
                option.props["value"] = value
                if (self._asked.get(name) or "") == value:
                    option.props["selected"] = True
        return self

    def ready(self, says: str = "Search") -> None:
        """Adds the button, and the way back to a search without filters."""
        with self.form, ui.element("div").classes("ends"):
            go = text("button", says, "go")
            go.props["type"] = "submit"
            if any(self._asked.values()):
                link("Clear", path(self._page))
