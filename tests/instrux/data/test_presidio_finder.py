"""Presidio as a finder of personal data: what it is asked, and what it says where it is installed."""

from types import SimpleNamespace

import pytest

from instrux.data.personal_data import remove
from instrux.data.presidio_finder import PresidioFinder
from instrux.errors import InputError


class Engine:
    """Stands in for an `AnalyzerEngine` of two languages."""

    supported_languages = ("en", "de")

    def __init__(self):
        self.asked = []

    def get_supported_entities(self, language):
        return ["PERSON", "DATE_TIME", *(["DE_ID"] if language == "de" else [])]

    def analyze(self, **arguments):
        self.asked.append(arguments)
        return [SimpleNamespace(start=0, end=3, entity_type="PERSON")]


def test_presidio_is_asked_in_a_language_that_it_knows_for_what_is_personal():
    engine = Engine()
    finder = PresidioFinder(engine=engine)
    assert remove("Ann is here", finder.find("Ann is here", "fr"))[0] == "[PERSON] is here"
    finder.find("Ann", "de")
    asked = [(each["language"], each["entities"]) for each in engine.asked]
    assert asked == [("en", ["PERSON"]), ("de", ["DE_ID", "PERSON"])]
    PresidioFinder(engine=engine, entities=["DATE_TIME"]).find("1999", "en")
    assert engine.asked[-1]["entities"] == ["DATE_TIME"]
    with pytest.raises(InputError, match=r"no 'PERSONS'\. Did you mean 'PERSON'"):
        PresidioFinder(engine=engine, entities=["PERSONS"])


def test_without_presidio_its_name_says_what_to_install():
    try:
        import presidio_analyzer  # noqa: F401  # pyright: ignore[reportMissingImports]
    except ImportError:
        with pytest.raises(InputError, match=r"instrux\[presidio\]"):
            PresidioFinder()
    else:
        pytest.skip("presidio is installed")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A spaCy model that knows one name and one place by rule."""
    pytest.importorskip("presidio_analyzer")
    import spacy  # pyright: ignore[reportMissingImports]

    pipeline = spacy.blank("en")
    rules = pipeline.add_pipe("entity_ruler")
    rules.add_patterns(
        [{"label": "PERSON", "pattern": "Ada Lovelace"}, {"label": "GPE", "pattern": "Paris"}]
    )
    folder = tmp_path_factory.mktemp("model") / "ruler"
    pipeline.to_disk(folder)
    return str(folder)


def test_presidio_itself_takes_names_and_numbers_and_leaves_places_and_dates(model, caplog):
    text = (
        "Ada Lovelace wrote from Paris on 3/4/1999 to ada@example.org, card 4111 1111 1111 1111,"
        " SSN 536-90-4399, phone +44 20 7946 0958; version 1.2.3, order 12345678."
    )
    left, removed = remove(text, PresidioFinder(model=model).find(text, "fr"))
    assert left == (
        "[PERSON] wrote from Paris on 3/4/1999 to [EMAIL_ADDRESS], card [CREDIT_CARD],"
        " SSN [US_SSN], phone [PHONE_NUMBER]; version 1.2.3, order 12345678."
    )
    assert removed[0].shape == "xxx xxxxxxxx" and removed[0].rule == "presidio"
    places = PresidioFinder(model=model, entities=["LOCATION"]).find(text, None)
    assert [text[each.start : each.end] for each in places] == ["Paris"]
    assert "Public Suffix List" not in caplog.text  # the network was not asked


def test_a_model_that_is_not_there_is_told_and_not_fetched(model, tmp_path):
    with pytest.raises(InputError, match="no spaCy model 'en_core_web_xxl' here: `python -m spacy"):
        PresidioFinder(model="en_core_web_xxl")
    with pytest.raises(InputError, match="cannot be loaded"):
        PresidioFinder(model=str(tmp_path))
