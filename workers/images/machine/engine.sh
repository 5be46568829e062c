#!/bin/sh
# Put Athanor's engine and what it uses into /opt/python, the environment of shells and notebooks,
# with what people look for beside it. Needs /build with pyproject.toml, constraints.txt and engine,
# and /wheels. PyPI's torch has CUDA; TORCH_INDEX, where it is set, names an index with another, whose
# version has a `+cpu` and so goes before.
set -eu

packages=$(/opt/python/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
# It would satisfy pip, whichever it is, and two in one image's layers are a broken one.
if [ -e "$packages/torch" ]; then
    echo "There is a PyTorch here already: build above an image made with --build-arg ENGINE=" >&2
    exit 1
fi
python3 - > /build/engine.txt <<'END'
import tomllib

with open("/build/pyproject.toml", "rb") as file:
    print(*tomllib.load(file)["project"]["optional-dependencies"]["engine"], sep="\n")
print("datasets")  # its version, and what it brings, as constraints.txt has them
END
/opt/python/bin/pip install --no-cache-dir --find-links /wheels ${PIP_OPTIONS-} \
    ${TORCH_INDEX:+--extra-index-url "$TORCH_INDEX"} -c /build/constraints.txt -r /build/engine.txt
cp -r /build/engine "$packages/engine"
# Nodes compare it with their own.
python3 -c 'import tomllib; print(tomllib.load(open("/build/pyproject.toml", "rb"))["project"]["version"])' \
    > "$packages/engine/VERSION"
/opt/python/bin/python -m compileall -q "$packages/engine"
chmod -R go-w,go+rX /opt/python
cd /
/opt/python/bin/python -m engine schema train > /dev/null
