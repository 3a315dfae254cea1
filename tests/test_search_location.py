"""A folder is a folder, an address an address; what is neither is refused, and no message shows a password."""

import pytest

from relahash_search.location import absolute_location, hide_secrets, is_address


@pytest.mark.parametrize("location", ["postgresql://me@host/pictures", "postgres://me:secret@host:5432/x?a=b"])
def test_an_address(location):
    assert is_address(location)
    assert absolute_location(location) == location


@pytest.mark.parametrize("location", ["photos.index", "/a/b c", "C:\\photos", "~/x", "host", "pass word"])
def test_a_folder(location):
    assert not is_address(location)
    assert absolute_location(location).startswith("/")


@pytest.mark.parametrize(
    "location",
    [
        "PostgreSQL://me:secret@host/x",
        "pgsql://me:secret@host/x",
        " postgresql://me:secret@host/x",
        "postgresql+psycopg://me:secret@host/x",
        "host=localhost password=secret dbname=x",
        "dbname=x PASSWORD = secret",
        "host=localhost dbname=x",
    ],
)
def test_what_is_neither_is_refused_without_its_password(location):
    with pytest.raises(ValueError, match="index") as caught:
        is_address(location)
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "no such file: postgresql://me:secret@host/x",
        "postgresql://me:se cret@host/x and postgres://me:secret@b/y",
        "pg://me:s/e:cret@host",
        "host=h password=secret user=me",
        "host=h password='se cret' user=me",
        "postgresql://host/x?password=secret&user=me",
    ],
)
def test_secrets_are_hidden_and_the_rest_stays(text):
    hidden = hide_secrets(text)
    assert "cret" not in hidden
    assert "h" in hidden


def test_other_text_stays_as_it_is():
    for text in ("/a/b@c.jpg: broken", "https://example.org/a.jpg", "passwords are in ~/.pgpass"):
        assert hide_secrets(text) == text
