"""A server on this machine that speaks the part of Weights & Biases' protocol that runs and their artifacts need.

It keeps what it is told, as the real one does as far as its clients see: one artifact of a name and a digest, an alias
at the artifact of a name that got it last, and who used and who logged it.
"""

import gzip
import json
import re
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

KEY = "0123456789abcdef" * 3
ENTITY = {"id": "E1", "name": "house"}
ORGANIZATION = {"name": "household", "orgEntity": {"name": "household_entity"}}
PROJECT = {"id": "P1", "internalId": "P1", "name": "towers", "entity": ENTITY}
WHEN = "2026-07-14T02:15:00Z"


@dataclass(slots=True)
class Artifact:
    """An artifact.

    Args:
        id: the server's id of it.
        name: name of its collection.
        type: type of its collection.
        aliases: aliases that point to it.
        logged_by: id of the run that made it; None: none did.
        used_by: ids of the runs that use it.
        is_committed: whether the upload is complete.
        manifest: its files, as uploaded.
    """

    id: str
    name: str
    type: str
    aliases: set[str] = field(default_factory=set)
    logged_by: str | None = None
    used_by: set[str] = field(default_factory=set)
    is_committed: bool = False
    manifest: dict[str, Any] = field(default_factory=dict)


class House:
    """The server's state.

    Attributes:
        address: address of the server.
        runs: fields of each run, by id.
        artifacts: artifacts by name and digest.
        links: artifact's id, collection and aliases of each link.
        uploads: uploaded bytes, by path.
        unknown: names of operations that it does not know.
        dies_at: the operation at which it goes away; None: at none.
        refuses: the operation that it refuses, or PUT; None: none.
    """

    def __init__(self) -> None:
        self.address = ""
        self.runs: dict[str, dict[str, Any]] = {}
        self.artifacts: dict[tuple[str, str], Artifact] = {}
        self.links: list[tuple[str, str, tuple[str, ...]]] = []
        self.uploads: dict[str, bytes] = {}
        self.unknown: list[str] = []
        self.dies_at: str | None = None
        self.refuses: str | None = None
        self._alone = threading.Lock()

    def artifact(self, name: str, alias: str) -> Artifact:
        """Returns the artifact of a name that an alias points to."""
        (found,) = [one for one in self.artifacts.values() if one.name == name and alias in one.aliases]
        return found

    def answer(self, operation: str, given: dict[str, Any]) -> Any:
        """Answers an operation of GraphQL."""
        if operation == self.dies_at:
            raise ConnectionError("gone")
        if operation == self.refuses:
            raise PermissionError(operation)
        with self._alone:
            found = getattr(self, "_" + re.sub(r"(?<=[a-z])(?=[A-Z])", "_", operation).lower(), None)
            if found is None:
                self.unknown.append(operation)
                return {}
            return found(given)

    def _server_features_query(self, given: dict[str, Any]) -> Any:
        return {"serverInfo": {"features": []}}

    def _viewer(self, given: dict[str, Any]) -> Any:
        return {"viewer": {"id": "U1", "entity": "house", "username": "house", "flags": "{}", "teams": {"edges": []}}}

    def _get_default_entity(self, given: dict[str, Any]) -> Any:
        return {"viewer": {"id": "U1", "entity": "house"}}

    def _run_resume_status(self, given: dict[str, Any]) -> Any:
        known = self.runs.get(given["name"])
        if known is None:
            return {"model": {**PROJECT, "bucket": None}}
        bucket = {
            "id": given["name"], "name": given["name"], "summaryMetrics": "{}", "displayName": known.get("displayName"),
            "logLineCount": 0, "historyLineCount": 0, "eventsLineCount": 0, "historyTail": "[]", "eventsTail": "[]",
            "config": "{}", "tags": [], "notes": None, "wandbConfig": json.dumps({"t": 1}),
        }  # fmt: skip
        return {"model": {**PROJECT, "bucket": bucket}}

    def _upsert_bucket(self, given: dict[str, Any]) -> Any:
        is_new = given["name"] not in self.runs
        known = self.runs.setdefault(given["name"], {})
        known.update({name: each for name, each in given.items() if each is not None})
        bucket = {
            "id": given["name"], "name": given["name"], "displayName": known.get("displayName"), "description": None,
            "config": "{}", "sweepName": None, "project": PROJECT, "historyLineCount": 0,
        }  # fmt: skip
        return {"upsertBucket": {"inserted": is_new, "bucket": bucket}}

    def _artifact_type(self, given: dict[str, Any]) -> Any:
        name = given["name"].partition(":")[0]
        types = [one.type for one in self.artifacts.values() if one.name == name]
        return {"project": {"artifact": {"artifactType": {"name": types[0]}} if types else None}}

    def _create_artifact(self, given: dict[str, Any]) -> Any:
        given = given["input"]
        name = given["artifactCollectionName"]
        new = Artifact(id=f"A{len(self.artifacts)}", name=name, type=given["artifactTypeName"])
        artifact = self.artifacts.setdefault((name, given["digest"]), new)
        artifact.logged_by = artifact.logged_by or given["runName"]
        for alias in {each["alias"] for each in given["aliases"]}:
            for other in self.artifacts.values():
                if other.name == name:
                    other.aliases.discard(alias)
            artifact.aliases.add(alias)
        state = "COMMITTED" if artifact.is_committed else "PENDING"
        return {
            "createArtifact": {
                "artifact": {"id": artifact.id, "state": state, "artifactSequence": {"latestArtifact": None}}
            }
        }

    def _of(self, id: str) -> Artifact:
        return next(one for one in self.artifacts.values() if one.id == id)

    def _told(self, artifact: Artifact) -> dict[str, Any]:
        collection = {"__typename": "ArtifactSequence", "name": artifact.name, "project": PROJECT}
        state = "COMMITTED" if artifact.is_committed else "PENDING"
        return {
            "__typename": "Artifact", "id": artifact.id, "artifactSequence": collection, "versionIndex": 0,
            "artifactType": {"name": artifact.type}, "description": None, "metadata": "{}", "ttlDurationSeconds": -2,
            "ttlIsInherited": True, "tags": [], "historyStep": None, "state": state, "size": 0, "digest": "",
            "digestAlgorithm": "MANIFEST_MD5", "commitHash": "", "fileCount": 0, "createdAt": WHEN, "updatedAt": None,
            "aliases": [
                {"__typename": "ArtifactAlias", "id": alias, "alias": alias, "artifactCollection": collection}
                for alias in sorted(artifact.aliases)
            ],
        }  # fmt: skip

    def _membership(self, artifact: Artifact) -> dict[str, Any]:
        told = self._told(artifact)
        return {
            "__typename": "ArtifactCollectionMembership", "id": f"S{artifact.id}", "versionIndex": 0, "createdAt": WHEN,
            "aliases": told["aliases"], "artifactCollection": told["artifactSequence"], "artifact": told,
        }  # fmt: skip

    def _artifact_by_id(self, given: dict[str, Any]) -> Any:
        return {"artifact": self._told(self._of(given["id"]))}

    def _artifact_membership_by_name(self, given: dict[str, Any]) -> Any:
        name, _, alias = given["name"].partition(":")
        found = [one for one in self.artifacts.values() if one.name == name and alias in one.aliases]
        return {"project": {"artifactCollectionMembership": self._membership(found[0]) if found else None}}

    def _fetch_org_info_from_entity(self, given: dict[str, Any]) -> Any:
        return {"entity": {"organization": ORGANIZATION, "user": None}}

    def _link_artifact(self, given: dict[str, Any]) -> Any:
        given = given["input"]
        artifact = self._of(given["artifactID"])
        collection = f"{given['entityName']}/{given['projectName']}/{given['artifactPortfolioName']}"
        self.links.append((artifact.id, collection, tuple(each["alias"] for each in given["aliases"])))
        return {"result": {"versionIndex": 0, "artifactMembership": self._membership(artifact)}}

    def _create_artifact_manifest(self, given: dict[str, Any]) -> Any:
        file = {"id": "F", "uploadUrl": f"{self.address}/put/manifest/{given['artifactID']}", "uploadHeaders": []}
        return {"createArtifactManifest": {"artifactManifest": {"id": f"M{given['artifactID']}", "file": file}}}

    def _update_artifact_manifest(self, given: dict[str, Any]) -> Any:
        id = given["artifactManifestID"]
        file = {"id": "F", "uploadUrl": f"{self.address}/put/manifest/{id[1:]}", "uploadHeaders": []}
        return {"updateArtifactManifest": {"artifactManifest": {"id": id, "file": file}}}

    def _create_artifact_files(self, given: dict[str, Any]) -> Any:
        edges = [
            {
                "node": {
                    "id": f"F{place}", "name": each["name"], "displayName": each["name"],
                    "uploadUrl": f"{self.address}/put/file/{each['artifactID']}/{each['name']}", "uploadHeaders": [],
                    "uploadMultipartUrls": None, "storagePath": each["name"], "artifact": {"id": each["artifactID"]},
                }
            }
            for place, each in enumerate(given["input"]["artifactFiles"])
        ]  # fmt: skip
        return {"createArtifactFiles": {"files": {"edges": edges}}}

    def _commit_artifact(self, given: dict[str, Any]) -> Any:
        artifact = self._of(given["artifactID"])
        artifact.is_committed = True
        return {"commitArtifact": {"artifact": {"id": artifact.id, "digest": ""}}}

    def _use_artifact(self, given: dict[str, Any]) -> Any:
        given = given.get("input", given)
        self._of(given["artifactID"]).used_by.add(given["runName"])
        return {"useArtifact": {"artifact": {"id": given["artifactID"]}}}

    def _create_run_files(self, given: dict[str, Any]) -> Any:
        named = [
            {"name": name, "uploadUrl": f"{self.address}/put/run/{given['run']}/{name}"} for name in given["files"]
        ]
        return {"createRunFiles": {"runID": given["run"], "uploadHeaders": [], "files": named}}


def _handler(house: House) -> type[BaseHTTPRequestHandler]:
    """Makes the handler of requests from the server's state."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: Any) -> None:
            """Logs nothing."""

        def _body(self) -> bytes:
            data = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            return gzip.decompress(data) if self.headers.get("Content-Encoding") == "gzip" else data

        def _reply(self, value: Any, status: int = 200) -> None:
            data = json.dumps(value).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def do_GET(self) -> None:
            self._reply({})

        def do_PUT(self) -> None:
            house.uploads[self.path.removeprefix("/put/")] = self._body()
            self._reply({}, 403 if house.refuses == "PUT" else 200)

        def do_POST(self) -> None:
            data = self._body()
            if self.path.endswith("/graphql"):
                given = json.loads(data)
                named = re.search(r"(?:query|mutation)\s+(\w+)", given["query"])
                assert named is not None  # wandb names all of them
                try:
                    self._reply({"data": house.answer(named[1], given.get("variables") or {})})
                except PermissionError:
                    self._reply({"errors": [{"message": "permission denied"}]}, 400)
            elif self.path.endswith("/file_stream"):
                given = json.loads(data)
                run = house.runs.setdefault(self.path.split("/")[-2], {})
                run.setdefault("streamed", []).append(given)
                self._reply({"exitcode": None, "limits": {}})
            else:  # figures about wandb itself
                self._reply({})

    return Handler


@contextmanager
def listening() -> Iterator[House]:
    """Runs the server for the block."""
    house = House()

    class Server(ThreadingHTTPServer):
        def handle_error(self, request: Any, client_address: Any) -> None:
            """Ignores a client that has gone, and keeps other errors."""
            error = sys.exception()
            if not isinstance(error, ConnectionError):
                house.unknown.append(repr(error))

    with Server(("127.0.0.1", 0), _handler(house)) as server:
        house.address = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield house
        finally:
            server.shutdown()
