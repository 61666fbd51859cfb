"""An empty FastAPI that answers 202, with the server settings of `api`: a limit. Run as a child with a port.

Its one route reads nothing and does nothing: no body, no token, no middleware.
"""

import sys

import uvicorn
from fastapi import FastAPI

app = FastAPI(openapi_url=None)


@app.get("/healthz")
async def healthz() -> dict[str, str]:
    """Alive."""
    return {}


@app.post("/empty", status_code=202)
async def empty() -> dict[str, str]:
    """Accepted."""
    return {"status": "accepted"}


if __name__ == "__main__":
    uvicorn.run(
        app,
        host="127.0.0.1",
        port=int(sys.argv[1]),
        loop="uvloop",
        http="httptools",
        ws="none",
        access_log=False,
        log_level="warning",
        proxy_headers=False,
        server_header=False,
    )
