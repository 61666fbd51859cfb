"""`/docs`: the OpenAPI document as a page for people, which needs no script and no other host."""

import json
from base64 import b64encode
from collections.abc import Iterator, Mapping
from hashlib import sha256
from html import escape
from typing import Any

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
body { color: #1f2328; background: #fff }
code, pre { font: 14px/1.4 ui-monospace, monospace }
pre { background: #f6f8fa; padding: .75rem; overflow-x: auto }
h2 { margin-top: 2.5rem; border-bottom: 1px solid #d1d9e0 }
details { margin: .5rem 0; border: 1px solid #d1d9e0; border-radius: .4rem; padding: .4rem .8rem }
summary { cursor: pointer }
summary b { display: inline-block; min-width: 4.5rem }
table { border-collapse: collapse }
td { text-align: left; padding: .15rem 1rem .15rem 0; vertical-align: top }
@media (prefers-color-scheme: dark) {
  body { background: #0d1117; color: #e6edf3 } pre { background: #161b22 } a { color: #4493f8 }
}
"""
#: Lets the page have its own style, and nothing else.
POLICY = (
    f"default-src 'none'; style-src 'sha256-{b64encode(sha256(STYLE.encode()).digest()).decode()}'; "
    "frame-ancestors 'none'"
).encode()


def render(document: Mapping[str, Any]) -> str:
    """The page."""
    info = document["info"]
    title = escape(f"{info['title']} {info['version']}")
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        '<meta name="viewport" content="width=device-width">'
        f"<style>{STYLE}</style></head><body><h1>{title}</h1><p>{escape(info.get('summary', ''))} "
        'For machines: <a href="/openapi.json">openapi.json</a>.</p>'
        f"{''.join(_tags(document))}</body></html>"
    )


def _tags(document: Mapping[str, Any]) -> Iterator[str]:
    for tag in document.get("tags", ()):
        name = tag["name"]
        yield f'<h2 id="{escape(name)}">{escape(name.capitalize())}</h2>'
        yield f"<p>{escape(tag.get('description', ''))}</p>"
        for path, operations in document["paths"].items():
            for method, operation in operations.items():
                if name in operation.get("tags", ()):
                    yield _operation(method.upper(), path, operation, document)


def _operation(method: str, path: str, operation: Mapping[str, Any], document: Mapping[str, Any]) -> str:
    public = operation.get("security") == []
    parts = [
        f"<p>{escape(operation.get('description', ''))}{' Public.' if public else ''}</p>",
        _table(_parameters(operation)),
        *_bodies(operation, document),
        _table(_answers(operation)),
    ]
    head = f"<b>{method}</b> <code>{escape(path)}</code> {escape(operation.get('summary', ''))}"
    return f"<details><summary>{head}</summary>{''.join(parts)}</details>"


def _parameters(operation: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    for each in operation.get("parameters", ()):
        needed = "" if each.get("required") else ", optional"
        yield each["name"], f"{each['in']}{needed}", each.get("description", "")


def _answers(operation: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    for status, answer in operation["responses"].items():
        types = ", ".join(answer.get("content", ()))
        yield status, answer.get("description", ""), types


def _bodies(operation: Mapping[str, Any], document: Mapping[str, Any]) -> Iterator[str]:
    for content in operation.get("requestBody", {}).get("content", {}).values():
        schema = content.get("schema", {})
        named = document["components"]["schemas"].get(schema.get("$ref", "").rpartition("/")[2], schema)
        given = {name: each["value"] for name, each in content.get("examples", {}).items()}
        examples = given or dict(enumerate(named.get("examples", ()), start=1))
        for name, example in examples.items():
            text = json.dumps(example, indent=2, ensure_ascii=False)
            yield f"<p>Example: {escape(str(name))}</p><pre>{escape(text)}</pre>"


def _table(rows: Iterator[tuple[str, str, str]]) -> str:
    body = "".join(
        f"<tr><td><code>{escape(first)}</code></td><td>{escape(second)}</td><td>{escape(third)}</td></tr>"
        for first, second, third in rows
    )
    return f"<table>{body}</table>" if body else ""
