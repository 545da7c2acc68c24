"""What to type next after a successful command: one line, on a terminal.

Each is a command that can be typed as it is; only the name of the vendor's file is not known yet: ``RETURNED``.
"""

import re
from os import environ
from pathlib import Path
from shlex import quote

import click
from click.core import ParameterSource

from dataloader.cli._command import GROUPS
from dataloader.common import ENV_URL, DataloaderError, target_file
from dataloader.target import read_targets

FOLLOWING = {
    "export": "send the file to the vendor, then dataloader reconcile {manifests} RETURNED",
    "validate": "dataloader batches",
    "check": "dataloader batches{target}",
    "load": "dataloader verify {manifests}{target}",
    "merge": "dataloader verify {manifests}{target}",
    "verify": "dataloader status {manifests}{target}",
    "status": "dataloader batches{beside}{target}",
    "revoke": "dataloader status {manifests}{target}",
    "backup": "dataloader backups list {backups}{password}",
    "restore": "dataloader check{target}",
    "backups": "dataloader backups list {folder}{password}",
    "drill": "dataloader backup {backups}{target}{password}",
    "taps": "dataloader status {manifests}{target}",
    "recover": "dataloader batches{out}",
    "snapsets": "dataloader snapsets list{target}",
    "credentials": "dataloader check{target}",
    "tokens": "dataloader check{target}",
    "drop": "dataloader seed{target}",
    "seed": "dataloader check{target}",
}
"""The next step after each command that does not print its own."""
WITHOUT_MANIFESTS = "dataloader check{target}"
"""The next step if the usual one needs manifests, and the command was given none."""
INIT = "dataloader init"
"""The next step where no target is known."""
_SHARED = (*GROUPS["Target"], *(each for each in GROUPS["Connection"] if each != "wait"), "snapsets_dir")
"""Options that the next command needs, too; the server is up by then."""
_CREDENTIALS = re.compile("(?<=//)[^/@]*@")


def next_after(context: click.Context) -> str | None:
    """Return what to type next after a command, with the options for this target."""
    following = FOLLOWING.get(context.info_name or "")
    if following is None:
        return None
    given = context.params
    if context.info_name == "drill" and given.get("backups"):
        # It has kept its backup there.
        following = FOLLOWING["backup"]
    manifests = manifest_words(context)
    if "{manifests}" in following and not manifests:
        following = WITHOUT_MANIFESTS
    beside = {str(Path(each).parent) for each in given.get("manifests") or ()}
    where = given.get("where")
    backups = str(given.get("backups") or "backups/") if where is None else where
    return following.format(
        manifests=manifests,
        target=target_words(context),
        folder=quote(str(given.get("folder") or ".")),
        beside=f" {quote(beside.pop())}" if len(beside) == 1 and beside != {"."} else "",
        backups=quote(backups if where is None or Path(where).is_dir() else str(Path(where).parent)),
        password=option_words(context, "password_file"),
        out=_folder_word(given.get("out") or next((each.parent for each in given.get("workbooks", ())), None)),
    )


def _folder_word(folder: Path | None) -> str:
    """Return a folder as an argument, preceded by a space; empty for the current one, which is the default."""
    return "" if folder is None or folder == Path() else f" {quote(str(folder))}"


def manifest_words(context: click.Context) -> str:
    """Return the manifests of a command, as they were typed; empty if there are none."""
    values = context.params.get("manifests") or context.params.get("manifest_path") or context.params.get("manifest")
    paths = values if isinstance(values, tuple) else () if values is None else (values,)
    return " ".join(quote(str(each)) for each in paths)


def target_words(context: click.Context) -> str:
    """Return the options for a command's target, each preceded by a space."""
    return option_words(context, *_SHARED)


def option_words(context: click.Context, *names: str) -> str:
    """Return the options of a command that were typed, each preceded by a space.

    Args:
        context: the command's context.
        names: the names of the options' parameters; others are left out.
    """
    words = []
    for parameter in context.command.params:
        name = parameter.name or ""
        given = context.get_parameter_source(name) is ParameterSource.COMMANDLINE
        if name in names and given and isinstance(parameter, click.Option):
            option = max(parameter.opts, key=len)
            value = context.params[name]
            if parameter.is_flag:
                words.append(option)
            else:
                # A password is never shown, so the environment has to say it.
                texts = [_CREDENTIALS.sub("", str(each)) for each in (value if isinstance(value, tuple) else (value,))]
                words += [f"{option} {quote(text)}" for text in texts]
    return "".join(f" {word}" for word in words)


def any_target() -> str | None:
    """Return the option for a target after a command that needs none; None if no target is known.

    If the target file has several targets, it is the first. So use it for commands only that write nothing.
    """
    if environ.get(ENV_URL):
        return ""
    names = _targets()
    return f" --target {quote(names[0])}" if names else None


def only_target(otherwise: str = " --target NAME") -> str:
    """Return the option for the one target there is, preceded by a space; another text if there are more or none."""
    if environ.get(ENV_URL):
        return ""
    names = _targets()
    return f" --target {quote(names[0])}" if len(names) == 1 else otherwise


def _targets() -> list[str]:
    try:
        return [*read_targets(target_file())]
    except DataloaderError:
        return []


def on_any_target(command: str) -> str:
    """Return a command that writes nothing with a target that is known, or how to name one."""
    target = any_target()
    return INIT if target is None else f"{command}{target}"
