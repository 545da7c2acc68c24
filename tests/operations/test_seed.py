"""Development data: what seed writes, reproducible by its seed, and never in production."""

from copy import deepcopy
from pathlib import Path
from typing import Any

import json5
import pytest

from dataloader.batch import SEEDED_TIME
from dataloader.common import InputError, ProtectedError, data_dir
from dataloader.couch import Server
from dataloader.operations import LoadResult, Outcome, all_sources, generate, load, seed_sources
from dataloader.records import Snapsets
from dataloader.target import Environment, Target
from tests.support.command import Command
from tests.support.loading import contents
from tests.support.marks import KEY_MODEL, ONE_MODEL, TOKEN_MODEL
from tests.support.records import Contents, documents, expected, merge, snapset_file, write_snapsets
from tests.support.server import databases, get, sequences, snapshot

DESIGN = "_design/views"
PERSONAS = ("alice", "carla", "vicky")


def seed(server: Server, target: Target, snapsets: Snapsets, users: int = 0, number: int = 0) -> LoadResult:
    """Seed a target."""
    return load(server, target, seed_sources(target, snapsets, users=users, seed=number))


def samples(model: str) -> Contents:
    """Return the expected documents of the sample files and personas, written out by hand."""
    folder = data_dir("samples")
    parts: list[Contents] = [
        {path.stem: {each["_id"]: each for each in json5.loads(path.read_text("utf-8"))}}
        for path in sorted((folder / model).glob("*.json5"))
    ]
    for path in sorted((folder / "personas" / model).glob("*.json5")):
        persona = documents(model, path.stem, *snapset_file(path.parent, path.stem), card=False)
        if model == "gpii-key":
            persona["gpii"][f"prefsSafe-{path.stem}"]["prefsSafeType"] = "user"
        parts.append(persona)
    return merge([expected(model, [], data_dir("snapsets")), *parts])


def people(server: Server, target: Target, brought: Contents) -> dict[str, dict[str, Any]]:
    """Return the users with log-ins that are not samples, by ``_id``."""
    name = "auth" if target.model.name == "gpii-token" else "gpii"
    return {
        doc_id: document
        for doc_id, document in contents(server, target)[name].items()
        if doc_id not in brought[name] and document.get("password")
    }


def rows(server: Server, target: Target, view: str, key: object, *, include_docs: bool = False) -> list[dict[str, Any]]:
    """Query a view by key as the servers do."""
    database = databases(server, target)[target.model.databases[-1]]
    return database.view("views", view, [key], include_docs=include_docs)


class TestWhatIsBrought:
    """Seeding without invented users."""

    def test_seed_loads_snapsets_samples_personas_and_views(
        self, server: Server, target: Target, snapsets: Snapsets
    ) -> None:
        """Everything in the sample files, complete, and nothing else."""
        result = seed(server, target, snapsets)
        assert contents(server, target) == samples(target.model.name)
        assert (
            result.count(Outcome.CREATED) == result.documents == sum(map(len, samples(target.model.name).values())) + 1
        )
        database = databases(server, target)[target.model.databases[-1]]
        assert (
            len(get(database, DESIGN)["views"])
            == result.views_built
            == {"gpii-token": 15, "gpii-key": 7}[target.model.name]
        )

    def test_second_seed_writes_nothing(self, server: Server, target: Target, snapsets: Snapsets) -> None:
        """With invented users, too: everything is unchanged, and so are the update sequences."""
        first = seed(server, target, snapsets, users=5)
        before = snapshot(server, target), sequences(server, target)
        second = seed(server, target, snapsets, users=5)
        assert (snapshot(server, target), sequences(server, target)) == before
        assert (second.count(Outcome.UNCHANGED), second.documents) == (first.documents, first.documents)

    @TOKEN_MODEL
    @pytest.mark.parametrize("name", [*PERSONAS, "sam"])
    def test_sample_user_is_found_by_name_and_token(
        self, server: Server, target: Target, snapsets: Snapsets, name: str
    ) -> None:
        """The demo log-in finds the user; the token refers to that user and to a preference set."""
        seed(server, target, snapsets)
        [found] = rows(server, target, "findUserByName", name)
        user = found["value"]
        assert (user["_id"], user["name"], user["password"]) == (f"user-{name}", name, name)
        token = user["defaultGpiiToken"]
        [by_token] = rows(server, target, "findUserByGpiiToken", token, include_docs=True)
        assert by_token["doc"] == user
        [known] = rows(server, target, "findGpiiToken", token)
        assert (known["value"]["gpiiToken"], known["value"]["userId"]) == (token, user["_id"])
        preferences = get(databases(server, target)["preferences"], token)
        assert preferences["value"]["flat"]["contexts"]["gpii-default"]["preferences"]

    @TOKEN_MODEL
    def test_every_sample_is_found_by_the_servers_queries(
        self, server: Server, target: Target, snapsets: Snapsets
    ) -> None:
        """Every token has a user and a set, every client is in its view, and a client's user is a sample."""
        seed(server, target, snapsets)
        stored = contents(server, target)
        tokens = [each for each in stored["auth"].values() if each["type"] == "gpiiToken"]
        assert len(tokens) == 4
        for token in tokens:
            assert stored["auth"][token["userId"]]["defaultGpiiToken"] == token["gpiiToken"]
            assert token["gpiiToken"] in stored["preferences"]
        clients = [each for each in stored["auth"].values() if each["type"].endswith("Client")]
        assert {each["type"] for each in clients} == {
            "gpiiAppInstallationClient",
            "onboardedSolutionClient",
            "privilegedPrefsCreatorClient",
            "webPrefsConsumerClient",
        }
        for client in clients:
            by_solution = client["type"] == "onboardedSolutionClient"
            view = "findClientBySolutionId" if by_solution else "findClientByOauth2ClientId"
            key = client["solutionId" if by_solution else "oauth2ClientId"]
            assert [row["id"] for row in rows(server, target, view, key)] == [client["_id"]]
            assert "userId" not in client or client["userId"] in stored["auth"]

    @KEY_MODEL
    def test_personas_and_the_sample_site_are_found(self, server: Server, target: Target, snapsets: Snapsets) -> None:
        """A persona's key refers to its own safe, the installer's credential to the site."""
        seed(server, target, snapsets)
        for name in PERSONAS:
            [row] = rows(server, target, "findPrefsSafeByGpiiKey", name, include_docs=True)
            assert row["doc"]["_id"] == row["value"]["gpiiKey"]["prefsSafeId"] == f"prefsSafe-{name}"
        safes = {f"prefsSafe-{name}" for name in (*PERSONAS, *snapsets.by_name)}
        found = databases(server, target)["gpii"].view(
            "views", "findSnapsetPrefsSafes", sorted(safes), include_docs=False
        )
        assert {row["key"] for row in found} == {f"prefsSafe-{snapset.name}" for snapset in snapsets}
        path = data_dir("samples") / "gpii-key" / "installer" / "example-site.json"
        credentials = json5.loads(path.read_text("utf-8"))["clientCredentials"]
        [row] = rows(server, target, "findClientByOauth2ClientId", credentials["client_id"], include_docs=True)
        assert row["value"]["clientCredential"]["oauth2ClientSecret"] == credentials["client_secret"]
        assert row["doc"]["type"] == "gpiiAppInstallationClient"


class TestInventedUsers:
    """People with log-ins, generated from a seed."""

    def test_seed_creates_the_requested_number_of_users(
        self, server: Server, target: Target, snapsets: Snapsets
    ) -> None:
        """Each has a name, a password and one of the snapsets' preference sets; names are unique."""
        seed(server, target, snapsets, users=12)
        brought = samples(target.model.name)
        stored = contents(server, target)
        found = people(server, target, brought)
        assert len(found) == len({each["name"] for each in found.values()}) == 12
        folder = data_dir("snapsets") / target.model.name
        sets = [snapset_file(folder, snapset.name)[0] for snapset in snapsets.of(target.model.name)]
        wanted = deepcopy(brought)
        for user in found.values():
            if target.model.name == "gpii-token":
                key = user["defaultGpiiToken"]
                preferences = stored["preferences"][key]["value"]
                parts = documents("gpii-token", key, preferences, SEEDED_TIME, card=True)
                login = {member: user[member] for member in ("name", "password")}
                parts["auth"][f"user-{key}"] = {
                    "_id": f"user-{key}",
                    "type": "user",
                    "defaultGpiiToken": key,
                    **login,
                }
                parts["auth"][f"gpiiToken-{key}"]["userId"] = f"user-{key}"
            else:
                key = user["_id"].removeprefix("prefsSafe-")
                preferences = user["preferences"]
                parts = documents("gpii-key", key, preferences, SEEDED_TIME, card=True)
                login = {member: user[member] for member in ("name", "password", "email")}
                parts["gpii"][f"prefsSafe-{key}"] |= login
                assert user["email"].endswith("@example.org")
            assert preferences in sets
            wanted = merge([wanted, parts])
        assert stored == wanted

    @TOKEN_MODEL
    def test_invented_user_is_found_by_name_and_token(self, server: Server, target: Target, snapsets: Snapsets) -> None:
        """They can log in like sample users."""
        seed(server, target, snapsets, users=3)
        for user in people(server, target, samples("gpii-token")).values():
            [found] = rows(server, target, "findUserByName", user["name"])
            assert found["id"] == user["_id"]
            [found] = rows(server, target, "findUserByGpiiToken", user["defaultGpiiToken"], include_docs=True)
            assert found["doc"]["name"] == user["name"]

    @ONE_MODEL
    def test_another_seed_creates_other_users(self, server: Server, target: Target, snapsets: Snapsets) -> None:
        """Users of two seeds are different people, and can be in the same database."""
        brought = samples(target.model.name)
        seed(server, target, snapsets, users=6, number=1)
        first = people(server, target, brought)
        result = seed(server, target, snapsets, users=6, number=2)
        both = people(server, target, brought)
        assert (len(first), len(both)) == (6, 12)
        assert result.needs_attention == 0
        others = [user for doc_id, user in both.items() if doc_id not in first]
        assert not {user["password"] for user in first.values()} & {user["password"] for user in others}

    @ONE_MODEL
    @pytest.mark.parametrize("number", [0, 7])
    def test_users_do_not_collide_with_a_seeded_batch(
        self, server: Server, target: Target, snapsets: Snapsets, tmp_path: Path, number: int
    ) -> None:
        """A batch and users of the same seed share no UUID, so both can be loaded."""
        batch = generate("reproducible", {"snapset_1a": 40}, tmp_path, seed=number).manifest
        load(server, target, all_sources(target, [batch], snapsets))
        result = seed(server, target, snapsets, users=40, number=number)
        assert result.needs_attention == 0
        assert len(people(server, target, samples(target.model.name))) == 40

    @pytest.mark.parametrize("users", [-1, 1_000_001])
    def test_invalid_number_of_users_is_rejected(self, target: Target, snapsets: Snapsets, users: int) -> None:
        """Negative, or more than a batch may have."""
        with pytest.raises(InputError, match=f"--users {users}: 0 to 1,000,000 people can be invented"):
            seed_sources(target, snapsets, users=users)

    def test_snapset_with_the_name_of_a_persona_is_rejected(self, target: Target, tmp_path: Path) -> None:
        """Both would be the same document; the error says which one to rename, before anything is written."""
        snapsets = write_snapsets(tmp_path / "snapsets", {"alice": 18, "large": 20})
        with pytest.raises(InputError, match="snapset alice: has the name of a persona of the samples"):
            seed_sources(target, snapsets)


class TestCommand:
    """The command ``seed``."""

    def test_seed_command_is_idempotent(self, server: Server, target: Target, run: Command) -> None:
        """Exit code 0 and counts; with the same seed, the same users."""
        first = run("seed", "--users", 4, "--seed", 3, "--json")
        assert (first.code, first.stderr) == (0, "")
        before = snapshot(server, target), sequences(server, target)
        each = {"gpii-token": 3, "gpii-key": 2}[target.model.name]
        total = sum(map(len, samples(target.model.name).values())) + 1 + 4 * each
        assert (first.data["created"], first.data["documents"]) == (total, total)
        second = run("seed", "--users", 4, "--seed", 3, "--json")
        assert (second.code, second.stderr) == (0, "")
        assert (second.data["created"], second.data["unchanged"]) == (0, total)
        assert (snapshot(server, target), sequences(server, target)) == before

    @TOKEN_MODEL
    @pytest.mark.parametrize("environment", ["staging", "production"])
    def test_seed_command_is_refused_in_production(
        self, server: Server, target: Target, run: Command, environment: str
    ) -> None:
        """Exit code 8, nothing is written, no database is created, and the error says what to use instead."""
        flags = ("--users", 3, "--seed", 1, "--update", "--replace-views", "--strict")
        done = run("seed", *flags, "--environment", environment)
        assert done.code == 8
        assert done.stdout == ""
        wanted = f"sample data at {target.address.url}: never in {environment} (use `dataloader load` with a manifest)"
        assert done.stderr == f"error: {wanted}\n"
        assert not any(database.exists() for database in databases(server, target).values())

    @pytest.mark.parametrize("environment", [Environment.STAGING, Environment.PRODUCTION])
    def test_seed_function_is_refused_in_production(
        self, target: Target, snapsets: Snapsets, environment: Environment
    ) -> None:
        """No caller of the function can bypass the check."""
        protected = Target(target.address, target.model, environment, target.prefix)
        with pytest.raises(ProtectedError, match=f"never in {environment}"):
            seed_sources(protected, snapsets)
