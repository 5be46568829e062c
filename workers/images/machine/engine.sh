#!/bin/sh
# Put Athanor's engine and what it uses into /opt/python, the environment of shells and notebooks.
# Needs /build with pyproject.toml, constraints.txt and engine, and /wheels. PIP_OPTIONS chooses the
# torch build: PyPI's has CUDA; the index of pytorch.org has one for processors alone.
set -eu

python3 - > /build/engine.txt <<'END'
import tomllib

with open("/build/pyproject.toml", "rb") as file:
    print(*tomllib.load(file)["project"]["optional-dependencies"]["engine"], sep="\n")
END
/opt/python/bin/pip install --no-cache-dir --find-links /wheels ${PIP_OPTIONS-} \
    -c /build/constraints.txt -r /build/engine.txt
packages=$(/opt/python/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
cp -r /build/engine "$packages/engine"
# Nodes compare it with their own.
python3 -c 'import tomllib; print(tomllib.load(open("/build/pyproject.toml", "rb"))["project"]["version"])' \
    > "$packages/engine/VERSION"
/opt/python/bin/python -m compileall -q "$packages/engine"
chmod -R go-w,go+rX /opt/python
cd /
/opt/python/bin/python -m engine schema train > /dev/null
