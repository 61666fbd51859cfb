"""P3, as the benchmark and the soak test read it: `ops/books.py`."""

from ops.books import Store, below_zero, operations, oversold, store

__all__ = ["Store", "below_zero", "operations", "oversold", "store"]
