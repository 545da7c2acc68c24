"""What to type next after a successful command: one line, on a terminal."""

from pathlib import Path
from shlex import quote

import click
from click.core import ParameterSource

from dataloader.cli._command import GROUPS

FOLLOWING = {
    "export": "send the file to the vendor, then dataloader reconcile {manifest} RETURNED",
    "validate": "dataloader plan MANIFEST --target NAME",
    "check": "dataloader plan MANIFEST{target}",
    "load": "dataloader verify {manifest}{target}",
    "verify": "dataloader status {manifest}{target}",
    "status": "dataloader batches{beside}{target}",
    "revoke": "dataloader status {manifest}{target}",
    "batches": "dataloader card NUMBER{folder}{target}",
    "card": "dataloader revoke MANIFEST --card NUMBER --reason TEXT{target}",
    "backup": "dataloader check{target}",
    "restore": "dataloader check{target}",
    "backups": "dataloader drill FILE",
    "drill": "dataloader backup FILE{target}",
    "taps": "dataloader status MANIFEST{target}",
    "recover": "dataloader batches",
    "snapsets": "dataloader plan MANIFEST{target} --diff",
    "credentials": "dataloader check{target}",
    "tokens": "dataloader check{target}",
    "drop": "dataloader load MANIFEST{target}",
    "seed": "dataloader check{target}",
    "help": "dataloader demo",
}
"""The next step after each command that does not print its own."""
_SHARED = (*GROUPS["Target"], *GROUPS["Connection"], "snapsets_dir")


def next_after(context: click.Context) -> str | None:
    """Return what to type next after a command, with the options for this target."""
    following = FOLLOWING.get(context.info_name or "")
    if following is None:
        return None
    folder = str(context.params.get("folder") or ".")
    beside = {str(Path(each).parent) for each in context.params.get("manifests") or ()}
    return following.format(
        manifest=manifest_words(context),
        target=target_words(context),
        folder="" if folder == "." else f" --in {quote(folder)}",
        beside=f" {quote(beside.pop())}" if len(beside) == 1 and beside != {"."} else "",
    )


def manifest_words(context: click.Context) -> str:
    """Return the manifests of a command, as they were typed."""
    values = context.params.get("manifests") or context.params.get("manifest_path") or context.params.get("manifest")
    paths = values if isinstance(values, tuple) else () if values is None else (values,)
    return " ".join(quote(str(each)) for each in paths) or "MANIFEST"


def target_words(context: click.Context) -> str:
    """Return the options for a command's target, each preceded by a space."""
    words = []
    for parameter in context.command.params:
        name = parameter.name or ""
        given = context.get_parameter_source(name) is ParameterSource.COMMANDLINE
        if name in _SHARED and given and isinstance(parameter, click.Option):
            option = max(parameter.opts, key=len)
            value = context.params[name]
            if parameter.is_flag:
                words.append(option)
            else:
                words += [f"{option} {quote(str(each))}" for each in (value if isinstance(value, tuple) else (value,))]
    return "".join(f" {word}" for word in words)
