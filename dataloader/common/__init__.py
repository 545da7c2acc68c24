"""Code that knows nothing about cards: errors, settings, files, JSON, schemas, progress, clock, words.

Modules are imported when one of their names is first used: ``--version`` needs only the errors, and importing the
libraries behind the rest takes several times as long as importing click.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dataloader.common.clock import now
    from dataloader.common.errors import (
        SHOWN_PROBLEMS,
        AttentionError,
        CredentialsError,
        DataloaderError,
        EmbeddedServerError,
        ExitCode,
        FileError,
        InputError,
        NodesError,
        Problem,
        ProtectedError,
        ProtocolError,
        TooLargeError,
        UnreachableError,
        UsageError,
        VerifyError,
        bounded,
        raise_problems,
        short,
        tell_how_far,
    )
    from dataloader.common.escaping import printable, printable_json
    from dataloader.common.files import (
        bare_password,
        files_below,
        new_files,
        read_file,
        read_password_file,
        require_file,
        temporary_root,
    )
    from dataloader.common.json5 import read_json5
    from dataloader.common.memory import has_too_little_memory, memory_limit, raise_if_short, too_little_memory
    from dataloader.common.nesting import flattened, without_large_numbers
    from dataloader.common.pages import page
    from dataloader.common.progress import OnProgress
    from dataloader.common.revision import (
        DIGITS,
        IMPOSSIBLE,
        MAX_SAFE_INTEGER,
        Document,
        Prepared,
        canonical,
        certifies_itself,
        content,
        content_hash,
        history,
        live_leaves,
        normal,
        prepare,
        rank,
        says,
        says_as_is,
    )
    from dataloader.common.schemas import has_schema
    from dataloader.common.secrets import Secrets
    from dataloader.common.settings import (
        BATCH_DOCUMENTS,
        CONFIG_FILE,
        CONNECTIONS,
        ENV_CACHE_DIR,
        ENV_CONFIG,
        ENV_JOB_INDEX,
        ENV_NETRC,
        ENV_PASSWORD,
        ENV_PASSWORD_FILE,
        ENV_RETRIES,
        ENV_RETRY_TOTAL,
        ENV_TIMEOUT,
        ENV_URL,
        ENV_USER,
        INDEX_LOOK,
        INDEX_STILL,
        INDEX_WAIT,
        MAX_CARDS,
        NODES_LOOK,
        NODES_WAIT,
        RETRY_AFTER_MAX,
        RETRY_JITTER,
        RETRY_WAIT_MAX,
        UP_LOOK,
        Patience,
        data_dir,
        layouts_dir,
        progress_interval,
        target_file,
        views_dir,
    )
    from dataloader.common.validation import explain, is_valid
    from dataloader.common.version import VERSION
    from dataloader.common.words import (
        UUID,
        are,
        card_numbers,
        did_you_mean,
        listed,
        many,
        ranges,
        shorten_uuids,
        which_of,
        without_uuids,
    )

__all__ = [
    "BATCH_DOCUMENTS",
    "CONFIG_FILE",
    "CONNECTIONS",
    "DIGITS",
    "ENV_CACHE_DIR",
    "ENV_CONFIG",
    "ENV_JOB_INDEX",
    "ENV_NETRC",
    "ENV_PASSWORD",
    "ENV_PASSWORD_FILE",
    "ENV_RETRIES",
    "ENV_RETRY_TOTAL",
    "ENV_TIMEOUT",
    "ENV_URL",
    "ENV_USER",
    "IMPOSSIBLE",
    "INDEX_LOOK",
    "INDEX_STILL",
    "INDEX_WAIT",
    "MAX_CARDS",
    "MAX_SAFE_INTEGER",
    "NODES_LOOK",
    "NODES_WAIT",
    "RETRY_AFTER_MAX",
    "RETRY_JITTER",
    "RETRY_WAIT_MAX",
    "SHOWN_PROBLEMS",
    "UP_LOOK",
    "UUID",
    "VERSION",
    "AttentionError",
    "CredentialsError",
    "DataloaderError",
    "Document",
    "EmbeddedServerError",
    "ExitCode",
    "FileError",
    "InputError",
    "NodesError",
    "OnProgress",
    "Patience",
    "Prepared",
    "Problem",
    "ProtectedError",
    "ProtocolError",
    "Secrets",
    "TooLargeError",
    "UnreachableError",
    "UsageError",
    "VerifyError",
    "are",
    "bare_password",
    "bounded",
    "canonical",
    "card_numbers",
    "certifies_itself",
    "content",
    "content_hash",
    "data_dir",
    "did_you_mean",
    "explain",
    "files_below",
    "flattened",
    "has_schema",
    "has_too_little_memory",
    "history",
    "is_valid",
    "layouts_dir",
    "listed",
    "live_leaves",
    "many",
    "memory_limit",
    "new_files",
    "normal",
    "now",
    "page",
    "prepare",
    "printable",
    "printable_json",
    "progress_interval",
    "raise_if_short",
    "raise_problems",
    "ranges",
    "rank",
    "read_file",
    "read_json5",
    "read_password_file",
    "require_file",
    "says",
    "says_as_is",
    "schema_problems",
    "short",
    "shorten_uuids",
    "target_file",
    "tell_how_far",
    "temporary_root",
    "too_little_memory",
    "views_dir",
    "which_of",
    "without_large_numbers",
    "without_uuids",
]

_MODULES = (
    *("version", "clock", "escaping", "pages", "progress", "words", "nesting", "errors", "memory", "secrets"),
    *("settings", "files", "revision", "schemas", "json5", "validation"),
)
"""The modules in which to look for a name, one after the other: those that import little come first."""


def __getattr__(name: str) -> Any:
    """Import modules until one of them has the name."""
    for module in _MODULES if name in __all__ else ():
        found = vars(import_module(f"{__name__}.{module}"))
        if name in found:
            globals()[name] = found[name]
            return found[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
