# syntax=docker/dockerfile:1
# How to build and run it: docs/container.md
ARG BASE=python:3.13-slim-bookworm

FROM ${BASE} AS builder
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONDONTWRITEBYTECODE=1
WORKDIR /app
# The locked requirements alone first: this layer is built anew only when they change. Wheels only: no compiler.
COPY requirements/production.txt requirements/production.txt
RUN python -m venv /opt/venv \
 && /opt/venv/bin/pip install --require-hashes --only-binary :all: --requirement requirements/production.txt \
 && /opt/venv/bin/pip uninstall --yes pip
ENV PATH=/opt/venv/bin:$PATH
COPY deploy/image deploy/image
COPY deploy/ca deploy/ca
# AWS's CA bundle, as a path in the build context. Empty: the servers' certificate is not verified (sslmode=require).
ARG RDS_CA_BUNDLE=deploy/ca/global-bundle.pem
RUN python deploy/image/ca_bundle.py "${RDS_CA_BUNDLE}" /opt/ca/rds.pem
COPY manage.py manage.py
COPY scripts/entrypoint scripts/entrypoint
COPY StartupWebApp StartupWebApp
COPY clientevent clientevent
COPY deploytools deploytools
COPY order order
COPY user user
# The base settings need no secret, and write the hashed names that the production settings serve.
RUN DJANGO_SETTINGS_MODULE=StartupWebApp.settings python manage.py collectstatic --noinput --verbosity 0 \
 && rm -rf deploy requirements \
 && python -m compileall -q .

# For compose.yaml alone: the AWS emulator and what fills it. Nothing of it gets into the runtime image.
FROM ${BASE} AS local
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=/app
WORKDIR /app
COPY requirements/dev.txt requirements/dev.txt
RUN python -m venv /opt/venv \
 && /opt/venv/bin/pip install --require-hashes --only-binary :all: --requirement requirements/dev.txt
ENV PATH=/opt/venv/bin:$PATH
COPY localcloud localcloud
COPY deploy/compose deploy/compose
USER 10001:10001

FROM ${BASE} AS runtime
ARG RDS_CA_BUNDLE=deploy/ca/global-bundle.pem
ARG RELEASE=unknown
LABEL org.opencontainers.image.title="StartupWebApp" \
      org.opencontainers.image.description="A shop on PostgreSQL, one database a tenant" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.revision="${RELEASE}"
RUN groupadd --gid 10001 app \
 && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin app
COPY --from=builder /opt/venv /opt/venv
COPY --from=builder /opt/ca /opt/ca
COPY --from=builder /app /app
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    TMPDIR=/dev/shm \
    DJANGO_SETTINGS_MODULE=StartupWebApp.settings_production \
    DB_SSLROOTCERT=${RDS_CA_BUNDLE:+/opt/ca/rds.pem} \
    LOG_FORMAT=json \
    RELEASE=${RELEASE}
WORKDIR /app
USER 10001:10001
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s CMD ["python", "-m", "StartupWebApp.probe"]
ENTRYPOINT ["scripts/entrypoint"]
CMD ["gunicorn", "--config", "python:StartupWebApp.gunicorn", "StartupWebApp.wsgi"]
