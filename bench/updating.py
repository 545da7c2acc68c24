"""Updates: two versions of a snapset, and bare ordinary writes over existing documents."""

import json
from pathlib import Path

from bench.bare import Bare, send_all
from dataloader.couch import Address, Database
from dataloader.records import read_snapsets


def write_version(folder: Path, model: str, name: str, size: int) -> Path:
    """Write a folder with a modified version of one built-in snapset; return the folder."""
    content = json.loads(json.dumps(read_snapsets(None, model).by_name[name].preferences))
    context = content["flat"]["contexts"]["gpii-default"]
    context["preferences"]["http://registry.gpii.net/common/fontSize"] = size
    folder.mkdir(parents=True)
    (folder / f"{name}.json5").write_text(json.dumps(content))
    return folder


def overwrite(
    address: Address, database: Database, documents: list[bytes], replaced: list[bytes], size: int, connections: int
) -> float:
    """Return how many documents per second the server accepts as ordinary writes over existing ones.

    Args:
        address: where the server is.
        database: holds ``replaced``.
        documents: the new content, serialised, with the ``_rev`` of a first load.
        replaced: the documents to replace, in the same order.
        size: documents per request.
        connections: how many.
    """
    edits = [
        json.dumps({**json.loads(new), "_rev": json.loads(old)["_rev"]}).encode()
        for new, old in zip(documents, replaced, strict=True)
    ]
    bodies = [b'{"docs":[%s]}' % b",".join(edits[at : at + size]) for at in range(0, len(edits), size)]
    requests = [Bare("POST", f"/{database.name}/_bulk_docs", body) for body in bodies]
    return len(edits) / send_all(address, requests, connections)
