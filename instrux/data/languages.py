"""The language of a text, by py3langid (langid.py is what InstructGPT's authors used)."""

from typing import Any

from instrux.errors import InputError


class LanguageFinder:
    """Tells languages apart. The same text always gives the same code."""

    def __init__(self) -> None:
        """Loads the model.

        Raises:
            InputError: py3langid is not installed.
        """
        try:
            import py3langid
        except ImportError as error:
            raise InputError(
                "to detect languages takes `pip install 'instrux[languages]'`; rows may say "
                "`language` themselves."
            ) from error
        self._langid: Any = py3langid

    def find(self, text: str) -> str:
        """Gives the code of the most likely language, such as `en`."""
        return str(self._langid.classify(text)[0])
