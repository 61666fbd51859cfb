"""How fast it is on this machine, and what bounds it: `python -m ops.bench`.

The parent process starts and watches; whatever takes time is a process of its own, so that no measurement
pays for another: `shop` (a catalogue and its customers), `client` (the load), and the limits `bare_store`,
`plain_dramatiq` and `empty_api`.
"""
