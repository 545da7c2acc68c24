"""Options that several commands share, each group as one typed value.

A group is a dataclass with a field for each option; its decorator adds the options to a command and passes one instance
as the keyword argument with the decorator's name.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import wraps
from os import environ
from pathlib import Path
from typing import Any, TypeVar

import click

from dataloader.cli._completion import complete_target
from dataloader.cli._output import Output
from dataloader.cli._requests import Requests
from dataloader.common import ENV_URL, has_too_little_memory
from dataloader.couch import Server, Tls
from dataloader.records import Snapsets, read_snapsets
from dataloader.records.models import model_names
from dataloader.target import Environment, Target, resolve

Function = TypeVar("Function", bound=Callable[..., Any])
PATH = click.Path(readable=False, path_type=Path)
"""A path; that it can't be read is not an error of the command line, and found when it is read."""


class Number(click.FloatRange):
    """A number in a range; click itself accepts ``nan`` in any."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the number."""
        number: float = super().convert(value, param, ctx)
        if math.isnan(number):
            self.fail(f"{value!r} is not a number", param, ctx)
        return number


_TARGET_OPTIONS = (
    click.option("--target", metavar="NAME", shell_complete=complete_target, help="A target from the target file."),
    click.option(
        "--url",
        metavar="URL",
        multiple=True,
        help="The server's URL, instead of --target (default: the environment variable COUCHDB_URL). "
        "Repeat it for each node of a cluster.",
    ),
    click.option(
        "--model", type=click.Choice(model_names()), help="With --url: the document model (default: gpii-token)."
    ),
    click.option(
        "--environment",
        type=click.Choice([each.value for each in Environment]),
        help="With --url: what the target is for; required unless the server is on this machine.",
    ),
    click.option("--prefix", metavar="TEXT", help="With --url: the prefix of the databases' names."),
    click.option(
        "--ca-file",
        type=PATH,
        metavar="FILE",
        help="With --url: the CA certificates to trust instead of the system's.",
    ),
    click.option("--client-cert", type=PATH, metavar="FILE", help="With --url: the client certificate."),
    click.option(
        "--client-key", type=PATH, metavar="FILE", help="The client certificate's key, if it is not in the same file."
    ),
    click.option(
        "--insecure",
        is_flag=True,
        help="With --url: do not verify the server's certificate; refused for staging and production.",
    ),
    click.option("--config", type=PATH, metavar="FILE", help="The target file (default: dataloader.toml)."),
    click.option(
        "--wait",
        type=Number(0, 100_000),
        metavar="SECONDS",
        help="Wait up to this long for a server that is not up yet.",
    ),
)


@dataclass(frozen=True, slots=True)
class TargetOptions:
    """Which CouchDB a command works on."""

    target: str | None
    url: tuple[str, ...]
    model: str | None
    environment: str | None
    prefix: str | None
    ca_file: Path | None
    client_cert: Path | None
    client_key: Path | None
    insecure: bool
    config: Path | None
    wait: float | None

    @property
    def is_named(self) -> bool:
        """Whether a target is given, by an option or the environment."""
        return bool(self.target or self.url or environ.get(ENV_URL))

    def resolve(self) -> Target:
        """Find the target; raises the errors of :func:`dataloader.target.resolve`."""
        tls = Tls(**{each.name: getattr(self, each.name) for each in fields(Tls)})
        return resolve(
            target=self.target,
            url=self.url or None,
            model=self.model,
            environment=self.environment,
            prefix=self.prefix,
            tls=None if tls == Tls() else tls,
            config=self.config,
        )


@dataclass(frozen=True, slots=True)
class SnapsetOptions:
    """The snapsets that a command reads, and how strictly."""

    snapsets_dir: Path | None
    strict: bool


@dataclass(frozen=True, slots=True)
class ReportOptions:
    """Whether a command writes a report, and whether with whole UUIDs."""

    report: Path | None
    full: bool


@dataclass(frozen=True, slots=True)
class HistoryOptions:
    """The earlier runs that a report includes."""

    history: tuple[Path, ...]


def option_group(
    group: type[Any], keyword: str, options: Sequence[Callable[[Callable[..., Any]], Callable[..., Any]]]
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Return a decorator that adds options to a command and passes them as one instance of a dataclass."""
    names = [each.name for each in fields(group)]

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def command(*arguments: Any, **given: Any) -> Any:
            values = {name: given.pop(name) for name in names}
            return function(*arguments, **given, **{keyword: group(**values)})

        for option in reversed(options):
            command = option(command)
        return command

    return decorate


target_options = option_group(TargetOptions, "target_options", _TARGET_OPTIONS)
"""Add the options for the target."""
snapset_options = option_group(
    SnapsetOptions,
    "snapset_options",
    (
        click.option(
            "--snapsets",
            "snapsets_dir",
            type=PATH,
            metavar="DIR",
            help="The folder of the snapsets, or of a folder for each model (default: the built-in ones).",
        ),
        click.option("--strict", is_flag=True, help="Treat unknown terms and broken snapset files as errors."),
    ),
)
"""Add the options for the folder of snapsets."""
report_options = option_group(
    ReportOptions,
    "report_options",
    (
        click.option("--report", type=PATH, metavar="FILE", help="Write a report, one HTML page, to a new file."),
        click.option("--full", is_flag=True, help="Show whole UUIDs instead of their first 8 characters."),
    ),
)
"""Add the options for the report."""


history_options = option_group(
    HistoryOptions,
    "history_options",
    (
        click.option(
            "--history",
            type=PATH,
            multiple=True,
            metavar="FILE",
            help="With --report: a file with the --json output of earlier runs, for a chart over time; repeatable.",
        ),
    ),
)
"""Add the option for the JSON of earlier runs."""


def manifest_argument(*, required: bool) -> Callable[[Function], Function]:
    """Add the argument for manifests."""
    metavar = "MANIFEST..." if required else "[MANIFEST]..."
    return click.argument("manifests", nargs=-1, required=required, type=PATH, metavar=metavar)


def get_target(output: Output, options: TargetOptions) -> Target:
    """Resolve the target, and print its warnings."""
    target = options.resolve()
    output.secrets = target.address.secrets
    output.wait = options.wait
    for warning in target.warnings:
        output.warn(warning)
    return target


def get_snapsets(output: Output, options: SnapsetOptions, target: Target | None = None) -> Snapsets:
    """Read the snapsets for a target, or of all models, and print warnings.

    The folder is that of --snapsets, otherwise the one in the target file, otherwise the built-in one.
    """
    folder = options.snapsets_dir or (None if target is None else target.snapsets)
    snapsets = read_snapsets(folder, None if target is None else target.model.name, strict=options.strict)
    output.warnings(snapsets.warnings)
    return snapsets


def raised_text(target: Target, raised: Mapping[str, Environment]) -> Iterator[str]:
    """Yield warnings about databases that become more protected."""
    for name, environment in raised.items():
        yield (
            f"{name} was loaded as {environment}, and may hold sample data and log-ins from then, which must not be "
            f"in {target.environment}; delete them, or use new databases"
        )


def get_server(target: Target) -> Server:
    """Return the target's server, after waiting until it is up if requested; retries are shown.

    Raises:
        UnreachableError: it is not up after that time.
        MemoryError: too little memory is allowed for the threads that talk to it.
    """
    if has_too_little_memory():
        # Short of memory, a library may end the process without a word.
        raise MemoryError
    output = click.get_current_context().ensure_object(Output)
    server = Server(target.address, watcher=Requests(output))
    if output.wait is not None:
        wait = f"{target.address.url}: waiting up to {output.wait:g} s for the server"
        server.wait(output.wait, lambda why: output.say(f"{wait}: {why}"))
    return server
