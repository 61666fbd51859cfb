"""Tables that change in place: a row that stays keeps its place in the page, and the keyboard's focus."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from nicegui import ui

#: A row by the names of the columns. `{name}_to` is where a cell leads; `acts` are the names of its buttons.
Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Column:
    """A column. A `state` is shown as a badge, a `number` to the right, `code` in letters of one width."""

    name: str
    label: str
    kind: str = "text"

    def form(self) -> dict[str, Any]:
        """As the table's component wants it."""
        right = self.kind == "number"
        return {"name": self.name, "label": self.label, "field": self.name, "kind": self.kind,
                "align": "right" if right else "left"}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Button:
    """What can be done with a row."""

    name: str
    label: str
    danger: bool = False


class Table:
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
        forms = [column.form() for column in columns]
        if buttons:
            forms.append(
                {"name": "acts", "label": "Actions", "field": "acts", "kind": "acts", "align": "left"}
            )
        self._rows: dict[str, Row] = {}
        self._on_act = on_act
        self._empty = empty
        self._table = ui.table(rows=[], columns=forms, row_key="id", pagination=0).classes("table")
        self._table.props("flat hide-pagination hide-bottom wrap-cells :rows-per-page-options=[0]")
        self._table.props.update({"table-header-style": "", "aria-label": label})
        self._table.props["no-data-label"] = empty
        self._table.add_slot("header", _HEADER)
        self._table.add_slot("body", _body(buttons))
        self._table.on("act", self._act)
        self._nothing = ui.label(empty).classes("note fine")

    def show(self, rows: Sequence[Row]) -> None:
        """Instead of the rows before. Each has an `id`, and a `named` for those who hear its buttons read out."""
        known = {str(row["id"]): row for row in rows}
        self._nothing.set_visibility(not known)
        self._table.set_visibility(bool(known))
        if list(known.items()) != list(self._rows.items()):
            self._rows = known
            self._table.rows = list(known.values())

    async def _act(self, event: Any) -> None:
        """The browser says which row; what is in it we know ourselves."""
        row = self._rows.get(str(event.args.get("id")))
        if row is not None and self._on_act is not None and event.args.get("act") in row["acts"].split():
            await self._on_act(event.args["act"], row)


_HEADER = """
<q-tr :props="props">
  <q-th v-for="col in props.cols" :key="col.name" :props="props" scope="col">{{ col.label }}</q-th>
</q-tr>
"""


def _body(buttons: Sequence[Button]) -> str:
    """The template of a row. It holds words of ours alone; the cells' are put in as text."""
    acts = "".join(
        f"""<button type="button" class="small{" danger" if each.danger else ""}"
        v-if="` ${{props.row.acts}} `.includes(' {each.name} ')"
        :aria-label="'{each.label} ' + props.row.named"
        @click="() => $parent.$emit('act', {{id: props.row.id, act: '{each.name}'}})">{each.label}</button>"""
        for each in buttons
    )
    return f"""
<q-tr :props="props" :class="props.row.tone">
  <q-td v-for="col in props.cols" :key="col.name" :props="props" :data-label="col.label">
    <a v-if="props.row[col.name + '_to']" :href="props.row[col.name + '_to']" :class="col.kind">{{{{ col.value }}}}</a>
    <span v-else-if="col.kind === 'state'" :class="'state state-' + col.value">{{{{ col.value }}}}</span>
    <span v-else-if="col.kind === 'acts'" class="acts">{acts}</span>
    <span v-else :class="col.kind">{{{{ col.value }}}}</span>
  </q-td>
</q-tr>
"""
