# The studio: web, control worker, beat. No model library. Build from the repository's root:
#   make frontend && docker build -f deploy/studio.Dockerfile -t athanor-studio .
ARG BASE=python:3.11-slim-bookworm

FROM ${BASE} AS packages
ARG PIP_OPTIONS=""
WORKDIR /build
COPY deploy/wheels /wheels
COPY deploy/requirements.py pyproject.toml constraints.txt ./
RUN python3 -m venv /opt/athanor \
    && python3 requirements.py s3 > requirements.txt \
    && /opt/athanor/bin/pip install --no-cache-dir --find-links /wheels ${PIP_OPTIONS} \
        -c constraints.txt -r requirements.txt

FROM ${BASE}
RUN useradd --uid 10001 --create-home athanor \
    && install -d -o athanor -g athanor /data /node-secrets
COPY --from=packages /opt/athanor /opt/athanor
COPY manage.py /app/
COPY engine /app/engine
COPY workers /app/workers
COPY studio /app/studio
WORKDIR /app
ENV PATH=/opt/athanor/bin:$PATH PYTHONPATH=/app PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    DJANGO_SETTINGS_MODULE=studio.settings STUDIO_DATA_DIR=/data
USER athanor
EXPOSE 8600
CMD ["python", "-m", "studio.up.web", "--host", "0.0.0.0", "--behind-proxy"]
