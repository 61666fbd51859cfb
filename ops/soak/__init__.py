"""The long run: 50,000 orders with an eye on memory, then orders under faults: `python -m ops.soak`."""
