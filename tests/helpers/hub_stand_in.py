"""A local stand-in for the Hugging Face hub: the part of its HTTP interface that an upload uses."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

TOKEN = "hf_stand_in"
LARGE = (".bin", ".nemo", ".npz")
"""What the hub stores as large files, which are uploaded before the commit."""


@dataclass
class Hub:
    """What was uploaded."""

    endpoint: str = ""
    private: dict[str, bool] = field(default_factory=dict)
    """By repository."""
    objects: dict[str, bytes] = field(default_factory=dict)
    """Large files by their hash, as uploaded over plain HTTP."""
    storage: Path | None = None
    """A folder in which xet, the protocol of the real hub, stores large files instead; its client writes them there."""
    hashes: dict[str, str] = field(default_factory=dict)
    """The SHA-256 of each large file in the storage, by path in the repository."""
    files: dict[str, bytes] = field(default_factory=dict)
    """By path in the repository."""
    commits: int = 0
    fails_at: str = ""
    """A part of a path at which the hub refuses."""


@contextmanager
def hub_stand_in() -> Iterator[Hub]:
    hub = Hub()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None: ...

        def do_GET(self) -> None:
            if "/xet-write-token/" in self.path:
                self.answer({"casUrl": f"local://{hub.storage}", "accessToken": "any", "exp": int(time.time()) + 3600})
            else:
                self.answer({"name": "me", "type": "user"} if self.path == "/api/whoami-v2" else {})

        def do_POST(self) -> None:
            content = self.rfile.read(int(self.headers["Content-Length"]))
            if self.path == "/api/repos/create":
                asked = json.loads(content)
                name = f"{asked.get('organization', 'me')}/{asked['name']}"
                hub.private[name] = asked.get("private", asked.get("visibility") == "private")
                self.answer({"url": f"{hub.endpoint}/{name}"})
            elif "/preupload/" in self.path:
                paths = [file["path"] for file in json.loads(content)["files"]]
                modes = {path: "lfs" if path.endswith(LARGE) else "regular" for path in paths}
                self.answer(
                    {"files": [{"path": p, "uploadMode": mode, "shouldIgnore": False} for p, mode in modes.items()]}
                )
            elif self.path.endswith("/info/lfs/objects/batch"):
                objects = json.loads(content)["objects"]
                for each in objects:
                    each["actions"] = {"upload": {"href": f"{hub.endpoint}/objects/{each['oid']}"}}
                self.answer({"transfer": "basic", "objects": objects})
            elif "/commit/" in self.path:
                self.commit([json.loads(line) for line in content.splitlines()])
            else:
                self.answer({})

        def do_PUT(self) -> None:
            content = self.rfile.read(int(self.headers["Content-Length"]))
            hub.objects[self.path.rpartition("/")[2]] = content
            self.answer({})

        def commit(self, lines: list[dict[str, Any]]) -> None:
            for line in lines if not hub.fails_at else ():
                value = line["value"]
                if line["key"] == "file":
                    hub.files[value["path"]] = base64.b64decode(value["content"])
                elif line["key"] == "lfsFile" and hub.storage:
                    hub.hashes[value["path"]] = value["oid"]
                elif line["key"] == "lfsFile":
                    hub.files[value["path"]] = hub.objects[value["oid"]]
            hub.commits += not hub.fails_at
            oid = "0" * 40
            self.answer({"success": True, "commitOid": oid, "commitUrl": f"{hub.endpoint}/me/mine/commit/{oid}"})

        def answer(self, body: dict[str, Any]) -> None:
            is_object = self.path.startswith("/objects/")  # its address is its permission
            is_known = is_object or self.headers.get("Authorization") == f"Bearer {TOKEN}"
            status = 401 if not is_known else 403 if hub.fails_at and hub.fails_at in self.path else 200
            content = json.dumps(body if status == 200 else {"error": "refused"}).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.endpoint = f"http://127.0.0.1:{server.server_port}"
    Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
