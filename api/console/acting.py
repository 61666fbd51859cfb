"""Doing something: asked first, allowed at that moment, told in words, and in the audit log by the verb."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from nicegui import Client, ui
from pymongo.errors import PyMongoError

from api.console.frame import Operator
from api.console.parts import button, text
from api.console.words import told
from domain.audit_log.models import Actor
from domain.errors import DomainError, TryAgain
from domain.observe import logger

log = logger(__name__)

#: What whoever acts has to be allowed.
SCOPE = "ops:write"
#: The longest reason.
LONGEST = 500


#: Where the button that was used is gone, the keyboard goes on at the top of the page's own part.
_KEEP_FOCUS = """setTimeout(() => {
    if (document.activeElement === document.body) document.getElementById("content").focus();
}, 400)"""


@dataclass(frozen=True, slots=True)
class Act:
    """Something that can be done. `do` is handed who acts and why, and answers what to say of it.

    What cannot be undone is `danger`: it takes a reason. `repeat`, if there is one, is to be typed first.
    """

    title: str
    says: str
    label: str
    do: Callable[[Actor, str | None], Awaitable[str]]
    danger: bool = False
    repeat: str | None = None
    details: Callable[[], None] = field(default=lambda: None)


async def ask(operator: Operator, act: Act) -> bool:
    """Says what will happen and does it once that is confirmed. Whether it was done."""
    client = ui.context.client
    reason = await _confirmed(act)
    if reason is None:
        return False
    return await _do(operator, act, reason or None, client)


async def _do(operator: Operator, act: Act, reason: str | None, client: Client) -> bool:
    done = False
    try:
        if await operator.may(SCOPE):
            says, done = await act.do(operator.actor(), reason), True
        else:
            says = "Your account may look, and not act."
    except (DomainError, PyMongoError, TryAgain) as error:
        says = told(error)
    except Exception:
        log.exception("console.act_failed", act=act.title)
        says = "Something broke: the console's log has it."
    operator.reads.forget()
    if not client.is_deleted:
        with client:
            ui.notify(says, type="positive" if done else "negative", timeout=6000, multi_line=True)
        await operator.refresh()
        with client:
            ui.run_javascript(_KEEP_FOCUS)
    return done


async def _confirmed(act: Act) -> str | None:
    """The reason, perhaps empty; None where it was not confirmed."""
    with ui.dialog() as dialog, ui.card().classes("dialog"):
        # The focus goes back to where it was as the dialog closes; then nothing needs it.
        dialog.on("hide", dialog.delete)
        dialog.props["aria-label"] = act.title
        text("h2", act.title)
        text("p", act.says)
        act.details()
        optional = "Why" if act.danger else "Why (optional)"
        why = ui.input(optional).props(f'outlined dense maxlength={LONGEST} autofocus data-name="reason"')
        repeat = ui.input(f"Type {act.repeat} to confirm").props("outlined dense") if act.repeat else None
        problem = text("p", "", "problem")
        problem.props["role"] = "alert"

        def confirm() -> None:
            missing = _missing(act, why.value or "", repeat.value if repeat else None)
            problem.text = missing
            if not missing:
                dialog.submit((why.value or "").strip())

        why.on("keydown.enter", confirm)
        with ui.row().classes("ends"):
            later = text("button", "Not now", "small").on("click", lambda: dialog.submit(None))
            later.props["type"] = "button"
            button(act.label, confirm, danger=act.danger)
    answer: str | None = await dialog
    return answer


def _missing(act: Act, reason: str, repeated: str | None) -> str:
    if act.danger and not reason.strip():
        return "Say why: it goes to the audit log."
    if len(reason) > LONGEST or "\x00" in reason:
        return f"At most {LONGEST} letters."
    if act.repeat and repeated != act.repeat:
        return f"Type {act.repeat} to confirm."
    return ""
