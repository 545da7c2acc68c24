"""Explanations of invalid data: every rule, where it is broken, and no secrets."""

import subprocess
import sys
from datetime import date
from typing import Any

import pytest

from dataloader.common import explain
from dataloader.common.explanation import MAX_MESSAGE, MAX_VALUE
from tests.support.marks import THOROUGH

TARGETS = "files/target-file"
CARD = "files/manifest-card"


def target(**fields: Any) -> dict[str, Any]:
    """Return a target file with one target."""
    return {"target": {"local": {"url": "http://127.0.0.1", "environment": "ci", **fields}}}


def test_explain_lists_every_broken_rule_with_its_path() -> None:
    """All faults are reported at once."""
    assert explain(CARD, {"number": 0, "uuid": 4, "chip": 1}) == [
        "'snapset' is missing",
        "unknown member 'chip'",
        "number: 0 is less than the minimum of 1",
        "uuid: 4 must be a string",
    ]


def test_explain_reports_a_wrong_type_once() -> None:
    """A value that is not a number is not reported as too large, too."""
    values: list[Any] = [None, "1", [], float("inf"), float("nan")]
    for value in values:
        [rule] = explain(CARD, {"number": value, "uuid": "2b8b1a5e-6c1d-4f0e-9a57-0d3c5e7f9b21", "snapset": "a"})
        assert rule == f"number: {value!r} must be a whole number"
    assert explain("common/snapset-name", 1) == ["1 must be a string"]


@pytest.mark.parametrize("value", [date(2020, 11, 23), "\ud800"])
def test_explain_accepts_values_that_json_cannot_hold(value: Any) -> None:
    """A TOML date or half a surrogate pair is explained like any other value."""
    [rule] = explain(CARD, {"number": 1, "uuid": value, "snapset": "a"})
    assert rule.startswith(f"uuid: {value!r} ")


def test_explain_picks_the_closest_alternative() -> None:
    """If a value has several valid forms, the closest one is explained."""
    [rule] = explain("common/timestamp-or-null", "yesterday")
    assert rule.startswith("'yesterday' must be like '2020-11-23T00:00:00.000Z'")


def test_explain_shortens_long_values() -> None:
    """However long a value is, the broken rule remains readable."""
    for value in ("9" * 5000, ["x" * 5000], {"a" * 5000: 1}):
        [rule] = explain(CARD, {"number": value, "uuid": "2b8b1a5e-6c1d-4f0e-9a57-0d3c5e7f9b21", "snapset": "a"})
        assert rule == f"number: {repr(value)[:MAX_VALUE]}… must be a whole number"
    [rule] = explain(CARD, {"number": 1, "uuid": "2b8b1a5e-6c1d-4f0e-9a57-0d3c5e7f9b21", "snapset": "a", "b" * 5000: 1})
    assert rule.startswith("unknown member 'bbb")
    assert len(rule) == MAX_MESSAGE + 1


@pytest.mark.parametrize(
    "data",
    [
        target(url="http://admin:hunter2@127.0.0.1"),
        target(url=["hunter2"]),
        target(environment="hunter2"),
        target(model=["hunter2"]),
        target(prefix="hunter2/"),
        target(credentials="admin:hunter2"),
        target(credentials=["admin", "hunter2"]),
        target(credentials={"user": "admin", "password": "hunter2"}),
        target(credentials={"user": "admin:hunter2", "password_file": "x"}),
        target(credentials={"user": "admin", "password_file": "", "password": "hunter2"}),
        target(credentials={"user_env": "A", "password_env": "hunter2 !"}),
        target(password="hunter2"),
        {"target": "hunter2"},
        {"target": {"local": "hunter2"}},
        {"target": {"admin:hunter2@x": {"url": "http://a", "environment": "ci"}}},
        {"password": "hunter2"},
    ],
)
def test_explain_never_repeats_secrets(data: dict[str, Any]) -> None:
    """A password in the wrong place is reported without the password."""
    rules = explain(TARGETS, data, secrets=True)
    assert rules
    assert "hunter2" not in " ".join(rules)


def test_explain_repeats_other_values() -> None:
    """If nothing is secret, the invalid value is shown."""
    assert explain("terms/gpii-key", {"http://registry.gpii.net/common/DPIScale": 9}) == [
        "http://registry.gpii.net/common/DPIScale: 9 is greater than the maximum of 4"
    ]
    assert explain(TARGETS, target(environment="prod"), secrets=True) == [
        (
            "target.local.environment: the value must be one of: development, ci, staging, production; "
            "did you mean production?"
        )
    ]


@pytest.mark.parametrize(("step", "value"), [("fontSize", 3.1), ("fontSize", 1e15), ("wordSpace", -0.3), ("pitch", 1)])
def test_multiples_are_decimal(step: str, value: float) -> None:
    """Multiples of 0.1 are computed with decimals, not binary fractions."""
    assert explain("terms/gpii-key", {f"http://registry.gpii.net/common/{step}": value}) == []


@pytest.mark.parametrize("value", [3.15, 3.1000000000000005, 12.25, True, "3.1"])
def test_values_between_steps_are_rejected(value: Any) -> None:
    """A value between steps is invalid, however close to one."""
    [rule] = explain("terms/gpii-key", {"http://registry.gpii.net/common/fontSize": value})
    said = "is not a multiple of 0.1" if isinstance(value, float) else "must be a number"
    assert rule == f"http://registry.gpii.net/common/fontSize: {value!r} {said}"


@THOROUGH
@pytest.mark.parametrize(("uuid", "loaded"), [("2b8b1a5e-6c1d-4f0e-9a57-0d3c5e7f9b21", False), ("x", True)])
def test_slow_validator_is_imported_only_to_explain(uuid: str, *, loaded: bool) -> None:
    """Its import takes long; valid data does not need it."""
    code = (
        "import sys; from dataloader.common.validation import explain; "
        f"rules = explain({CARD!r}, {{'number': 1, 'uuid': {uuid!r}, 'snapset': 'a'}}); "
        "print(bool(rules), 'jsonschema' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == f"{loaded} {loaded}\n"
