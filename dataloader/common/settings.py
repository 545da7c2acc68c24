"""Names of environment variables, defaults with their units, and where the data lies.

Everything that can be set from outside stands here, so that it is found in one place.
"""

from dataclasses import dataclass
from os import environ
from pathlib import Path

from dataloader.common.errors import UsageError

ENV_URL = "COUCHDB_URL"
"""The server's URL, where neither ``--target`` nor ``--url`` is given; may hold user and password.

Several, with blanks between them, are the nodes of one cluster.
"""
ENV_USER = "COUCHDB_USER"
"""The user's name."""
ENV_PASSWORD = "COUCHDB_PASSWORD"  # noqa: S105 - the name of a variable, not a password
"""The user's password."""
ENV_PASSWORD_FILE = "COUCHDB_PASSWORD_FILE"  # noqa: S105 - the name of a variable, not a password
"""A file that holds the password, as container secrets are given."""
ENV_NETRC = "NETRC"
"""The file with users and passwords by host, where none of these is said; default ``.netrc`` in the home folder."""
ENV_CONFIG = "DATALOADER_CONFIG"
"""The target file; default ``dataloader.toml`` in the current folder."""
ENV_TIMEOUT = "DATALOADER_TIMEOUT"
"""Seconds to wait for a reply, more than 0; default 30."""
ENV_CONNECT_TIMEOUT = "DATALOADER_CONNECT_TIMEOUT"
"""Seconds to wait for a connection, and for a request to be sent on it, more than 0; default 10."""
ENV_RETRIES = "DATALOADER_RETRIES"
"""How often a failed request is repeated, besides once at each further node; default 6."""
ENV_RETRY_WAIT = "DATALOADER_RETRY_WAIT"
"""Seconds before the first repeat, doubled each time up to 8; 0 switches waiting off; default 0.25."""
ENV_RETRY_TOTAL = "DATALOADER_RETRY_TOTAL"
"""Seconds that a run may lose to failed requests and the waits before repeats, or one reply take; default 300."""
ENV_PROGRESS_INTERVAL = "DATALOADER_PROGRESS_INTERVAL"
"""Seconds between lines of progress where stderr is no terminal; default 30."""
ENV_JOB_INDEX = "JOB_COMPLETION_INDEX"
"""With ``load --parts N``: which part, from 0; Kubernetes sets it in an indexed job."""
ENV_CACHE_DIR = "DATALOADER_CACHE_DIR"
"""Where the embedded server is installed; default the user's cache folder."""

CONFIG_FILE = "dataloader.toml"
CONNECTIONS = 8
"""Requests under way at once."""
BATCH_DOCUMENTS = 500
"""Documents a request."""
RETRY_WAIT_MAX = 8.0
"""Seconds, the longest wait of our own before a repeat."""
RETRY_AFTER_MAX = 60.0
"""Seconds, the longest wait that a server's Retry-After is granted."""
RETRY_JITTER = 0.25
"""Seconds, the random part of each wait, so that many loaders do not come back at once."""
INDEX_WAIT = 10.0
"""Seconds that a request waits for a view's index; it is made again until the index is built."""
INDEX_LOOK = 1.0
"""Seconds between looks at how far an index has come."""
INDEX_STILL = 1800.0
"""Seconds after which an index that has not grown is given up; some servers never tell of its growth."""
NODES_LOOK = 5.0
"""Seconds between looks at whether all nodes of a cluster are there, while it is written to."""
NODES_WAIT = 30.0
"""Seconds that a change to existing documents waits for nodes of the cluster that are away."""
MAX_SETTING = 100_000
"""The largest number that a variable may set: seconds (a day and more) or retries."""
UP_LOOK = 0.5
"""Seconds between looks at whether a server is up, with ``--wait``."""
MAX_CARDS = 1_000_000
"""Cards in a batch; an .xlsx sheet holds 1,048,576 rows."""

_PACKAGE = Path(__file__).resolve().parents[1]


def data_dir(name: str) -> Path:
    """Return the folder of the project's data: ``schemas``, ``snapsets`` or ``samples``.

    An installed package carries them under ``dataloader/data/``; in a source tree they stand at the top.
    """
    installed = _PACKAGE / "data" / name
    return installed if installed.is_dir() else _PACKAGE.parent / name


def views_dir() -> Path:
    """Return the folder of the map functions, ``MODEL/DATABASE/DESIGN/VIEW.js`` below it."""
    return _PACKAGE / "records" / "views"


def layouts_dir() -> Path:
    """Return the folder of the layouts of exported batches, ``NAME.json5``."""
    return _PACKAGE / "vendor" / "layouts"


def _number(name: str, default: float, *, zero: bool = True) -> float:
    text = environ.get(name)
    if not text:
        return default
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= MAX_SETTING or not (value or zero):
        rule = f"must be a number, {'0 or more' if zero else 'more than 0'} and at most {MAX_SETTING:,}"
        raise UsageError(f"{name}={text}", rule=rule, todo="correct or unset it")
    return value


def progress_interval() -> float:
    """Return the seconds between lines of progress where stderr is no terminal.

    Raises:
        UsageError: the variable does not hold a number.
    """
    return _number(ENV_PROGRESS_INTERVAL, 30.0)


@dataclass(frozen=True, slots=True)
class Patience:
    """How long requests are waited for and repeated; all times in seconds."""

    timeout: float = 30.0
    """How long a reply is waited for."""
    retries: int = 6
    wait: float = 0.25
    """The first wait before a repeat; the next are longer. 0 switches waiting off."""
    total: float = 300.0
    """How much a run may lose to failed requests and to waits, exceeded by one time-out at most."""
    connect: float = 10.0
    """How long a connection is waited for, and a request's way into it."""

    @classmethod
    def from_environment(cls) -> "Patience":
        """Read the settings.

        Raises:
            UsageError: a variable does not hold a number.
        """
        default = cls()
        return cls(
            timeout=_number(ENV_TIMEOUT, default.timeout, zero=False),
            retries=int(_number(ENV_RETRIES, default.retries)),
            wait=_number(ENV_RETRY_WAIT, default.wait),
            total=_number(ENV_RETRY_TOTAL, default.total),
            connect=_number(ENV_CONNECT_TIMEOUT, default.connect, zero=False),
        )
