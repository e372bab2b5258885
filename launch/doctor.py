"""What `instrux doctor` looks for: each thing with what needs it and how to get it.

Nothing heavy is imported (no JAX, no TensorFlow) unless JAX is to be asked for its devices.
"""

import dataclasses
import importlib.metadata
import os
import shutil
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import Requirement

from instrux.cache_folder import cache_folder
from instrux.errors import InputError
from instrux.models.cpu_kernels import machine

_PYTHONS = ((3, 11), (3, 13))
_GIB = 2**30
_LISTED = 4
_LEAST_FREE_GIB = 1
# Float32: a parameter and its gradient. Adafactor's own state is small beside them.
_BYTES_A_PARAMETER = 8
_SECONDS_FOR_THE_HUB = 1.5
_EXTRAS = {
    "hf": "datasets of the Hugging Face hub, published vocabularies",
    "studio": "`instrux studio`",
    "gcp": "Dataflow, and gs:// folders in Beam jobs",
    "dask": "Beam jobs on DaskRunner",
    "languages": "`instrux demonstrations --detect_languages`",
    "presidio": "`instrux demonstrations --personal_data presidio`",
    "wandb": "curves in Weights & Biases",
    "docs": "`make docs`",
    "peers": "the tests against torch and transformers",
    "test": "`make test`",
}
_OF_ACCELERATORS = ("cuda", "tpu")


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that was looked for.

    Attributes:
        name: of the thing; what `--need` takes.
        ready: whether it is there.
        found: what there is.
        needed_for: what cannot be done without it.
        mend: how to get it; empty where it is there.
        required: whether the exit status depends on it.
    """

    name: str
    ready: bool
    found: str
    needed_for: str
    mend: str = ""
    required: bool = False


def findings(*, offline: bool = False, ask_jax: bool = False) -> list[Finding]:
    """Looks for everything.

    Args:
        offline: whether the hub is left alone.
        ask_jax: whether JAX is loaded and asked for its devices.
    """
    return [
        _python(),
        _packages(),
        _cache_folder(),
        _disk(),
        _memory(),
        _devices_of_jax() if ask_jax else _accelerator(),
        _cpu_kernels(),
        _hub(offline=offline),
        _mirror(),
        *_fetched(),
        *(_extra(name) for name in _EXTRAS),
        _chromium(),
    ]


def need(found: Sequence[Finding], names: Collection[str]) -> list[Finding]:
    """Gives the findings with those of the names required as well."""
    return [
        dataclasses.replace(each, required=each.required or each.name in names) for each in found
    ]


# --- this installation ---------------------------------------------------------------------------


def _python() -> Finding:
    oldest, newest = _PYTHONS
    version = ".".join(map(str, sys.version_info[:3]))
    return Finding(
        name="python",
        ready=oldest <= sys.version_info[:2] <= newest,
        found=f"{version}, {sys.executable}",
        needed_for="everything",
        mend="make env PYTHON=/path/to/python3.11 (3.11 to 3.13)",
        required=True,
    )


def _packages() -> Finding:
    try:
        requirements = _requirements("instrux", extra="")
    except importlib.metadata.PackageNotFoundError:
        found, missing = "instrux itself is not installed", ["instrux"]
    else:
        missing = [name for each in requirements for name in missing_of(each)]
        found = f"{len(requirements)} required" if not missing else f"without {_listed(missing)}"
    return Finding(
        name="packages",
        ready=not missing,
        found=found,
        needed_for="everything",
        mend=_install(""),
        required=True,
    )


def _extra(name: str) -> Finding:
    missing = missing_of_extra(name)
    return Finding(
        name=name,
        ready=not missing,
        found="extra, installed" if not missing else f"extra, without {_listed(missing)}",
        needed_for=_EXTRAS[name],
        mend=_install(name),
    )


def missing_of_extra(name: str) -> list[str]:
    """Gives what an extra of Instrux asks for and is not installed."""
    try:
        declared = importlib.metadata.metadata("instrux").get_all("Provides-Extra") or []
        if name not in declared:  # an installation from the checkout, older than the extra
            return ["its declaration, as instrux was installed before it had this extra"]
        base = set(map(str, _requirements("instrux", extra="")))
        wanted = [r for r in _requirements("instrux", extra=name) if str(r) not in base]
    except importlib.metadata.PackageNotFoundError:
        return ["instrux"]
    return [missing for each in wanted for missing in missing_of(each)]


def missing_of(requirement: Requirement) -> list[str]:
    """Gives what a requirement lacks: itself, or what its own extras ask for."""
    try:
        version = importlib.metadata.version(requirement.name)
    except importlib.metadata.PackageNotFoundError:
        return [requirement.name]
    if not requirement.specifier.contains(version, prereleases=True):
        return [f"{requirement.name}{requirement.specifier} (there is {version})"]
    base = set(map(str, _requirements(requirement.name, extra="")))
    below = [
        each
        for extra in sorted(requirement.extras)
        for each in _requirements(requirement.name, extra=extra)
        if str(each) not in base
    ]
    return [name for each in below for name in missing_of(each)]


def _requirements(distribution: str, *, extra: str) -> list[Requirement]:
    declared = map(Requirement, importlib.metadata.requires(distribution) or [])
    return [r for r in declared if r.marker is None or r.marker.evaluate({"extra": extra})]


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:_LISTED])
    return shown if len(names) <= _LISTED else f"{shown} and {len(names) - _LISTED} more"


def _install(extra: str) -> str:
    checkout = Path(__file__).resolve().parent.parent
    named = f"[{extra}]" if extra else ""
    if (checkout / "pyproject.toml").is_file():
        return f'in {checkout}: pip install -c constraints.txt -e ".{named}"'
    return f'pip install "instrux{named}"'


# --- this machine --------------------------------------------------------------------------------


def _cache_folder() -> Finding:
    folder = cache_folder()
    return Finding(
        name="cache_folder",
        ready=os.access(_existing(folder), os.W_OK),
        found=str(folder),
        needed_for="templates, vocabularies and compiled programs, kept once",
        mend="set INSTRUX_CACHE to a folder that can be written",
        required=True,
    )


def _disk() -> Finding:
    here, cache = (shutil.disk_usage(_existing(path)).free for path in (Path.cwd(), cache_folder()))
    return Finding(
        name="disk",
        ready=min(here, cache) >= _LEAST_FREE_GIB * _GIB,
        found=f"{here / _GIB:,.1f} GiB free here, {cache / _GIB:,.1f} at the cache folder",
        needed_for=f"rendered data and checkpoints; less than {_LEAST_FREE_GIB} GiB ends soon",
        mend="free some, work in a folder on another disk, or set INSTRUX_CACHE",
        required=True,
    )


def _existing(path: Path) -> Path:
    """The path, or the nearest folder above it that there is."""
    path = path.absolute()
    while not path.exists():
        path = path.parent
    return path


def _memory() -> Finding:
    limit = memory_bytes()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    billions = limit / _BYTES_A_PARAMETER / 1e9
    return Finding(
        name="memory",
        ready=True,
        found=f"{limit / _GIB:,.1f} GiB, {cores} cores; trained on the CPU, parameters and gradients"
        f" of {billions:,.1f} billion fill it",
        needed_for="training and evaluation on the CPU",
    )


def memory_bytes() -> int:
    """The memory of this machine, or of the container if that has less."""
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        path = Path("/sys/fs/cgroup") / name
        try:
            total = min(total, int(path.read_text()))
        except (OSError, ValueError):
            continue  # no such file, or `max`
    return total


def _accelerator() -> Finding:
    kind, devices = _accelerator_files()
    missing = missing_of_extra(kind) if kind else []
    found = "none: the CPU alone"
    if kind:
        found = f"{len(devices)} of {kind} ({devices[0]} …)" + (
            f", but without {', '.join(missing)}" if missing else ""
        )
    return Finding(
        name="accelerator",
        ready=bool(kind) and not missing,
        found=found,
        needed_for="models above some tens of millions of parameters",
        mend=_install(kind) if kind else "docs/launching/ tells how to get one",
    )


def _accelerator_files() -> tuple[str, list[str]]:
    for kind, pattern in zip(_OF_ACCELERATORS, ("nvidia[0-9]*", "accel[0-9]*"), strict=True):
        if devices := sorted(str(path) for path in Path("/dev").glob(pattern)):
            return kind, devices
    groups = sorted(str(path) for path in Path("/dev/vfio").glob("[0-9]*"))
    # Any machine may have VFIO groups; only a TPU VM also says which worker it is.
    return ("tpu", groups) if groups and "TPU_WORKER_ID" in os.environ else ("", [])


def _devices_of_jax() -> Finding:
    import jax

    try:
        devices = jax.devices()
    except RuntimeError as error:
        raise InputError(
            f"doctor: JAX finds no device ({' '.join(str(error).split())});"
            " JAX_PLATFORMS=cpu leaves accelerators alone"
        ) from error
    kinds = ", ".join(sorted({f"{d.platform} {d.device_kind}" for d in devices}))
    return Finding(
        name="accelerator",
        ready=jax.default_backend() != "cpu",
        found=f"JAX {jax.__version__} has {len(devices)}: {kinds}",
        needed_for="models above some tens of millions of parameters",
        mend="docs/launching/ tells how to get one; the extras `cuda` and `tpu` bring JAX's part",
    )


def _cpu_kernels() -> Finding:
    missing, compiler = machine.lacks(), machine.compiler()
    return Finding(
        name="cpu-kernels",
        ready=missing is None,
        found=f"not used: {missing}" if missing else f"compiled at first use by {compiler}",
        needed_for="the speed of a CPU with matrix units (AMX)",
        mend="docs/performance.md tells what they need; XLA does their work without them",
    )


# --- what comes from elsewhere -------------------------------------------------------------------


def _hub(*, offline: bool) -> Finding:
    def finding(ready: bool, found: str, mend: str = "") -> Finding:
        return Finding(
            name="hub",
            ready=ready,
            found=found,
            needed_for="raw rows and vocabularies that are nowhere on this machine",
            mend=mend,
        )

    if missing_of_extra("hf"):
        return finding(False, "the extra `hf` is not installed", _install("hf"))
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return finding(
            False, "HF_HUB_OFFLINE is set", "unset it, or name a mirror (docs/sources.md)"
        )
    token = "HF_TOKEN" in os.environ or Path(constants.HF_TOKEN_PATH).is_file()
    known = "with a token" if token else "without a token (only gated datasets need one)"
    if offline:
        return finding(False, f"not tried, {known}", "leave --offline out to try")
    if _answers(constants.ENDPOINT):
        return finding(True, f"{constants.ENDPOINT} answers, {known}")
    return finding(
        False,
        f"{constants.ENDPOINT} does not answer within {_SECONDS_FOR_THE_HUB:g} s",
        "a proxy (HTTPS_PROXY), another address (HF_ENDPOINT), or a mirror (docs/sources.md)",
    )


def _answers(address: str) -> bool:
    """Whether a server answers in time, be it with an error; names that do not resolve count too."""
    answered = threading.Event()

    def ask() -> None:
        request = urllib.request.Request(address, method="HEAD")
        try:
            urllib.request.urlopen(request, timeout=_SECONDS_FOR_THE_HUB).close()
        except urllib.error.HTTPError:
            pass
        except (OSError, ValueError):
            return
        answered.set()

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(_SECONDS_FOR_THE_HUB)
    return answered.is_set()


def _mirror() -> Finding:
    named = [each for each in os.environ.get("INSTRUX_MIRROR", "").split(os.pathsep) if each]
    absent = [each for each in named if not Path(each).expanduser().is_dir()]
    found = ", ".join(named) if named else "INSTRUX_MIRROR is not set"
    return Finding(
        name="mirror",
        ready=bool(named) and not absent,
        found=f"no folder: {', '.join(absent)}" if absent else found,
        needed_for="raw rows without a network",
        mend="put files into a folder and name it by INSTRUX_MIRROR (docs/sources.md)",
    )


def _fetched() -> Iterator[Finding]:
    from instrux.data.byte_pairs import default_merges_path
    from instrux.data.natural_instructions_files import release_folder
    from instrux.data.natural_instructions_release import DEFAULT_RELEASE
    from instrux.data.vocabulary_release import t5_vocabulary_path
    from instrux.prompts.flan_release import released_folder

    for name, path, needed_for in (
        ("promptsource", cache_folder() / "promptsource-0.2.3", "T0's and P3's tasks"),
        ("flan-templates", released_folder(), "FLAN's released wordings, in place of ours"),
        ("natural-instructions", release_folder(DEFAULT_RELEASE), "Tk-Instruct's tasks"),
        ("vocab", t5_vocabulary_path(), "T5's models, budgets of tokens"),
        ("gpt2", default_merges_path(), "GPT-2's models, demonstrations"),
    ):
        yield Finding(
            name=name,
            ready=path.exists(),
            found=str(path) if path.exists() else "not fetched",
            needed_for=needed_for,
            mend=f"instrux fetch {name}",
        )


def _chromium() -> Finding:
    path = shutil.which("chromium")
    return Finding(
        name="chromium",
        ready=path is not None,
        found=path or "not on PATH",
        needed_for="the tests of web pages",
        mend="apt-get install chromium, or whatever this system has for it",
    )
