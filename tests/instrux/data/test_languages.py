from instrux.data.languages import LanguageFinder


def test_languages_are_told_apart():
    finder = LanguageFinder()
    assert finder.find("Guten Tag, wie geht es Ihnen heute?") == "de"
    assert finder.find("Write a short story about a frog.") == "en"
    assert finder.find("Écris une petite histoire sur une grenouille.") == "fr"
