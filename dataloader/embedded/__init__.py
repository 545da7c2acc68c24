"""The embedded server, for trying out, development and CI: PouchDB Server on Node.js.

It supports as much of CouchDB's API as loading needs. npm installs its packages once, in the user's cache; each server
is a child process that stops with its parent.
"""

from dataloader.embedded.installation import install, is_installed
from dataloader.embedded.nodejs import NODE_MINIMUM, Node, find_node
from dataloader.embedded.server import EmbeddedServer

__all__ = ["NODE_MINIMUM", "EmbeddedServer", "Node", "find_node", "install", "is_installed"]
