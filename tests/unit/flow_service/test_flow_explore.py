"""SFTP connections: their test and what exploring shows. Source: flow-service.md 7, batch-ingestion.md B2, B3."""

import bz2
import gzip
import io
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import paramiko
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from flow_plane import SFTP, FlowPlane, code_of
from sftp_server import PASSWORD, USER, SftpServer

CSV = b"memberId,email,points\r\nM-1,member-0001@example.com,10\r\nM-2,member-0002@example.com,\r\n"
ROWS = [
    {"memberId": "M-1", "email": "member-0001@example.com", "points": "10"},
    {"memberId": "M-2", "email": "member-0002@example.com", "points": ""},
]


@cache
def key() -> paramiko.RSAKey:
    return paramiko.RSAKey.generate(2048)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[SftpServer]:
    root = tmp_path / "sftp"
    (root / "2024" / "deep").mkdir(parents=True)
    (root / "members.csv").write_bytes(CSV)
    (root / "2024" / "events.jsonl").write_bytes(
        b'{"id": 1, "n": null, "tags": ["a"]}\n{"id": 2, "n": 1.5, "ok": true}\n{"id": 3, "cut'
    )
    running = SftpServer(root, key())
    yield running
    running.close()


def account(server: SftpServer, **changed: Any) -> dict[str, Any]:
    params = {"host": "127.0.0.1", "port": server.port, "userName": USER, "password": PASSWORD} | changed
    kind = "SSH PublicKey Authentication for sftp" if "privateKeyContent" in params else "Basic Authentication for sftp"
    return {
        "name": "history",
        "connectionSpec": {"id": SFTP, "version": "1.0"},
        "auth": {"specName": kind, "params": {name: value for name, value in params.items() if value is not None}},
    }


@pytest.fixture
def connection(plane: FlowPlane, server: SftpServer) -> str:
    return plane.made("/connections", account(server))


def explored(plane: FlowPlane, connection: str, **query: str) -> Any:
    answer = plane.flow("GET", f"/connections/{connection}/explore?{urlencode(query)}")
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_a_test_opens_a_session(plane: FlowPlane, server: SftpServer, connection: str) -> None:
    assert plane.flow("GET", f"/connections/{connection}/test").json() == {"result": True}
    params = plane.item(f"/connections/{connection}")["auth"]["params"]
    assert (params["password"], params["userName"]) == ("xxxx", USER)
    server.close()
    assert plane.flow("GET", f"/connections/{connection}/test").json()["result"] is False


@pytest.mark.parametrize("phrase", [None, "pass-phrase"])
def test_a_key_opens_a_session(plane: FlowPlane, server: SftpServer, phrase: str | None) -> None:
    with_key = account(server, password=None, privateKeyContent=server.private_key(phrase), passPhrase=phrase)
    assert plane.flow("GET", f"/connections/{plane.made('/connections', with_key)}/test").json() == {"result": True}


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"password": "wrong"}, "refused the credentials"),
        ({"password": None, "privateKeyContent": "!"}, "not the Base64"),
        ({"password": None, "privateKeyContent": "bm8ga2V5"}, "no RSA, Ed25519 or ECDSA key"),
        ({"hostKey": "ssh-rsa"}, "auth.params.hostKey: the host key cannot be read"),
        ({"hostKey": "ssh-ed25519 !"}, "auth.params.hostKey: the host key cannot be read"),
    ],
)
def test_an_account_that_opens_no_session_is_refused(
    plane: FlowPlane, server: SftpServer, changed: dict[str, Any], words: str
) -> None:
    before = len(plane.flow("GET", "/connections").json()["items"])
    answer = plane.flow("POST", "/connections", json=account(server, **changed))
    assert code_of(answer) == "1100-400"
    assert words in answer.json()["errorMessage"]
    assert len(plane.flow("GET", "/connections").json()["items"]) == before
    draft = plane.flow("POST", "/connections?mode=draft", json=account(server, **changed))
    if "hostKey" not in changed:
        assert code_of(plane.flow("POST", f"/connections/{draft.json()['id']}/action?op=publish")) == "1100-400"


def test_the_host_key_is_learnt_once_and_checked_from_then_on(plane: FlowPlane, server: SftpServer, tmp_path: Path) -> None:
    shown = f"{key().get_name()} {key().get_base64()}"
    connection = plane.made("/connections", account(server))
    assert plane.item(f"/connections/{connection}")["auth"]["params"]["hostKey"] == shown
    assert plane.flow("GET", f"/connections/{connection}/test").json() == {"result": True}
    named = plane.made("/connections", account(server, hostKey=shown))
    assert plane.flow("GET", f"/connections/{named}/test").json() == {"result": True}
    other = SftpServer(server.root, paramiko.RSAKey.generate(2048))
    refused = plane.flow("POST", "/connections", json=account(other, hostKey=shown))
    assert "another host key" in refused.json()["errorMessage"]
    assert "PATCH /auth/params" in refused.json()["errorMessage"]
    # The account moves to another server: its key is learnt anew, an old one sent along is not taken for it.
    move = [{"op": "replace", "path": "/auth/params", "value": {"port": other.port}}]
    etag = plane.item(f"/connections/{connection}")["etag"]
    assert plane.flow("PATCH", f"/connections/{connection}", json=move, if_match=etag).status_code == 200
    assert plane.item(f"/connections/{connection}")["auth"]["params"]["hostKey"] != shown
    other.close()
    # What has nothing to do with the session can be changed while the server is away; credentials cannot.
    etag = plane.item(f"/connections/{connection}")["etag"]
    rename = [{"op": "replace", "path": "/name", "value": "moved"}]
    renamed = plane.flow("PATCH", f"/connections/{connection}", json=rename, if_match=etag)
    assert renamed.status_code == 200
    secret = [{"op": "replace", "path": "/auth/params", "value": {"password": "other"}}]
    assert code_of(plane.flow("PATCH", f"/connections/{connection}", json=secret, if_match=renamed.json()["etag"])) == "1100-400"


def test_folders_are_listed(plane: FlowPlane, connection: str) -> None:
    root = explored(plane, connection, objectType="ROOT")
    assert root == [
        {"type": "folder", "name": "2024", "path": "/2024", "canPreview": False, "canFetchSchema": False},
        {"type": "file", "name": "members.csv", "path": "/members.csv", "canPreview": True, "canFetchSchema": True},
    ]
    listed = explored(plane, connection, objectType="folder", object="/2024/")
    assert [(each["name"], each["path"]) for each in listed] == [("deep", "/2024/deep"), ("events.jsonl", "/2024/events.jsonl")]


def test_a_file_shows_its_columns_and_first_rows(plane: FlowPlane, connection: str) -> None:
    file = {"objectType": "file", "object": "/members.csv"}
    columns = explored(plane, connection, **file, fileType="delimited")
    assert columns == [{"name": name, "type": "String"} for name in ("memberId", "email", "points")]
    shown = explored(plane, connection, **file, fileType="DELIMITED", preview="true")
    assert shown["data"] == ROWS
    assert shown["schema"]["columns"][0] == {"name": "memberId", "type": "string", "xdm": {"type": "string"}}
    assert (shown["format"], shown["type"], "properties" in shown) == ("flat", "file", False)
    found = explored(plane, connection, **file, preview="True", determineProperties="true")
    assert found["properties"] == {"fileType": "delimited", "columnDelimiter": ","}
    assert found["data"] == ROWS


def test_objects_in_lines_and_a_cut_off_end(plane: FlowPlane, connection: str) -> None:
    file = {"objectType": "file", "object": "/2024/events.jsonl", "preview": "true", "determineProperties": "true"}
    shown = explored(plane, connection, **file)
    assert [each["id"] for each in shown["data"]] == [1, 2]
    kinds = {each["name"]: each["type"] for each in shown["schema"]["columns"]}
    assert kinds == {"id": "integer", "n": "double", "tags": "array", "ok": "boolean"}


def packed(kind: str) -> bytes:
    buffer = io.BytesIO()
    if kind in ("tar", "tarGzip"):
        with tarfile.open(fileobj=buffer, mode="w:gz" if kind == "tarGzip" else "w") as archive:
            info = tarfile.TarInfo("members.csv")
            info.size = len(CSV)
            archive.addfile(info, io.BytesIO(CSV))
    elif kind == "zipDeflate":
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as zipped:
            zipped.writestr("members.csv", CSV)
    elif kind == "deflate":
        packer = zlib.compressobj(wbits=-15)
        buffer.write(packer.compress(CSV) + packer.flush())
    else:
        buffer.write({"gzip": gzip.compress, "bzip2": bz2.compress}[kind](CSV))
    return buffer.getvalue()


NAMES = {
    "gzip": "m.csv.gz",
    "bzip2": "m.csv.bz2",
    "zipDeflate": "m.zip",
    "tarGzip": "m.tar.gz",
    "tar": "m.tar",
    "deflate": "m.bin",
}


@pytest.mark.parametrize("kind", list(NAMES))
def test_compressed_files(plane: FlowPlane, server: SftpServer, connection: str, kind: str) -> None:
    (server.root / NAMES[kind]).write_bytes(packed(kind))
    file = {"objectType": "file", "object": f"/{NAMES[kind]}", "preview": "true"}
    shown = explored(plane, connection, **file, fileType="delimited", compressionType=kind)
    assert shown["data"] == ROWS
    if kind != "deflate":  # which has no mark of its own
        assert explored(plane, connection, **file, determineProperties="true")["properties"]["compressionType"] == kind


def test_parquet_and_other_delimiters(plane: FlowPlane, server: SftpServer, connection: str) -> None:
    pq.write_table(pa.table({"id": [1, 2], "name": ["a", None]}), server.root / "m.parquet")
    (server.root / "m.tsv").write_bytes(CSV.replace(b",", b"\t"))
    (server.root / "latin.csv").write_bytes("name;é\nZoë;ü\n".encode("latin-1"))
    shown = explored(plane, connection, objectType="file", object="/m.parquet", preview="true", fileType="parquet")
    assert shown["data"] == [{"id": 1, "name": "a"}, {"id": 2, "name": None}]
    tabbed = explored(plane, connection, objectType="file", object="/m.tsv", preview="true", determineProperties="true")
    assert (tabbed["properties"]["columnDelimiter"], tabbed["data"]) == ("\t", ROWS)
    query = {"objectType": "file", "object": "/latin.csv", "preview": "true", "fileType": "delimited"}
    assert explored(plane, connection, **query, columnDelimiter=";", encoding="latin-1")["data"] == [{"name": "Zoë", "é": "ü"}]


REFUSED = [
    ({"objectType": "cloud"}, "CONNECTOR-1358-400"),
    ({"objectType": "table", "object": "x"}, "CONNECTOR-1358-400"),
    ({"objectType": "folder"}, "CONNECTOR-1337-400"),
    ({"objectType": "folder", "object": "/none"}, "/none cannot be read"),
    ({"objectType": "file", "object": "/none", "fileType": "json"}, "/none cannot be read"),
    ({"objectType": "file", "object": "/members.csv"}, "fileType is missing"),
    ({"objectType": "file", "object": "/members.csv", "fileType": "xlsx"}, "'xlsx' is not one of"),
    ({"objectType": "file", "object": "/members.csv", "fileType": "json", "determineProperties": "true"}, "not both"),
    ({"objectType": "file", "object": "/members.csv", "fileType": "json"}, "neither JSON nor"),
    ({"objectType": "file", "object": "/members.csv", "fileType": "parquet"}, "no Parquet file"),
    ({"objectType": "file", "object": "/members.csv", "fileType": "delimited", "compressionType": "gzip"}, "not gzip"),
    ({"objectType": "file", "object": "/members.csv", "fileType": "delimited", "compressionType": "tar"}, "not tar"),
    ({"objectType": "file", "object": "/members.csv", "fileType": "delimited", "compressionType": "rar"}, "'rar' is not"),
    ({"objectType": "file", "object": "/members.csv", "fileType": "delimited", "encoding": "none"}, "encoding none"),
    ({"objectType": "file", "object": "/members.csv", "fileType": "delimited", "columnDelimiter": "--"}, "single character"),
]


@pytest.mark.parametrize(("query", "words"), REFUSED, ids=[row[1] for row in REFUSED])
def test_what_cannot_be_shown_says_why(plane: FlowPlane, connection: str, query: dict[str, str], words: str) -> None:
    answer = plane.flow("GET", f"/connections/{connection}/explore?{urlencode(query)}")
    assert code_of(answer) == "1100-400"
    assert words in answer.json()["errorMessage"]


def test_a_server_that_is_away_says_so(plane: FlowPlane, server: SftpServer, connection: str) -> None:
    server.close()
    answer = plane.flow("GET", f"/connections/{connection}/explore?objectType=root")
    assert code_of(answer) == "1100-400"
    assert f"127.0.0.1:{server.port}" in answer.json()["errorMessage"]
    assert PASSWORD not in answer.text
