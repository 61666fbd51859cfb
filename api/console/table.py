"""Tables that change in place: a row that stays keeps its place in the page, and the keyboard's focus."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from nicegui.element import Element

from api.console.words import visible

#: A row by the names of the columns, and its `id`. `{name}_to` is where a cell leads; `acts` are the names of
#: its buttons, and `named` is what they are read out with.
Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Column:
    """A column. A `state` is shown as a badge, a `number` to the right, `code` in letters of one width.

    Of an `id` the end is shown where there is no room, as ids differ in that; of `who`, the beginning.
    """

    name: str
    label: str
    kind: str = "text"


@dataclass(frozen=True, slots=True)
class Button:
    """What can be done with a row."""

    name: str
    label: str
    danger: bool = False


class Table(Element, component="table.js"):
    """Rows under a label. `on_act` is handed a button's name and the row that it stands in."""

    def __init__(
        self,
        label: str,
        columns: Sequence[Column],
        *,
        empty: str,
        buttons: Sequence[Button] = (),
        on_act: Callable[[str, Row], Awaitable[None]] | None = None,
    ) -> None:
        super().__init__()
        acts = [Column("acts", "Actions", "acts")] if buttons else []
        self._known: dict[str, Row] = {}
        self._on_act = on_act
        self.props.update({
            "label": label, "empty": empty, "rows": [],
            "columns": [asdict(column) for column in (*columns, *acts)],
            "buttons": [asdict(button) for button in buttons],
        })  # fmt: skip
        self.on("act", self._act)

    def show(self, rows: Sequence[Row]) -> None:
        """Instead of the rows before."""
        known = {str(row["id"]): row for row in rows}
        if list(known.items()) != list(self._known.items()):
            self._known = known
            self.props["rows"] = [
                {name: visible(cell) if isinstance(cell, str) else cell for name, cell in row.items()}
                for row in rows
            ]

    async def _act(self, event: Any) -> None:
        """The browser says which row; what is in it we know ourselves."""
        row = self._known.get(str(event.args.get("id")))
        if row is not None and self._on_act is not None and event.args.get("act") in row["acts"].split():
            await self._on_act(event.args["act"], row)
