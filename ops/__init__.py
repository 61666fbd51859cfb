"""How Stockyard is run: the local stack, the demo, the benchmark and the `stockyard` command.

May import `domain`; nothing imports it.
"""
