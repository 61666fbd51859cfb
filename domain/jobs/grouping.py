"""Dead jobs that died of the same: by kind, error code, and the error's text without what differs. Pure."""

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

#: What differs from job to job in a text, and what stands for it; in this order.
_DIFFERS = (
    (re.compile(r"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}"), "<id>"),
    (re.compile(r"\b(?:0x)?[0-9a-fA-F]*[0-9][0-9a-fA-F]{7,}\b"), "<hex>"),
    (re.compile(r"'[^'\n]*'|\"[^\"\n]*\""), "<text>"),
    (re.compile(r"\d+"), "<n>"),
)
#: The longest normalised text.
LONGEST = 300


@dataclass(slots=True)
class Group:
    """Dead jobs of one kind that have the same error. `sample` is the one that died last."""

    key: str
    kind: str
    code: str
    text: str
    count: int
    first_at: datetime
    last_at: datetime
    sample: Mapping[str, Any]


def normalised(text: str) -> str:
    """The text with ids, quoted parts and numbers replaced."""
    for pattern, stands in _DIFFERS:
        text = pattern.sub(stands, text)
    return text[:LONGEST]


def group_key(job: Mapping[str, Any]) -> str:
    """What a job's group is named by: stable, and the same in every process."""
    kind, code, text = _of(job)
    return hashlib.sha256(f"{kind}\0{code}\0{text}".encode()).hexdigest()[:16]


def grouped(jobs: Iterable[Mapping[str, Any]]) -> list[Group]:
    """The groups, the largest first."""
    found: dict[str, Group] = {}
    for job in jobs:
        key, at = group_key(job), job["finished_at"]
        group = found.get(key)
        if group is None:
            kind, code, text = _of(job)
            found[key] = Group(key, kind, code, text, 1, at, at, job)
            continue
        group.count += 1
        group.first_at = min(group.first_at, at)
        if at > group.last_at:
            group.last_at, group.sample = at, job
    return sorted(found.values(), key=lambda group: (-group.count, group.kind, group.key))


def _of(job: Mapping[str, Any]) -> tuple[str, str, str]:
    error = job.get("error") or {}
    text = str(error.get("fault") or error.get("message") or "")
    return str(job["kind"]), str(error.get("code") or ""), normalised(text)
