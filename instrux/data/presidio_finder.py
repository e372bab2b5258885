"""Personal data found by Presidio's analyser, names included: the extra `presidio` and a spaCy model."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from instrux.data.personal_data import Finding
from instrux.errors import InputError, did_you_mean

MODEL = "en_core_web_lg"
"""The spaCy model that Presidio takes by itself."""
IMPERSONAL = frozenset({"DATE_TIME", "LOCATION", "NRP", "ORGANIZATION", "URL", "UUID"})
"""What says nothing of a person where no name stands beside it, and is what most prompts are about."""
SCORE_THRESHOLD = 0.4
"""Presidio's score of a telephone number alone; numbers of any kind have less."""


class PresidioFinder:
    """Finds personal data with Presidio.

    Attributes:
        entities: Presidio's names of what is looked for.
        score_threshold: what it is less sure of is left alone, from 0 to 1.
    """

    def __init__(
        self,
        *,
        entities: Sequence[str] | None = None,
        model: str = MODEL,
        score_threshold: float = SCORE_THRESHOLD,
        engine: Any = None,
    ) -> None:
        """Starts the analyser, which loads the model; nothing is fetched.

        Args:
            entities: what to look for, such as `PERSON` or `LOCATION`; where None all that it
                knows but `IMPERSONAL`.
            model: a spaCy model, by the name of its package or its folder.
            score_threshold: from 0 to 1.
            engine: an `AnalyzerEngine` set up by hand, for several languages.

        Raises:
            InputError: Presidio or the model is not installed, or there is no such entity.
        """
        self.score_threshold = score_threshold
        self._engine = _engine(model) if engine is None else engine
        self._languages = list(self._engine.supported_languages)
        known = sorted({e for each in self._languages for e in self._supported(each)})
        for entity in entities or ():
            if entity not in known:
                raise InputError(
                    f"presidio looks for no {entity!r}.{did_you_mean(entity, known)}"
                    f" It knows {', '.join(known)}."
                )
        self.entities = list(entities or (each for each in known if each not in IMPERSONAL))

    def _supported(self, language: str) -> list[str]:
        return self._engine.get_supported_entities(language)

    def find(self, text: str, language: str | None) -> list[Finding]:
        """Gives what is personal; a text in a language without a model is read as in the first."""
        known = next((each for each in self._languages if each == language), self._languages[0])
        supported = set(self._supported(known))
        results = self._engine.analyze(
            text=text,
            language=known,
            entities=[entity for entity in self.entities if entity in supported],
            score_threshold=self.score_threshold,
        )
        return [
            Finding(each.start, each.end, each.entity_type.lower(), "presidio") for each in results
        ]


def _engine(model: str) -> Any:
    try:
        import spacy  # pyright: ignore[reportMissingImports]
        import tldextract  # pyright: ignore[reportMissingImports]
        from presidio_analyzer import (  # pyright: ignore[reportMissingImports]
            AnalyzerEngine,
        )
        from presidio_analyzer.nlp_engine import (  # pyright: ignore[reportMissingImports]
            SpacyNlpEngine,
        )
    except ImportError as error:
        raise InputError(
            "personal_data is 'presidio', which needs `pip install 'instrux[presidio]'` and a "
            "spaCy model; 'patterns' needs neither."
        ) from error
    # Presidio would fetch a model that is not there, which may fail, and takes half a gigabyte.
    if not (spacy.util.is_package(model) or Path(model).exists()):
        raise InputError(
            f"there is no spaCy model {model!r} here: `python -m spacy download {model}` fetches one,"
            " and personal_data_model names another, or a folder."
        )
    try:
        pipeline = spacy.load(model)
    except (OSError, ValueError, ImportError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"the spaCy model {model!r} cannot be loaded ({reason}).") from error
    # It would ask the network for today's list of domains: another day, other findings.
    tldextract.tldextract.TLD_EXTRACTOR = tldextract.TLDExtract(suffix_list_urls=())
    language = str(pipeline.lang)
    engine = SpacyNlpEngine(models=[{"lang_code": language, "model_name": model}])
    engine.nlp = {language: pipeline}
    return AnalyzerEngine(nlp_engine=engine, supported_languages=[language])
