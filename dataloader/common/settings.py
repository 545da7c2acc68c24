"""Environment variables, default values with their units, and the folders of data files.

Everything that can be configured from outside is defined here.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from os import environ
from pathlib import Path

from dataloader.common.errors import UsageError

ENV_URL = "COUCHDB_URL"
"""The server's URL, if neither ``--target`` nor ``--url`` is given; may contain user and password.

Several URLs, separated by spaces, are the nodes of one cluster.
"""
ENV_USER = "COUCHDB_USER"
"""The user's name."""
ENV_PASSWORD = "COUCHDB_PASSWORD"  # noqa: S105 - the name of a variable, not a password
"""The user's password."""
ENV_PASSWORD_FILE = "COUCHDB_PASSWORD_FILE"  # noqa: S105 - the name of a variable, not a password
"""A file that contains the password, as container secrets do."""
ENV_NETRC = "NETRC"
"""The file with users and passwords by host, used if none of these is set; default ``.netrc`` in the home folder."""
ENV_CONFIG = "DATALOADER_CONFIG"
"""The target file; default ``dataloader.toml`` in the current folder."""
ENV_TIMEOUT = "DATALOADER_TIMEOUT"
"""Seconds to wait for a reply, more than 0; default 30."""
ENV_CONNECT_TIMEOUT = "DATALOADER_CONNECT_TIMEOUT"
"""Seconds to wait for a connection and for sending a request, more than 0; default 10."""
ENV_RETRIES = "DATALOADER_RETRIES"
"""Maximum number of retries of a request; each further node also gets one try. Default 6."""
ENV_RETRY_WAIT = "DATALOADER_RETRY_WAIT"
"""Seconds before the first retry; doubles each time up to 8; 0 turns waiting off; default 0.25."""
ENV_RETRY_TOTAL = "DATALOADER_RETRY_TOTAL"
"""Seconds that a run may lose to failed requests and waits, or that one reply may take; default 300."""
ENV_PROGRESS_INTERVAL = "DATALOADER_PROGRESS_INTERVAL"
"""Seconds between progress lines if stderr is not a terminal; default 30."""
ENV_JOB_INDEX = "JOB_COMPLETION_INDEX"
"""The part to load, from 0, with ``load --parts N``; Kubernetes sets it in an indexed job."""
ENV_CACHE_DIR = "DATALOADER_CACHE_DIR"
"""Where the embedded server is installed; default the user's cache folder."""

CONFIG_FILE = "dataloader.toml"
CONNECTIONS = 8
"""Concurrent requests."""
BATCH_DOCUMENTS = 500
"""Documents per request."""
RETRY_WAIT_MAX = 8.0
"""The longest wait before a retry, in seconds, unless the server asks for more."""
RETRY_AFTER_MAX = 60.0
"""The longest wait that a server's Retry-After header can ask for, in seconds."""
RETRY_JITTER = 0.25
"""The longest random addition to each wait, in seconds, so that many loaders do not retry at once."""
INDEX_WAIT = 10.0
"""Seconds to wait for a view's index in one request; the request is repeated until the index is built."""
INDEX_LOOK = 1.0
"""Seconds between checks of an index's progress."""
INDEX_STILL = 1800.0
"""Seconds without progress after which waiting for an index ends; some servers never report progress."""
NODES_LOOK = 5.0
"""Seconds between checks of whether all cluster nodes are connected, during writes."""
NODES_WAIT = 30.0
"""Seconds that a change to existing documents waits for cluster nodes that are not connected."""
MAX_SETTING = 100_000
"""The largest value of a numeric variable: seconds (more than a day) or retries."""
UP_LOOK = 0.5
"""Seconds between checks of whether a server is up, with ``--wait``."""
MAX_CARDS = 1_000_000
"""The most cards in a batch; an .xlsx sheet has at most 1,048,576 rows."""

_PACKAGE = Path(__file__).resolve().parents[1]


def data_dir(name: str) -> Path:
    """Return the folder of data files: ``schemas``, ``snapsets`` or ``samples``.

    An installed package has them under ``dataloader/data/``, a source tree at the top.
    """
    installed = _PACKAGE / "data" / name
    return installed if installed.is_dir() else _PACKAGE.parent / name


def views_dir() -> Path:
    """Return the folder of the map functions: ``MODEL/DATABASE/DESIGN/VIEW.js``."""
    return _PACKAGE / "records" / "views"


def layouts_dir() -> Path:
    """Return the folder of the layouts of exported batches: ``NAME.json5``."""
    return _PACKAGE / "vendor" / "layouts"


def target_file(given: Path | None = None, variables: Mapping[str, str] = environ) -> Path:
    """Return the path of the target file: the given one, that of the variable, or the default one."""
    return given or Path(variables.get(ENV_CONFIG) or CONFIG_FILE)


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
    """Return the seconds between progress lines if stderr is not a terminal.

    Raises:
        UsageError: the variable is not a number.
    """
    return _number(ENV_PROGRESS_INTERVAL, 30.0)


@dataclass(frozen=True, slots=True)
class Patience:
    """Timeouts and retries of requests; all times in seconds."""

    timeout: float = 30.0
    """How long to wait for a reply."""
    retries: int = 6
    wait: float = 0.25
    """The wait before the first retry; later waits are longer. 0 turns waiting off."""
    total: float = 300.0
    """The total time a run may lose to failed requests and waits; one timeout may exceed it."""
    connect: float = 10.0
    """How long to wait for a connection, and for sending a request."""

    @classmethod
    def from_environment(cls) -> "Patience":
        """Read the settings from environment variables.

        Raises:
            UsageError: a variable is not a number.
        """
        default = cls()
        return cls(
            timeout=_number(ENV_TIMEOUT, default.timeout, zero=False),
            retries=int(_number(ENV_RETRIES, default.retries)),
            wait=_number(ENV_RETRY_WAIT, default.wait),
            total=_number(ENV_RETRY_TOTAL, default.total),
            connect=_number(ENV_CONNECT_TIMEOUT, default.connect, zero=False),
        )
