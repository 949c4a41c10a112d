"""The floors: each crate, folder and module imports only what lies below it."""

import ast
import re
import tomllib
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "python" / "mountain_runtime"
CORE = ROOT / "rust" / "core" / "src"
CRATES = {
    "core": set(),
    "providers": {"mountain-core"},
    "dashboard": {"mountain-core"},
    "bridge": {"mountain-core", "mountain-providers", "mountain-dashboard"},
}
#: The core's modules from the ground up; those of one floor may not import those of a higher one.
CORE_FLOORS = [
    {"time", "sync", "value", "error", "observe", "schedule"},
    {"effect"},
    {"policy"},
    {"telemetry"},
    {"runtime"},
]
#: The bridge's rooms from the ground up.
BRIDGE_ROOMS = [
    "globals",
    "python",
    "context",
    "policy",
    "port",
    "plan",
    "convert",
    "observe",
    "scope",
    "handle",
    "run",
    "stream",
    "effect",
    "runtime",
    "providers",
    "testing",
]
BRIDGE = ROOT / "rust" / "bridge" / "src"
PROVIDERS = ROOT / "rust" / "providers" / "src"
#: The files of the providers from the ground up; a file imports what stands on a lower floor only. `mod` is what a
#: provider shows to the others and to the bridge.
PROVIDER_FLOORS = {
    "pool": [{"seats"}, {"job"}, {"mod"}],
    "feed": [{"state"}, {"feed"}, {"expecting"}, {"mod"}],
    "fs": [
        {"attributes", "beneath", "entry", "failure", "glob", "names", "tree"},
        {"place", "scan"},
        {"content", "fresh", "source"},
        {"in_place"},
        {"hash", "lock", "many", "meta", "read", "remove", "walk", "write"},
        {"append", "copy", "file", "walk_beneath"},
        {"mod"},
    ],
    "http": [
        {"forking"},
        {"claim", "address", "fields", "jar", "json", "progress", "proxy", "text", "tls", "whole"},
        {"one", "response", "settings"},
        {"failure", "hosts"},
        {"pool"},
        {"connect", "decode", "reactor", "redirect"},
        {"ask", "fuzzing"},
        {"send"},
        {"fetch"},
        {"body", "download"},
        {"mod"},
    ],
    "process": [
        {"one_text", "session"},
        {"answer", "command", "fair", "shared", "sys", "turns"},
        {"birth", "birth_elsewhere", "completed", "guard", "no_guard", "outlet", "pty"},
        {"no_screen", "plumbing", "screen", "whole"},
        {"fuzzing", "inlet"},
        {"desk"},
        {"state"},
        {"child"},
        {"reactor"},
        {"groups", "run"},
        {"live"},
        {"mod"},
    ],
    "search": [{"hit", "options"}, {"fuzzing", "sink"}, {"search"}, {"mod"}],
    "watch": [
        {"change", "kernel", "limits", "routes", "rules", "way"},
        {"fuzzing", "names", "settling", "watch_elsewhere"},
        {"tree"},
        {"look", "watch", "ways"},
        {"mod"},
    ],
    "": [{"trial"}, {"all", "fork"}, {"lib"}],
}
#: The imports that a folder of the providers may have of the others, through their `mod`.
PROVIDER_NEEDS = {
    "pool": set(),
    "feed": set(),
    "fs": {"pool", "feed"},
    "http": {"fs"},
    "process": set(),
    "search": {"feed", "fs"},
    "watch": {"feed", "fs"},
    "": {"feed", "fs", "http", "pool", "process", "search", "watch"},
}
#: The package's rooms and modules from the ground up. `_bind` hands the native module what it calls; the empty name is
#: the package itself.
PACKAGE_ROOMS = [
    "errors",
    "_tasks",
    "policy",
    "testing",
    "_shutdown",
    "telemetry",
    "_effect",
    "fs",
    "http",
    "search",
    "process",
    "_services",
    "_runtime",
    "pools",
    "rpc",
    "_bind",
    "",
]


def core_files(folder: Path = CORE) -> list[Path]:
    """The Rust files there, without those that hold tests only."""
    return [file for file in sorted(folder.rglob("*.rs")) if file.stem not in {"tests", "testing"}]


def rust_code(file: Path) -> str:
    """The code of a Rust file without its comments and its tests."""
    code = re.sub(r"//[^\n]*", "", file.read_text())
    return re.split(r"#\[cfg\([^\]]*\btest\b[^\]]*\)\]\s*mod\b", code)[0]


def modules() -> dict[str, Path]:
    """The Python modules of the package by their dotted name below it; the package itself is the empty name."""
    found = {}
    for file in sorted(PACKAGE.rglob("*.py")):
        parts = file.relative_to(PACKAGE).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = file
    return found


MODULES = modules()


def at_import(body: list[ast.stmt]) -> Iterator[ast.Import | ast.ImportFrom]:
    """The import statements that run when the module is imported: not those in functions or for type checkers only."""
    for node in body:
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            yield node
        elif isinstance(node, ast.If):
            if "TYPE_CHECKING" not in ast.unparse(node.test):
                yield from at_import(node.body)
            yield from at_import(node.orelse)
        elif isinstance(node, ast.Try):
            for part in (node.body, node.orelse, node.finalbody, *(handler.body for handler in node.handlers)):
                yield from at_import(part)
        elif isinstance(node, (ast.With, ast.ClassDef)):
            yield from at_import(node.body)


def imported(name: str) -> set[str]:
    """The modules of ours that a module imports at import time, by the names of `modules`, `_native` among them."""
    found = set()
    package = name.split(".") if MODULES[name].name == "__init__.py" else name.split(".")[:-1]
    package = [part for part in package if part]
    for node in at_import(ast.parse(MODULES[name].read_text()).body):
        if isinstance(node, ast.Import):
            names = [alias.name.split(".", 1) for alias in node.names]
            found.update(rest for top, *tail in names if top == "mountain_runtime" for rest in tail)
            continue
        if node.level:
            base = package[: len(package) - node.level + 1] + (node.module or "").split(".")
        elif node.module and node.module.split(".")[0] == "mountain_runtime":
            base = node.module.split(".")[1:]
        else:
            continue
        prefix = ".".join(part for part in base if part)
        for alias in node.names:  # `from . import fs` imports a module, `from ._effect import Effect` a name in one
            module = f"{prefix}.{alias.name}".strip(".")
            found.add(module if module in MODULES or module == "_native" else prefix)
    return found


@pytest.mark.parametrize("crate", CRATES)
def test_a_crate_depends_on_the_crates_below_it_only(crate: str) -> None:
    manifest = tomllib.loads((ROOT / "rust" / crate / "Cargo.toml").read_text())
    ours = {name for name in manifest["dependencies"] if name.startswith("mountain-")}
    assert ours == CRATES[crate]


def test_only_the_bridge_names_pyo3() -> None:
    naming = {
        file.relative_to(ROOT / "rust").parts[0]
        for pattern, comment in (("*.rs", r"//[^\n]*"), ("Cargo.toml", r"#[^\n]*"))
        for file in (ROOT / "rust").rglob(pattern)
        if re.search(r"\bpyo3\b", re.sub(comment, "", file.read_text()))
    }
    assert naming == {"bridge"}


def test_the_core_opens_no_file_and_no_socket() -> None:
    files = core_files()
    assert files
    forbidden = re.compile(r"\bstd::(?:fs|net|process)\b|\btokio::(?:fs|net|process|io)\b|\blibc\b")
    assert [str(file) for file in files if forbidden.search(rust_code(file))] == []


def test_the_core_imports_downwards_only() -> None:
    height = {module: floor for floor, modules in enumerate(CORE_FLOORS) for module in modules}
    upwards = []
    for file in core_files():
        module = file.relative_to(CORE).with_suffix("").parts[0]
        if module == "lib":
            continue
        for target in re.findall(r"\bcrate::(?:\{([^}]*)\}|(\w+))", rust_code(file)):
            for name in re.findall(r"\w+", "".join(target)):
                if height.get(name, 0) > height[module]:
                    upwards.append(f"{module} imports {name} in {file.relative_to(ROOT)}")
    assert upwards == []


def bridge_imports() -> dict[str, set[str]]:
    """The imports of each file of the bridge, as `room/file`; a room's items are those of the file of its name."""
    files = {f"{file.parent.name}/{file.stem}": file for file in sorted(BRIDGE.glob("*/*.rs")) if file.stem != "mod"}
    graph = {}
    for name, file in files.items():
        paths = re.findall(r"\bcrate::(\w+)(?:::(\w+))?", rust_code(file))
        assert not re.search(r"\bcrate::\{", rust_code(file)), f"{name}: a line for each import"
        found = {f"{room}/{item}" if f"{room}/{item}" in files else f"{room}/{room}" for room, item in paths}
        graph[name] = found & set(files)
    return graph


def test_each_room_of_the_bridge_says_what_lives_there() -> None:
    assert sorted(folder.name for folder in BRIDGE.iterdir() if folder.is_dir()) == sorted(BRIDGE_ROOMS)
    assert {file.name for file in BRIDGE.glob("*.rs")} == {"lib.rs"}
    for room in BRIDGE_ROOMS:
        lines = (BRIDGE / room / "mod.rs").read_text().splitlines()
        assert lines[0].startswith("//! "), room
        files = {file.stem for file in (BRIDGE / room).glob("*.rs")} - {"mod"}
        assert {line.split()[-1].strip(";") for line in lines if re.search(r"\bmod \w+;", line)} == files
    doc = re.findall(r"^//!  - `(\w+)`$", (BRIDGE / "lib.rs").read_text(), re.MULTILINE)
    assert doc == BRIDGE_ROOMS, "the list of lib.rs"


def test_the_rooms_of_the_bridge_import_downwards_only() -> None:
    height = {room: floor for floor, room in enumerate(BRIDGE_ROOMS)}
    graph = bridge_imports()
    assert "port/port" in graph["runtime/drain"]
    upwards = [
        f"{name} imports {target}"
        for name, targets in graph.items()
        for target in targets
        if height[target.split("/")[0]] > height[name.split("/")[0]]
    ]
    assert upwards == []
    list(TopologicalSorter(graph).static_order())  # raises CycleError


def provider_imports(room: str, file: Path) -> set[tuple[str, str]]:
    """The files that a file of the providers imports, as folder and stem; the names of a folder stand for its `mod`."""
    code = rust_code(file)
    assert not re.search(r"\b(?:super|crate)::\{", code), f"{file}: a line for each import"
    stems = {folder: {other.stem for other in (PROVIDERS / folder).glob("*.rs")} for folder in PROVIDER_FLOORS}
    found = {(room, name) for name in re.findall(r"\bsuper::(\w+)", code)}
    for folder, name in re.findall(r"\bcrate::(\w+)(?:::(\w+))?", code):
        own = folder in PROVIDER_FLOORS and name in stems[folder] and folder == room
        found.add((folder, name if own else "mod") if folder in PROVIDER_FLOORS else ("", folder))
    if file.stem == "mod":
        found |= {
            (room, name) for name in re.findall(r"^(?:pub )?use (\w+)::", code, re.MULTILINE) if name in stems[room]
        }
    return found


def test_the_files_of_the_providers_import_downwards_only() -> None:
    height = {
        (room, stem): floor
        for room, floors in PROVIDER_FLOORS.items()
        for floor, stems in enumerate(floors)
        for stem in stems
    }
    testing = re.compile(r"tests|testing|\w+_tests")
    found = [(room, file) for room in PROVIDER_FLOORS for file in sorted((PROVIDERS / room).glob("*.rs"))]
    files = {(room, file.stem): file for room, file in found if not testing.fullmatch(file.stem)}
    assert set(files) == set(height), "each file stands on a floor of the table"
    imports = {name: provider_imports(name[0], file) for name, file in files.items()}
    assert ("process", "child") in imports["process", "reactor"]
    assert ("pool", "mod") in imports["fs", "read"]
    upwards = [
        f"{room}/{stem} imports {other}/{target}"
        for (room, stem), names in imports.items()
        for other, target in names
        if (height[other, target] >= height[room, stem] if other == room else other not in PROVIDER_NEEDS[room])
    ]
    assert upwards == []


def test_the_conversion_of_values_knows_no_provider() -> None:
    """A provider brings its own: `providers/` has the conversions, and its list names them."""
    naming = {
        file.parent.name for file in BRIDGE.glob("*/*.rs") if re.search(r"\bmountain_providers\b", rust_code(file))
    }
    # A gauge of the pool, what a fork leaves, the operations on trial; and the effects themselves.
    assert naming == {"globals", "runtime", "testing", "providers"}
    downcasting = re.compile(r"\bdowncast(?:_ref|_mut)?\b")
    files = [file.stem for file in sorted((BRIDGE / "convert").glob("*.rs")) if downcasting.search(rust_code(file))]
    # A plan that an error came from, each type's own installed conversion, the buffers that this room itself made.
    assert files == ["error", "provided", "value"]
    converted = [
        name
        for file in BRIDGE.glob("*/*.rs")
        for name in re.findall(r"\bimpl (Provided|Failure) for", file.read_text())
    ]
    installed = re.findall(
        r"\.(?:value|failure)::<([\w:<>]+)>\(\)", (BRIDGE / "providers" / "providers.rs").read_text()
    )
    assert len(converted) == len(installed) == len(set(installed)) > 0


def test_a_policy_of_the_core_does_not_know_its_siblings() -> None:
    policies = sorted(folder.name for folder in (CORE / "policy").iterdir() if folder.is_dir())
    assert {"retry", "timeout"} <= set(policies)
    crossing = [
        f"{own} names {other}"
        for own in policies
        for file in core_files(CORE / "policy" / own)
        for other in policies
        if other != own and re.search(rf"\b(?:policy|super)::{other}\b", rust_code(file))
    ]
    assert crossing == []


def test_errors_import_nothing_of_ours() -> None:
    assert imported("errors") == set()


def test_a_policy_imports_none_of_its_siblings() -> None:
    policies = {name for name in MODULES if re.fullmatch(r"policy\.[a-z]\w*", name)}
    assert {"policy.retry", "policy.timeout"} <= policies
    crossing = {name: imported(name) & policies for name in policies if imported(name) & policies}
    assert crossing == {}


def test_the_rooms_of_the_package_import_downwards_only() -> None:
    height = {room: floor for floor, room in enumerate(PACKAGE_ROOMS)}
    rooms = {name: name.split(".")[0] for name in MODULES}
    assert set(rooms.values()) == set(PACKAGE_ROOMS)
    upwards = [
        f"{name} imports {target}"
        for name in MODULES
        for target in imported(name) - {"_native"}
        if height[rooms[target]] > height[rooms[name]]
    ]
    assert upwards == []


def test_each_room_of_the_package_says_what_lives_there() -> None:
    for room in sorted(file.parent for file in PACKAGE.rglob("__init__.py")):
        doc = ast.get_docstring(ast.parse((room / "__init__.py").read_text()))
        assert doc, room


def test_no_module_of_the_package_needs_one_that_needs_it() -> None:
    TopologicalSorter({name: imported(name) - {"_native"} for name in MODULES}).prepare()  # raises CycleError


def test_no_block_of_the_package_sets_attributes_of_what_passes_through_it() -> None:
    """contextlib's decorators do, which frozen exceptions do not take. A fixture's lets none of the user's through."""
    made = re.compile(r"^\s*@(?:contextlib\.)?(?:async)?contextmanager", re.MULTILINE)
    assert [name for name, file in MODULES.items() if made.search(file.read_text())] == ["testing"]


def test_examples_import_public_names_only() -> None:
    files = sorted((ROOT / "examples").rglob("*.py"))
    assert files
    private = []
    for file in files:
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("mountain_runtime"):
                names = [*(node.module or "").split("."), *(alias.name for alias in node.names)]
            elif isinstance(node, ast.Import):
                names = [p for a in node.names if a.name.startswith("mountain_runtime") for p in a.name.split(".")]
            else:
                continue
            private += [f"{file.relative_to(ROOT)}: {name}" for name in names if name.startswith("_")]
    assert private == []
