"""Charts of the last hour, a line for each pool."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from nicegui import ui

from api.console.parts import text
from domain.control.pools import Minute

#: Told apart also by those who see few colours; visible on light and on dark.
COLOURS = ("#3b82d6", "#d9822b", "#2e9e6b", "#a66bd1", "#c94f6d", "#7a8794")
_GREY = "#808a96"

#: What a chart draws of a minute; None where there is nothing to draw.
Value = Callable[[Minute], float | None]
History = Mapping[str, Sequence[Minute]]


class Chart:
    """One figure over the last hour, and what it is, in words, for those who do not see it."""

    def __init__(self, title: str, unit: str, value: Value) -> None:
        self._title, self._unit, self._value = title, unit, value
        self._shown: History | None = None
        with ui.element("figure").style("margin: 0"):
            text("figcaption", f"{title}, {unit}", "note")
            self._chart = ui.echart(_options()).classes("chart")
            self._chart.props["role"] = "img"

    def show(self, history: History) -> None:
        """One line for each pool."""
        if history == self._shown:
            return
        self._shown = history
        self._chart.options["series"] = [
            _line(pool, colour, [(minute.at, self._value(minute)) for minute in minutes])
            for (pool, minutes), colour in zip(history.items(), COLOURS * len(history), strict=False)
        ]
        self._chart.update()
        self._chart.props["aria-label"] = self._words(history)

    def _words(self, history: History) -> str:
        ends = []
        for pool, minutes in history.items():
            values = [value for value in map(self._value, minutes) if value is not None]
            if values:
                ends.append(f"{pool} now {values[-1]:.3g}, at most {max(values):.3g}")
        return f"{self._title}, {self._unit}, in the last hour: " + ("; ".join(ends) or "nothing")


def _line(name: str, colour: str, points: Sequence[tuple[datetime, float | None]]) -> dict[str, Any]:
    return {
        "name": name, "type": "line", "symbol": "circle", "symbolSize": 3, "smooth": False, "color": colour,
        "lineStyle": {"width": 2},
        "data": [[f"{at:%Y-%m-%d %H:%M:%S}", value] for at, value in points],
    }  # fmt: skip


def _options() -> dict[str, Any]:
    letters = {"color": _GREY}
    return {
        "animation": False,
        "backgroundColor": "transparent",
        "grid": {"left": 48, "right": 12, "top": 34, "bottom": 26},
        "legend": {"top": 0, "textStyle": letters, "icon": "roundRect", "itemHeight": 4},
        "tooltip": {"trigger": "axis", "renderMode": "richText"},
        "xAxis": {"type": "time", "axisLabel": {**letters, "hideOverlap": True, "formatter": "{HH}:{mm}"}},
        "yAxis": {"type": "value", "min": 0, "axisLabel": letters,
        "splitLine": {"lineStyle": {"color": "#80808033"}}},
        "series": [],
    }  # fmt: skip
