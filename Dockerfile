# The service (the last target, and so the default), `worker` and `migrate`: one image for each role, of
# the same layers. They differ in what runs and in how its health is asked for.

FROM python:3.11-slim AS builder

ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1 \
    UV_COMPILE_BYTECODE=1 \
    UV_LINK_MODE=copy \
    UV_NO_CACHE=1 \
    UV_PYTHON_DOWNLOADS=never

WORKDIR /srv

# Dependencies first: this layer changes only when a lock file does.
COPY requirements-uv.lock requirements.lock ./
RUN python -m venv /opt/uv \
    && /opt/uv/bin/pip install --require-hashes -r requirements-uv.lock \
    && python -m venv --without-pip /opt/venv \
    && /opt/uv/bin/uv pip sync --python /opt/venv/bin/python --require-hashes requirements.lock \
    # The places and carriers of phone numbers: 43 MB that nothing here reads.
    && rm -r /opt/venv/lib/python3*/site-packages/phonenumbers/geodata \
        /opt/venv/lib/python3*/site-packages/phonenumbers/carrierdata

# Installed editable, because `dlr migrate` finds the migrations beside the package. The client, which
# the command uses, needs nothing that is not there by now. What builds both comes from the lock file.
COPY requirements-dev.lock pyproject.toml README.md alembic.ini ./
COPY app ./app
COPY migrations ./migrations
COPY client ./client
RUN /opt/uv/bin/uv pip install --python /opt/venv/bin/python --no-deps \
        --build-constraints requirements-dev.lock --editable . ./client \
    && python -m compileall -q app migrations \
    && rm -r requirements*.lock client


FROM python:3.11-slim AS base

ENV PATH=/opt/venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    DLR_SPOOL_DIR=/data/spool

# A fixed number, so that volumes and Kubernetes' runAsUser can name it.
RUN groupadd --gid 10001 dlr \
    && useradd --uid 10001 --gid dlr --no-create-home --home-dir /data --shell /usr/sbin/nologin dlr \
    && install -d -o dlr -g dlr -m 0700 /data /data/spool

COPY --from=builder /opt/venv /opt/venv
COPY --from=builder /srv /srv

# By default the database is an SQLite file in the working directory.
WORKDIR /data
USER 10001:10001
STOPSIGNAL SIGTERM
ENTRYPOINT ["dlr"]


FROM base AS migrate

HEALTHCHECK NONE
CMD ["migrate"]


FROM base AS worker

# The worker's journal, which must outlive the container, too.
VOLUME ["/data"]
ENV DLR_OPS_PORT=9090
EXPOSE 9090

HEALTHCHECK --interval=10s --timeout=3s --start-period=20s --retries=3 \
    CMD ["python", "-c", "import sys, urllib.request as r; o = r.build_opener(r.ProxyHandler({})); sys.exit(o.open('http://127.0.0.1:9090/healthz', timeout=2).status != 200)"]

CMD ["worker"]


FROM base AS service

# The spool is where receipts wait while the database is down: it must outlive the container.
VOLUME ["/data"]
EXPOSE 8080

HEALTHCHECK --interval=10s --timeout=3s --start-period=20s --retries=3 \
    CMD ["python", "-c", "import sys, urllib.request as r; o = r.build_opener(r.ProxyHandler({})); sys.exit(o.open('http://127.0.0.1:8080/healthz', timeout=2).status != 200)"]

CMD ["serve", "--host", "0.0.0.0"]
