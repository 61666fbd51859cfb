"""The page on patterns names only what exists, and its excerpts are in the code."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/patterns.md").read_text(encoding="utf-8")
#: `file::symbol`, the symbol with a dot where it is in a class.
NAMED = sorted(set(re.findall(r"`([\w/]+\.py)::([\w.]+)`", PAGE)))
EXCERPTS = re.findall(
    r"^<!-- from ([\w/]+\.py)(?:::([\w.]+))? -->\n```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL
)
WANTED = ("factory", "builder", "repository", "service")


def source_of(path: str, symbol: str) -> str:
    """The text of a function or class, with its decorators. Raises AssertionError where there is none."""
    text = (ROOT / path).read_text(encoding="utf-8")
    found: ast.AST = ast.parse(text)
    for name in filter(None, symbol.split(".")):
        inside = [
            node
            for node in ast.iter_child_nodes(found)
            if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and node.name == name
        ]
        assert inside, f"{path} has no {symbol}"
        found = inside[0]
    if not isinstance(found, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        return text
    first = min([found.lineno, *(each.lineno for each in found.decorator_list)])
    return "\n".join(text.splitlines()[first - 1 : found.end_lineno]) + "\n"


@pytest.mark.parametrize(("path", "symbol"), NAMED)
def test_a_symbol_that_is_named_exists(path: str, symbol: str):
    assert source_of(path, symbol)


@pytest.mark.parametrize(("path", "symbol", "excerpt"), EXCERPTS)
def test_an_excerpt_is_in_the_code(path: str, symbol: str, excerpt: str):
    rest = source_of(path, symbol)
    for part in re.split(r"^\.\.\.\n", excerpt, flags=re.MULTILINE):
        before, found, rest = rest.partition(part)
        assert found, part
        assert not before or before.endswith("\n"), part


def test_every_block_of_code_is_such_an_excerpt():
    assert len(EXCERPTS) == PAGE.count("```python") > len(WANTED)


@pytest.mark.parametrize("pattern", WANTED)
def test_the_pattern_has_a_section_with_code_and_a_reason(pattern: str):
    (section,) = re.findall(rf"^## {pattern.capitalize()}\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)
    assert "```python" in section
    assert "**Why" in section
