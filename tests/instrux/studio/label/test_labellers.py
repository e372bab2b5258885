"""Tokens and sessions."""

from instrux.studio.label import labellers
from instrux.studio.label.study import opened


def test_a_token_signs_in_its_owner_alone_and_is_not_in_the_file(make):
    path = make()
    with opened(path, write=True) as database:
        token = labellers.add(database, name="anna")
        labellers.add(database, name="ben")
        secret = labellers.sign_in(database, name="anna", token=f" {token.upper()} ")
        assert secret is not None
        assert labellers.sign_in(database, name="ben", token=token) is None
        assert labellers.sign_in(database, name="nobody", token=token) is None
        assert labellers.sign_in(database, name="anna", token="") is None
        found = labellers.signed_in(database, secret)
        assert found is not None and found.name == "anna"
    content = b"".join(file.read_bytes() for file in path.parent.glob("study.db*"))
    assert token.encode() not in content and secret.encode() not in content
    with opened(path, write=True) as database:
        assert labellers.renew(database, "anna") != token
        assert labellers.signed_in(database, secret) is None
        assert labellers.sign_in(database, name="anna", token=token) is None


def test_a_labeller_from_elsewhere_cannot_sign_in_without_a_token(make):
    with opened(make(), write=True) as database:
        labellers.imported(database, name="far", group="")
        database.execute("UPDATE labellers SET active = 1")
        assert labellers.sign_in(database, name="far", token="") is None
