"""Amounts as people read them."""

from domain.values import Money

#: Digits of the minor unit (ISO 4217) where they are not two.
DIGITS = {
    **dict.fromkeys(
        ("BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG", "RWF", "UGX", "UYI", "VND", "VUV",
         "XAF", "XOF", "XPF"),
        0,
    ),
    **dict.fromkeys(("BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"), 3),
    **dict.fromkeys(("CLF", "UYW"), 4),
}  # fmt: skip


def shown(money: Money) -> str:
    """`1,234.50 USD`, `1,234 JPY`, `1.234 KWD`: exact, with as many digits as the currency has."""
    digits = DIGITS.get(money.currency, 2)
    whole, part = divmod(money.amount, 10**digits)
    return f"{whole:,}.{part:0{digits}} {money.currency}" if digits else f"{whole:,} {money.currency}"
