"""Coverage-guided fuzzing with atheris: ``python -m tests.fuzz.run_atheris [SUBJECT…] --seconds N``.

Each subject runs in its own process until its time is up or there is a finding; then the input is saved in
``build/fuzz``, and the exit code is not 0. Requires atheris, which ``make fuzz`` installs; see subjects.py.
"""

import argparse
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).resolve().parents[2]
FOUND = Path("build/fuzz").absolute()


def main() -> int:
    """Fuzz the subjects one after another; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("subjects", nargs="*", metavar="SUBJECT")
    parser.add_argument("--seconds", type=int, default=60, metavar="N", help="for each subject")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    try:
        import atheris  # noqa: F401 - it may not be there, or not work here
    except ImportError as error:
        print(f"atheris does not work here ({error}); only hypothesis searched")
        return 0
    if options.child:
        fuzz(options.subjects[0], options.seconds)
        return 0
    from tests.fuzz.subjects import SUBJECTS

    known = [subject.name for subject in SUBJECTS]
    FOUND.mkdir(parents=True, exist_ok=True)
    failed = []
    for name in options.subjects or known:
        if name not in known:
            parser.error(f"there is no subject {name!r}: choose of {', '.join(known)}")
        print(f"== {name}", flush=True)
        call = [sys.executable, str(Path(__file__).resolve()), name, "--seconds", str(options.seconds), "--child"]
        if subprocess.run(call, check=False, cwd=FOUND).returncode:
            failed.append(name)
    if failed:
        print(f"findings in {', '.join(failed)}; the inputs are in {FOUND}")
    return len(failed) > 0


def fuzz(name: str, seconds: int) -> None:
    """Fuzz a subject in this process, which exits afterwards."""
    import atheris

    sys.path.insert(0, str(ROOT))
    with atheris.instrument_imports(include=["dataloader", "json5", "tomllib", "netrc", "csv"]):
        from tests.fuzz.inputs import make_input
        from tests.fuzz.subjects import SUBJECTS, examine

    subject = next(each for each in SUBJECTS if each.name == name)
    folder = Path(TemporaryDirectory(prefix="fuzz-").name)
    folder.mkdir()

    def one_input(data: bytes) -> None:
        """Use the bytes as an input directly, or as numbers to make one from."""
        if data[:1] == b"\0":
            numbers = [int.from_bytes(data[at : at + 4]) for at in range(1, len(data), 4)]
            examine(subject, make_input(subject, numbers), folder)
        else:
            examine(subject, data[1:], folder)

    with TemporaryDirectory(prefix="corpus-") as corpus:
        for number, seed in enumerate(subject.seeds()):
            (Path(corpus) / str(number)).write_bytes(b"\1" + (subject.sealed(seed) if subject.sealed else seed))
        (Path(corpus) / "numbers").write_bytes(b"\0" + bytes(range(120)))
        atheris.Setup(
            [name, f"-max_total_time={seconds}", "-timeout=30", "-rss_limit_mb=2000", "-max_len=60000", corpus],
            one_input,
        )
        atheris.Fuzz()


if __name__ == "__main__":
    sys.exit(main())
