"""How texts become words, and how well a product answers to them. Pure.

A word is a run of letters and digits without accents and in one case; in scripts without spaces it is one
character. Nothing that a client sends is a pattern: words are compared, and looked up by their beginning.
"""

import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import filterfalse
from typing import Any

#: Bounds: characters of a word, words of a product, words of a question.
LONGEST_WORD, MOST_TERMS, MOST_WORDS = 40, 400, 10
#: Characters of a text that can be a value to filter by: what is longer is prose.
LONGEST_VALUE = 100
#: What a word counts by where it was found. Four bits: see `PREFIX_SHARE` and `search_catalogue`.
NAME, CATEGORY, ATTRIBUTE, DESCRIPTION = 8, 4, 2, 1
#: A whole word counts so many times what its beginning does.
EXACT = 2

#: Letters that have no decomposition, as people type them.
_PLAIN = str.maketrans(
    {
        "æ": "ae",
        "œ": "oe",
        "ø": "o",
        "ð": "d",
        "đ": "d",
        "ħ": "h",
        "\u0131": "i",
        "ł": "l",
        "ŧ": "t",
        "þ": "th",
    }
)
#: Left out, so that "Anton's" is one word: typewriter, acute and grave, typographic, modifier letter.
_APOSTROPHES = str.maketrans(dict.fromkeys("'`\u00b4\u2019\u02bc", ""))
#: Everything in ASCII that no word is made of becomes a space.
_SPACED = str.maketrans({code: " " for code in range(128) if not chr(code).isalnum()})
#: Scripts written without spaces: kana and ideographs.
_UNSPACED = (
    (0x3041, 0x30FF),
    (0x31F0, 0x31FF),
    (0x3400, 0x4DBF),
    (0x4E00, 0x9FFF),
    (0xF900, 0xFAFF),
    (0x20000, 0x3FFFF),
)


def fold(text: str) -> str:
    """The text in one case, without accents, compatibility forms resolved. Folding twice changes nothing."""
    if text.isascii():
        return text.lower()
    bare = _bare(text)
    if not bare.isascii():
        bare = _bare(bare.casefold()).translate(_PLAIN)
    return bare.lower() if bare.isascii() else bare


def _bare(text: str) -> str:
    return "".join(filterfalse(unicodedata.combining, unicodedata.normalize("NFKD", text)))


def words(text: str) -> Iterator[str]:
    """The words of a text in order, folded, each as often as it stands there."""
    plain = fold(text.translate(_APOSTROPHES))
    spaced = plain.translate(_SPACED) if plain.isascii() else "".join(map(_spaced, plain))
    return (word[:LONGEST_WORD] for word in spaced.split())


def _spaced(character: str) -> str:
    """The character, apart from others or gone where it is not one of several of a word."""
    if any(low <= ord(character) <= high for low, high in _UNSPACED):
        return f" {character} "
    return character if character.isalnum() or unicodedata.category(character).startswith("M") else " "


def terms(fields: Iterable[tuple[int, str]]) -> dict[str, int]:
    """Each word of the (weight, text) pairs with its greatest weight; the first `MOST_TERMS` of them."""
    found: dict[str, int] = {}
    for weight, text in fields:
        for word in words(text):
            if word in found:
                found[word] = max(found[word], weight)
            elif len(found) < MOST_TERMS:
                found[word] = weight
    return found


def score(asked: Sequence[str], known: Mapping[str, int]) -> int:
    """What a product with these terms is worth to the words that are asked for; 0 unless it has them all.

    The catalogue answers the same from its index; this is what it has to agree with.
    """
    total = 0
    for word in asked:
        best = max(
            (w * (EXACT if t == word else 1) for t, w in known.items() if t.startswith(word)), default=0
        )
        if not best:
            return 0
        total += best
    return total


def values(attributes: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """The attributes as (name, value) pairs to filter by: `fabric.name` of each part of a list, `true`, `24`.

    Prose is left out: it can be searched, and nobody picks it from a list.
    """
    for name, value in attributes.items():
        for each in value if isinstance(value, list | tuple) else (value,):
            path = f"{prefix}{name}"
            if isinstance(each, Mapping):
                yield from values(each, f"{path}.")
            elif each is not None:
                text = shown(each)
                if text and len(text) <= LONGEST_VALUE:
                    yield path, text


@lru_cache(maxsize=10_000)
def pair(name: str, value: str) -> str:
    """An attribute and its value as one word; names have no "=" in them."""
    return f"{name}={fold(value.strip())}"


def texts(attributes: Any) -> Iterator[str]:
    """Every text and number in the attributes, however deep: what can be searched."""
    if isinstance(attributes, Mapping):
        for each in attributes.values():
            yield from texts(each)
    elif isinstance(attributes, list | tuple):
        for each in attributes:
            yield from texts(each)
    elif attributes is not None and not isinstance(attributes, bool):
        yield shown(attributes)


def shown(value: object) -> str:
    """A value as clients write it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value).strip()
