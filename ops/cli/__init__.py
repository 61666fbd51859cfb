"""The `stockyard` command: what is done on the server, not over HTTP."""
