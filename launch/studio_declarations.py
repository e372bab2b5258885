"""What is declared, for the studio's pages: registered at its first use, as that takes seconds."""

import threading
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from instrux.data.name_families import Kind, listed_names, name_families
from launch.mixture_facts import MixtureFacts, mixture_facts

_KEPT_MIXTURES = 16
_PATIENCE_SECONDS = 300.0


class RegisteredDeclarations:
    """Tasks and mixtures of SeqIO's registries; satisfies the studio's `Declarations`.

    Attributes:
        data_dirs: data folders, whose packed sets know the lengths of examples.
    """

    def __init__(self, module_imports: Sequence[str], data_dirs: Sequence[Path]) -> None:
        self.data_dirs = tuple(data_dirs)
        self._module_imports = tuple(module_imports)
        self._lock = threading.RLock()
        self._loading: threading.Thread | None = None
        self._loaded = threading.Event()
        self._problem: BaseException | None = None
        self._facts = lru_cache(maxsize=_KEPT_MIXTURES)(self._read_facts)

    def ready(self, seconds: float) -> bool:
        """Starts to register, at the first call, and waits; whether all is registered.

        Raises:
            InputError: a module of the user's cannot be imported.
        """
        with self._lock:
            if self._loading is None:
                self._loading = threading.Thread(target=self._load, daemon=True)
                self._loading.start()
        loaded = self._loaded.wait(seconds)
        if self._problem is not None:
            raise self._problem
        return loaded

    def mixtures(self) -> Sequence[str]:
        """Names of all mixtures, those of families too, in order."""
        with self._lock:
            return self._listed(self._seqio().MixtureRegistry, "mixtures")

    def tasks(self) -> Sequence[str]:
        """Names of all tasks, those of families too, in order."""
        with self._lock:
            return self._listed(self._seqio().TaskRegistry, "tasks")

    def families(self, kind: Kind) -> Mapping[str, Sequence[str]]:
        """Names that rules define, by how a rule spells them; none where they are endless."""
        with self._lock:
            self._seqio()
            families = [family for family in name_families() if family.is_of(kind)]
            return {family.spelling: sorted(family.names()) for family in families}

    def mixture(self, name: str) -> MixtureFacts:
        """Facts of a mixture; registers it where a family defines it."""
        with self._lock:
            self._seqio()
            return self._facts(name, self._packed(name))

    def task(self, name: str) -> Mapping[str, Any]:
        """Facts of a task."""
        from launch.show_task import task_facts

        with self._lock:
            self._seqio()
            return task_facts(name)

    def _listed(self, registry: Any, kind: Kind) -> list[str]:
        return sorted({*registry.names(), *listed_names(kind)})

    def _load(self) -> None:
        try:
            from launch import declarations

            declarations.load(self._module_imports)
        except BaseException as error:
            self._problem = error
        finally:
            self._loaded.set()

    def _seqio(self) -> Any:
        self.ready(_PATIENCE_SECONDS)
        import seqio

        return seqio

    def _packed(self, name: str) -> Path | None:
        """A data folder with a packed set of the mixture, or None."""
        from launch.mixture_tokens import newest_packed

        return next((each for each in self.data_dirs if newest_packed(name, str(each))), None)

    def _read_facts(self, name: str, data_dir: Path | None) -> MixtureFacts:
        from instrux.data import registration
        from launch.mixture_tokens import token_counts

        if data_dir is None:
            return mixture_facts(name)
        tasks = registration.mixture_rates(name)
        counts = token_counts(name, tasks, data_dir=str(data_dir), vocabulary=None)
        return mixture_facts(name, counts)
