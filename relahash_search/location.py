"""Where an index lies: a folder, or an address of PostgreSQL, whose password no message shows."""

import re
from pathlib import Path

ADDRESSES = ("postgresql://", "postgres://")
# What belongs to an address of some kind, but to no folder that anybody has: a mistyped one may hold a password.
ADDRESS_PARTS = re.compile(r"://|\b(password|passfile|host|hostaddr|dbname)\s*=", re.IGNORECASE)
SECRETS = (
    re.compile(r"(\w{2,}:/+)\S.*?(?=@)"),  # user:password@, also where the password has blanks or slashes
    re.compile(r"(password\s*=\s*)('[^']*'|[^\s&]+)", re.IGNORECASE),
)


def is_address(location: str | Path) -> bool:
    """Tell an address of PostgreSQL from a folder.

    Raises:
        ValueError: It is neither; the message does not repeat it.
    """
    text = str(location)
    if text.startswith(ADDRESSES):
        return True
    if ADDRESS_PARTS.search(text):
        allowed = "a folder, or postgresql://USER@HOST/DATABASE in small letters (password: PGPASSWORD or ~/.pgpass)"
        raise ValueError(f"index: an address of another kind is given; allowed: {allowed}")
    return False


def absolute_location(location: str | Path) -> str:
    """A location as it is named from another working directory; a `~` is the home folder."""
    if is_address(location):
        return str(location)
    return str(Path(location).expanduser().absolute())


def hide_secrets(text: str) -> str:
    """Replace what may be a password in a message by three dots.

    Example:
        >>> hide_secrets("no such file: postgresql://me:secret@host/pictures")
        'no such file: postgresql://...@host/pictures'
    """
    for secret in SECRETS:
        text = secret.sub(r"\1...", text)
    return text
