"""The main job on real orders, from nothing to a table: `python -m ops.demo [--orders N]`."""
