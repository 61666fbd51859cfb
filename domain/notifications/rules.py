"""What an account has chosen, and what it has read. Pure."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Self, TypeAlias

from domain.notifications.notices import CHANNELS, KINDS, Kind

#: By a type of event, a family such as `order.*`, or `*` for all: whether it comes by a channel.
Choices: TypeAlias = Mapping[str, Mapping[str, bool]]
EVERYTHING = "*"
#: What of an event decides whether an inbox shows it, as the store names it.
SHOWN_BY: Mapping[str, int] = {"type": 1, "seq": 1, "data.order_id": 1}
#: Seqs read beyond the mark that one account can have. Past that the mark moves up to the oldest of them.
MOST_BEYOND = 1000
#: Subscriptions of one account.
MOST_SUBSCRIPTIONS = 100
#: Events of the shop that accounts can wait for by subject, each with what those who wait are told. That is a
#: type of its own, so that who listens to the shop's event is not told ten thousand times.
TOPICS: Mapping[str, str] = {"stock.back": "product.back"}


def by_default(kind: Kind, channel: str) -> bool | None:
    """Whether it comes by the channel where nobody has chosen; None where it cannot."""
    return kind.mail if channel == "mail" else kind.inbox


def wanted(choices: Choices, event_type: str, channel: str) -> bool:
    """Whether events of the type reach the account by the channel. The most exact choice decides."""
    kind = KINDS.get(event_type)
    default = by_default(kind, channel) if kind else None
    if kind is None or default is None:
        return False
    if is_fixed(kind, channel):
        return True
    for pattern in (event_type, family(event_type), EVERYTHING):
        chosen = choices.get(pattern, {}).get(channel)
        if chosen is not None:
            return chosen
    return default


def in_inbox(choices: Choices, event: Mapping[str, Any]) -> bool:
    """Whether the account's inbox shows the event, of which SHOWN_BY is known.

    The end of an order's hold is not shown: `order.expired` beside it says the same.
    """
    of_order = event["type"] == "hold.expired" and event["data"].get("order_id") is not None
    return not of_order and wanted(choices, event["type"], "inbox")


def is_fixed(kind: Kind, channel: str) -> bool:
    """Whether it comes whatever the account chooses."""
    return channel == "mail" and kind.always


def family(event_type: str) -> str:
    """`order.paid` is of `order.*`."""
    return f"{event_type.partition('.')[0]}.*"


def types_of(pattern: str) -> list[str]:
    """The types that a pattern stands for; none for one that stands for nothing."""
    return [each for each in KINDS if pattern in (each, family(each), EVERYTHING)]


def refusals(choices: Choices) -> Iterator[tuple[str, str, str]]:
    """What of the choices means nothing: (pattern, channel or "", reason)."""
    for pattern, chosen in choices.items():
        kinds = [KINDS[each] for each in types_of(pattern)]
        if not kinds:
            yield pattern, "", "unknown_type"
            continue
        for channel, on in chosen.items():
            if channel not in CHANNELS:
                yield pattern, channel, "unknown_channel"
            elif all(by_default(kind, channel) is None for kind in kinds):
                yield pattern, channel, "no_such_channel"
            elif not on and all(is_fixed(kind, channel) for kind in kinds):
                yield pattern, channel, "cannot_be_switched_off"


def watch_of(topic: str, subject: str) -> str:
    """What those are found by who wait for the topic of the subject."""
    return f"{topic}:{subject}"


@dataclass(frozen=True, slots=True)
class Marks:
    """What is read: every seq up to `upto`, and those `beyond` it."""

    upto: int = 0
    beyond: frozenset[int] = frozenset()

    def has(self, seq: int) -> bool:
        """Whether it is read."""
        return seq <= self.upto or seq in self.beyond

    def add(self, seqs: Iterable[int], *, upto: int = 0, hidden: Collection[int] = ()) -> Self:
        """With these read, too. `hidden` are seqs that the inbox does not show: they keep no mark back."""
        read, mark = self.beyond.union(seqs), max(self.upto, upto)
        while mark + 1 in read or mark + 1 in hidden:
            mark += 1
        left = sorted(seq for seq in read if seq > mark)
        if len(left) > MOST_BEYOND:
            mark, left = left[-MOST_BEYOND - 1], left[-MOST_BEYOND:]
        return type(self)(mark, frozenset(left))
