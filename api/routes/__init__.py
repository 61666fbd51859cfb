"""One file per feature: parse, call, answer."""
