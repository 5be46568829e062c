"""studio -> workers -> engine, never back; and the contract between them stays light."""

import subprocess
import sys
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).resolve().parent.parent
CONTRACT = ("engine.specs", "engine.events", "engine.status", "engine.sentences", "engine.refusals")
# What loads for seconds or needs a server; none of it may come along with a contract module.
HEAVY = ("torch", "transformers", "peft", "numpy", "django", "celery", "rest_framework", "redis")


@pytest.fixture(scope="module")
def graph() -> grimp.ImportGraph:
    return grimp.build_graph("studio", "workers", "engine", cache_dir=None)


def list_imports(graph: grimp.ImportGraph, above: str, below: str) -> list[tuple[str, str]]:
    return [
        (module, imported)
        for module in graph.modules
        if module.split(".")[0] == above
        for imported in graph.find_modules_directly_imported_by(module)
        if imported.split(".")[0] == below
    ]


def is_contract(module: str) -> bool:
    return any(module == name or module.startswith(f"{name}.") for name in CONTRACT)


@pytest.mark.parametrize("above", ["studio", "workers"])
def test_only_the_contract_of_the_engine_is_imported(graph, above):
    pairs = list_imports(graph, above, "engine")
    assert pairs
    assert [pair for pair in pairs if not is_contract(pair[1])] == []


def test_the_studio_imports_of_the_workers_only_their_orders(graph):
    pairs = list_imports(graph, "studio", "workers")
    assert {imported for _, imported in pairs} == {
        "workers.orders",
        "workers.machines.orders",
        "workers.machines.measures",
        "workers.sentences",
        "workers.unreadable",
    }


@pytest.mark.parametrize(("below", "above"), [("engine", "workers"), ("engine", "studio")])
def test_the_engine_imports_nothing_above_it(graph, below, above):
    assert list_imports(graph, below, above) == []


def test_workers_import_nothing_of_the_studio(graph):
    assert list_imports(graph, "workers", "studio") == []


@pytest.mark.parametrize("module", CONTRACT)
def test_a_contract_module_loads_nothing_heavy(module):
    code = f"import sys, {module}; print(*(name for name in {HEAVY} if name in sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == []


def test_loading_the_studio_loads_no_model_library():
    code = (
        "import sys, tests.settings, django, os; "
        "os.environ['DJANGO_SETTINGS_MODULE'] = 'tests.settings'; django.setup(); "
        "import studio.urls, studio.routing; "
        "print(*(name for name in ('torch', 'transformers', 'peft') if name in sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == []
