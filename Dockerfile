# One image for every role: the service (`serve`, what it does by default), `migrate`, `simulator`.

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
    && /opt/uv/bin/uv pip sync --python /opt/venv/bin/python --require-hashes requirements.lock

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


FROM python:3.11-slim

ENV PATH=/opt/venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    DLR_DATABASE_URL=sqlite:////data/dlr.db \
    DLR_SPOOL_DIR=/data/spool

# A fixed number, so that volumes and Kubernetes' runAsUser can name it.
RUN groupadd --gid 10001 dlr \
    && useradd --uid 10001 --gid dlr --no-create-home --home-dir /data --shell /usr/sbin/nologin dlr \
    && install -d -o dlr -g dlr -m 0750 /data /data/spool

COPY --from=builder /opt/venv /opt/venv
COPY --from=builder /srv /srv

WORKDIR /srv
USER 10001:10001

# The spool is where receipts wait while the database is down: it must outlive the container.
VOLUME ["/data"]
EXPOSE 8080
STOPSIGNAL SIGTERM

HEALTHCHECK --interval=10s --timeout=3s --start-period=20s --retries=3 \
    CMD ["python", "-c", "import sys, urllib.request as r; o = r.build_opener(r.ProxyHandler({})); sys.exit(o.open('http://127.0.0.1:8080/healthz', timeout=2).status != 200)"]

ENTRYPOINT ["dlr"]
CMD ["serve", "--host", "0.0.0.0"]
