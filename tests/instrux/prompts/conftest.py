import pytest

from instrux.errors import InputError
from instrux.prompts import TemplateCollection


@pytest.fixture(scope="session")
def release() -> TemplateCollection:
    """The templates of PromptSource 0.2.3, fetched once into the cache folder."""
    return _load("promptsource-0.2.3")


@pytest.fixture(scope="session")
def older_release() -> TemplateCollection:
    """The templates of PromptSource 0.1.0, which the paper used."""
    return _load("promptsource-0.1.0")


def _load(name: str) -> TemplateCollection:
    try:
        return TemplateCollection.load(name)
    except InputError as error:
        pytest.skip(str(error))  # pip reaches no index here
