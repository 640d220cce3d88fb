# syntax=docker/dockerfile:1
ARG BASE=python:3.13-slim-trixie@sha256:9d2e5553305c7c7b0097999bb17187c69b921ccd6bc9d40e4bb5ebe652c00285

FROM ${BASE} AS builder
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONDONTWRITEBYTECODE=1
WORKDIR /app
# Requirements first: the layer is rebuilt only if they change. Wheels only, because there is no compiler.
COPY requirements/production.txt requirements/production.txt
RUN python -m venv /opt/venv \
 && /opt/venv/bin/pip install --require-hashes --only-binary :all: --requirement requirements/production.txt \
 && /opt/venv/bin/pip uninstall --yes pip
ENV PATH=/opt/venv/bin:$PATH
COPY deploy/ca deploy/ca
COPY manage.py manage.py
COPY StartupWebApp StartupWebApp
COPY clientevent clientevent
COPY deploytools deploytools
COPY order order
COPY user user
# Path of AWS's CA bundle in the build context. Empty: the image has none.
ARG RDS_CA_BUNDLE=deploy/ca/global-bundle.pem
RUN python -m deploytools.container.ca_bundle "${RDS_CA_BUNDLE}" /opt/ca/rds.pem
# collectstatic runs with the base settings, which need no secret.
RUN DJANGO_SETTINGS_MODULE=StartupWebApp.settings python manage.py collectstatic --noinput --verbosity 0 \
 && rm -rf deploy requirements \
 && python -m compileall -q .

FROM ${BASE} AS runtime
ARG BASE
ARG RDS_CA_BUNDLE=deploy/ca/global-bundle.pem
ARG RELEASE=unknown
LABEL org.opencontainers.image.title="StartupWebApp" \
      org.opencontainers.image.base.name="${BASE}" \
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
    PGSSLROOTCERT=${RDS_CA_BUNDLE:+/opt/ca/rds.pem} \
    LOG_FORMAT=json \
    RELEASE=${RELEASE}
WORKDIR /app
USER 10001:10001
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s CMD ["python", "-m", "deploytools.container.probe"]
ENTRYPOINT ["python", "-m", "deploytools.container"]
CMD ["gunicorn", "--config", "python:deploytools.container.gunicorn_config", "StartupWebApp.wsgi"]
