"""Words of an answer to a question about a text, as SQuAD's published script compares them."""

import collections
import re
import string

_PUNCTUATION = str.maketrans("", "", string.punctuation)
_ARTICLES = re.compile(r"\b(a|an|the)\b")


def answer_words(text: str) -> list[str]:
    """Words in lower case, without ASCII punctuation and English articles."""
    return without_articles(without_punctuation(text.lower()))


def without_punctuation(text: str) -> str:
    """The text without ASCII punctuation."""
    return text.translate(_PUNCTUATION)


def without_articles(text: str) -> list[str]:
    """The words of a text in lower case that are no article."""
    return _ARTICLES.sub(" ", text).split()


def words_f1(first: str, second: str) -> float:
    """F1 over the words of two texts, 0 to 1; two texts without any agree."""
    words, others = answer_words(first), answer_words(second)
    if not words or not others:
        return float(words == others)
    same = (collections.Counter(words) & collections.Counter(others)).total()
    return 2 * same / (len(words) + len(others))
