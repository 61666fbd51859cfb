"""`stockyard audit`: whether stock is what movements and holds make it, and its repair."""

from typing import Annotated, Any

import typer

from domain.bootstrap import Services
from domain.events.rules import rfc3339
from domain.inventory.auditor import Audit
from domain.inventory.evidence import Finding
from ops.cli.shared import REFUSED, USAGE, AsJson, end, entry, show, with_services

#: Who repairs, where it is done on the server.
ACTOR = "stockyard audit"

OneSku = Annotated[str | None, typer.Option("--sku", help="Only this SKU.", show_default=False)]
Repair = Annotated[bool, typer.Option("--repair", help="Set what differs to what it should be.")]
Reason = Annotated[
    str, typer.Option("--reason", help="Why it is repaired; noted with it.", show_default=False)
]


def audit(
    *, sku: OneSku = None, repair: Repair = False, reason: Reason = "", as_json: AsJson = False
) -> None:
    """Compare all stock with its movements and holds; exit with 1 where some differs and is not repaired."""
    if repair and not reason.strip():
        end("a repair needs a --reason", code=USAGE)

    async def work(services: Services) -> Audit:
        if repair:
            noted = entry("stock.repair", "stock", sku or "all", reason=reason.strip())
            async with services.audit_log.acting(noted) as act:
                done = await services.auditor.repair(sku, actor=ACTOR, reason=reason.strip())
                act.after = {"repaired": sorted(done.repaired)}
            return done
        return await services.auditor.audit(sku)

    found = with_services(work)
    show(_form(found), _text(found), as_json=as_json)
    if len(found.repaired) < len(found.findings):
        raise typer.Exit(REFUSED)


def _form(found: Audit) -> dict[str, Any]:
    findings = [_finding(each, repaired=each.stock_id in found.repaired) for each in found.findings]
    return {"at": rfc3339(found.at), "stocks": found.stocks, "findings": findings}


def _finding(finding: Finding, *, repaired: bool) -> dict[str, Any]:
    figures = finding.figures
    return {
        "stock": finding.stock_id,
        "available": figures.available,
        "reserved": figures.reserved,
        "held": figures.held,
        "moved": figures.moved,
        "right_at": rfc3339(finding.right_at) if finding.right_at else None,
        "because": list(finding.because),
        "repaired": repaired,
    }


def _text(found: Audit) -> str:
    lines = [f"{found.stocks} stocks, {len(found.findings)} differ"]
    for finding in found.findings:
        done = "repaired" if finding.stock_id in found.repaired else "differs"
        right = f"last right at {rfc3339(finding.right_at)}" if finding.right_at else "never seen right"
        lines.append(f"{finding.stock_id}  {done}, {right}")
        lines += [f"    {each}" for each in finding.because]
    return "\n".join(lines)
