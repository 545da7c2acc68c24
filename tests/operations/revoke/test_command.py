"""The command ``revoke``."""

import fcntl
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from dataloader.batch import Card, Counts, Manifest, ReturnedCard, Verdict, write_reconciled
from dataloader.common import ExitCode
from dataloader.couch import Server
from dataloader.operations import (
    VerifyVerdict,
    all_sources,
    load,
    restore,
    revoke,
    verify,
)
from dataloader.records import Snapsets
from dataloader.records.models import get_model
from dataloader.target import Target
from tests.support.command import Command
from tests.support.marks import KEY_MODEL, THOROUGH, TOKEN_MODEL
from tests.support.proxy import Forward, Reply, Request
from tests.support.records import Place
from tests.support.revoking import (
    CARDS,
    LIMIT,
    contents,
    is_revoked,
)
from tests.support.server import Proxied, agreed, sequences


@contextmanager
def terminal(answer: str) -> Iterator[Any]:
    """Simulate a terminal with a typed answer."""
    import pty

    ours, theirs = pty.openpty()
    try:
        os.write(ours, answer.encode())
        yield theirs
    finally:
        os.close(ours)
        os.close(theirs)


class TestCommand:
    """The command ``revoke``."""

    @TOKEN_MODEL
    def test_verify_follows_a_card_through_revoke_and_undo(
        self, server: Server, target: Target, few: Manifest, cards: list[Card], sets: Snapsets, run_here: Command
    ) -> None:
        """Loaded, revoked, loaded again, restored: verify has the right verdict at each step."""
        snapsets = ("--snapsets", sets.folder)
        assert run_here("load", few.path, *snapsets).code == ExitCode.OK

        def verdicts() -> dict[VerifyVerdict, int]:
            return agreed(server, lambda: dict(verify(server, target, [few], sets).verdicts))

        done = run_here("revoke", few.path, "--card", "2", "--uuid", cards[2].uuid.upper(), "--reason", "lost", "--yes")
        assert (done.code, done.stderr) == (ExitCode.OK, "")
        assert done.stdout.splitlines()[:2] == [
            "card 2  revoked: it no longer works",
            "card 3  revoked: it no longer works",
        ]
        assert done.stdout.splitlines()[2].endswith(": 2 revoked")
        assert verdicts() == {VerifyVerdict.OK: CARDS - 2, VerifyVerdict.REVOKED: 2}
        assert run_here("load", few.path, *snapsets, "--update", "--yes").code == ExitCode.OK
        assert verdicts() == {VerifyVerdict.OK: CARDS - 2, VerifyVerdict.REVOKED: 2}
        done = run_here("revoke", few.path, "--card", "2", "--card", "3", "--card", "4", "--undo", "--yes", "--json")
        assert (done.code, done.stderr) == (ExitCode.OK, "")
        assert (done.data["restored"], done.data["not_revoked"], done.data["cards"]) == (2, 1, 3)
        assert done.data["outcomes"][0] == {"number": 2, "outcome": "restored", "reason": ""}
        assert verdicts() == {VerifyVerdict.OK: CARDS}

    @TOKEN_MODEL
    @pytest.mark.usefixtures("loaded")
    @pytest.mark.parametrize(
        ("text", "numbers"),
        [
            ("3-5\n", [3, 4, 5]),
            ("2-4\n5\n", [2, 3, 4, 5]),
            ("2,4,5\n", [2, 4, 5]),
            ("Line,Card no.,Name\n1,5,Jo\n2,3,Al\n", [3, 5]),
            ("Ticket;UUID der Karte\n1;{2}\n2;{4}\n", [2, 4]),
            ("{2}\n", [2]),
            ("{4}1\n{2}\n", []),
            ("2\nseventeen\n", []),
            ("Lost cards\n2\n", []),
            ("2\n5-3\n", []),
            ("Ticket,Reader\n2,3\n", []),
            ("1;2\n3;4\n", []),
            ("2\n99\n", []),
            ("Number of cards\n2\n", []),
            ("Card,Owner,Lost?\n2,Jo,yes\n3,Al,no\n", []),
            ("Card,Owner,Lost?\n2,Jo,x\n3,Al,\n", []),
            ("Card,Status\n2,lost\n3,found\n", []),
            ("Card,Status\n2,lost\n3,lost\n", [2, 3]),
            ("Batch,Card number\nautumn,2\nspring,3\n", []),
            ("Card,Owner,Since\n2,Jo,1 May\n3,Al,2 May\n", [2, 3]),
        ],
    )
    def test_file_names_its_cards_or_nothing_is_revoked(
        self, few: Manifest, cards: list[Card], run_here: Command, tmp_path: Path, text: str, numbers: list[int]
    ) -> None:
        """Ranges, several numbers in a line, and titles are accepted; a line that names no card stops the run."""
        path = tmp_path / "lost.csv"
        path.write_text(text.format("", *(card.uuid for card in cards)))
        # The list of revoked cards is next to the manifest.
        manifest = shutil.copy(few.path, tmp_path)
        done = run_here("revoke", manifest, "--file", path, "--reason", "lost", "--yes", "--json")
        if numbers:
            assert done.code == ExitCode.OK
            revoked = [each["number"] for each in done.data["outcomes"] if each["outcome"] == "revoked"]
            assert sorted(revoked) == numbers
        else:
            assert done.code == ExitCode.INPUT
            assert str(path) in done.stderr
            assert not list(tmp_path.glob("*revoked*"))

    @TOKEN_MODEL
    @pytest.mark.usefixtures("loaded")
    def test_cards_can_be_named_as_at_the_help_desk(
        self, few: Manifest, cards: list[Card], run_here: Command, tmp_path: Path
    ) -> None:
        """By number, UUID, its first characters, or chip UID; with a report and details."""
        manifest = Path(shutil.copy(few.path, tmp_path))
        chips = ["04A1B2C3D4E5F6", "04A1B2C3D4E5F7", "04A1B2C3D4E5F8", "", ""]
        returned = [
            ReturnedCard(card, Verdict.ENCODED, chip) if chip else ReturnedCard(card, Verdict.FAILED)
            for card, chip in zip(cards, chips, strict=True)
        ]
        counts = Counts({Verdict.ENCODED: 3, Verdict.FAILED: 2})
        with (tmp_path / "few.reconciled.jsonl").open("w+b") as stream:
            write_reconciled(stream, few.header, counts, returned)
        page, lines = tmp_path / "page.html", tmp_path / "lines.jsonl"
        names = ("--card", "0001", "--card", cards[1].uuid[:8], "--card", "04:a1:b2:c3:d4:e5:f8")
        options = ("--reason", "lost on the bus", "--report", page, "--details", lines, "--yes", "--json")
        done = run_here("revoke", manifest, *names, *options)
        assert done.code == ExitCode.OK
        assert [each["outcome"] for each in done.data["outcomes"]] == ["revoked"] * 3
        told = [json.loads(line) for line in lines.read_text().splitlines()]
        assert [(each["number"], each["uuid"]) for each in told] == [(card.number, card.uuid) for card in cards[:3]]
        assert "3 cards revoked." in page.read_text()
        assert "lost on the bus" in page.read_text()
        assert cards[0].uuid not in page.read_text()

    @TOKEN_MODEL
    @pytest.mark.usefixtures("loaded")
    @pytest.mark.parametrize("name", ["04A1B2C3D4E5F9", "nobody", "fffffffff", "0", "99", ""])
    def test_unknown_card_revokes_nothing(self, few: Manifest, run_here: Command, tmp_path: Path, name: str) -> None:
        """The error is one line."""
        manifest = shutil.copy(few.path, tmp_path)
        done = run_here("revoke", manifest, "--card", "2", "--card", name, "--reason", "lost", "--yes")
        assert done.code == ExitCode.INPUT
        assert done.stderr.count("\n") == 1
        assert not list(tmp_path.glob("*revoked*"))

    @TOKEN_MODEL
    def test_mistyped_prefix_lists_nothing(self, few: Manifest, run_here: Command, tmp_path: Path) -> None:
        """Nothing was revoked, so a later load of the right databases must not revoke the card there."""
        manifest = shutil.copy(few.path, tmp_path)
        done = run_here("revoke", manifest, "--card", "2", "--reason", "lost", "--yes")
        assert done.code == ExitCode.PROTOCOL
        assert "does not exist (load the target first, or correct the model or the prefix)" in done.stderr
        assert not list(tmp_path.glob("*.revoked.jsonl"))

    @KEY_MODEL
    def test_verify_reports_a_revoked_key(
        self, server: Server, target: Target, few: Manifest, cards: list[Card], sets: Snapsets
    ) -> None:
        """Revoked, then restored."""
        load(server, target, all_sources(target, [few], sets))
        revoke(server, target, few, cards[:2], "lost")
        found = agreed(server, lambda: dict(verify(server, target, [few], sets).verdicts))
        assert found == {VerifyVerdict.OK: CARDS - 2, VerifyVerdict.REVOKED: 2}
        restore(server, target, few, cards[:2])
        assert agreed(server, lambda: dict(verify(server, target, [few], sets).verdicts)) == {VerifyVerdict.OK: CARDS}

    @KEY_MODEL
    @pytest.mark.usefixtures("loaded")
    @pytest.mark.parametrize(
        ("answer", "code"), [("y\n", ExitCode.OK), pytest.param("n\n", 130, marks=THOROUGH), ("\n", 130)]
    )
    def test_revoke_asks_first(
        self,
        server: Server,
        target: Target,
        few: Manifest,
        places: list[Place],
        start: Callable[..., Any],
        answer: str,
        code: int,
    ) -> None:
        """On a terminal, it shows how many cards and where, and continues only if confirmed."""
        with terminal(answer) as stdin:
            asked = start("revoke", few.path, "--card", "2", "--reason", "lost", "--json", stdin=stdin)
            stdout, stderr = asked.communicate(timeout=LIMIT)
        assert asked.returncode == code
        where = f"{target.address.url} (ci, gpii-key, prefix {target.prefix})"
        # Wrapped, because the address may be long.
        assert " ".join(stderr.split()).startswith(f"card 2 of batch few will stop working at {where}. Continue?")
        assert is_revoked(server, target, places[0]) == (code == ExitCode.OK)
        assert ("error" in json.loads(stdout)) == (code != ExitCode.OK)

    @KEY_MODEL
    @pytest.mark.usefixtures("loaded")
    def test_revoke_without_a_terminal_requires_yes(
        self, server: Server, target: Target, few: Manifest, run_here: Command
    ) -> None:
        """Exit code 2, and what to do."""
        stood = sequences(server, target)
        done = run_here("revoke", few.path, "--card", "2", "--card", "4", "--undo")
        assert (done.code, done.stdout) == (ExitCode.USAGE, "")
        assert done.stderr.startswith("error: 2 cards (2, 4) of batch few will work again")
        assert done.stderr.endswith(": refusing to continue without confirmation (add --yes)\n")
        assert sequences(server, target) == stood

    @KEY_MODEL
    @pytest.mark.parametrize(
        ("arguments", "code", "says"),
        [
            (("--card", "2"), ExitCode.USAGE, "--reason: is missing"),
            (("--card", "2", "--reason", " "), ExitCode.USAGE, "--reason: must be one line"),
            (("--card", "2", "--reason", "lost", "--undo"), ExitCode.USAGE, "--undo --reason: cannot be combined"),
            (("--reason", "lost"), ExitCode.USAGE, "no card: say which cards to revoke or restore"),
            (("--card", "2", "--card", "99", "--reason", "lost"), ExitCode.INPUT, "--card 99: is not a card of "),
        ],
    )
    @pytest.mark.usefixtures("empty")
    def test_invalid_call_writes_nothing(
        self,
        server: Server,
        target: Target,
        few: Manifest,
        run_here: Command,
        arguments: tuple[str, ...],
        code: ExitCode,
        says: str,
    ) -> None:
        """Everything is checked before anything is written: not even the valid card is revoked."""
        done = run_here("revoke", few.path, *arguments, "--yes")
        assert (done.code, done.stdout) == (code, "")
        assert done.stderr.startswith(f"error: {says}")
        assert contents(server, target) == {name: {} for name in get_model("gpii-key").databases}

    @TOKEN_MODEL
    @pytest.mark.usefixtures("loaded")
    def test_revoke_and_undo_of_a_batch_wait_for_each_other(
        self, few: Manifest, run_here: Command, proxied: Proxied, tmp_path: Path
    ) -> None:
        """Otherwise a card could end up revoked in the target, but not on the list, and work again after a loss."""
        path = tmp_path / few.path.name
        path.write_bytes(few.path.read_bytes())
        held: list[bool] = []

        def look(request: Request, forward: Forward) -> Reply:
            if request.endpoint == "_bulk_docs":
                with (tmp_path / ".revoked.lock").open("wb") as lock:
                    try:
                        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                        held.append(False)
                    except BlockingIOError:
                        held.append(True)
            return forward(request)

        _, proxy = proxied(look)
        for options in (("--reason", "lost"), ("--undo",)):
            done = run_here("revoke", path, "--card", "2", "--yes", *options, url=proxy.url)
            assert done.code == ExitCode.OK, done.stderr
            assert held.pop(0)
            assert False not in held
            held.clear()
