"""Single public files that are fetched once, from the hub or a local copy, and checked."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from instrux.data.files import write_atomically
from instrux.errors import InputError


@dataclass(frozen=True)
class PublishedFile:
    """A file of a public repository on the Hugging Face hub.

    Attributes:
        title: what it is, as in `T5's vocabulary`.
        repository: `owner/name` on the hub.
        name: the file's name there.
        sha256: its digest, as hex digits.
    """

    title: str
    repository: str
    name: str
    sha256: str

    def fetch(self, target: Path, source: str | None) -> Path:
        """Puts the file at `target`, unless it is there already.

        Args:
            target: where it goes.
            source: a local copy of it; the hub where None.

        Raises:
            InputError: it cannot be had or written, or its digest is another.
        """
        if target.is_file() and _sha256(target.read_bytes()) == self.sha256:
            return target
        found = Path(source).expanduser() if source is not None else self._from_hub()
        try:
            content = found.read_bytes()
        except OSError as error:
            raise InputError(
                f"{found}: cannot be read ({error.strerror or error}); give the path of"
                f" {self.title} by --source"
            ) from error
        if (digest := _sha256(content)) != self.sha256:
            raise InputError(
                f"{found} is not {self.title}: its sha256 is {digest}, not {self.sha256}"
            )
        try:
            write_atomically(target, [content])
        except OSError as error:
            raise InputError(
                f"{target}: cannot be written ({error.strerror or error});"
                " set INSTRUX_CACHE to a folder that can be"
            ) from error
        return target

    def _from_hub(self) -> Path:
        try:
            import huggingface_hub
        except ImportError as error:
            raise InputError(
                f"fetching {self.title} from the hub needs the extra `hf`: pip install"
                " 'instrux[hf]'; or give a local copy by --source"
            ) from error
        try:
            return Path(huggingface_hub.hf_hub_download(self.repository, self.name))
        except Exception as error:  # the hub's client raises errors of many libraries
            raise InputError(
                f"cannot fetch {self.name} of {self.repository} from the hub ({error});"
                " give a local copy by --source"
            ) from error


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
