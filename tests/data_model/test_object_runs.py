"""A run in a bucket is the run it would be in a folder: recorded, read while it grows, resumed, and refused clearly."""

from __future__ import annotations

import http.server
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import numpy as np
import pytest
import xarray as xr
from zarr.storage import ObjectStore

from deeptracker.app.command import main
from deeptracker.app.command.check import DAMAGED
from deeptracker.data_model import lease, logs
from deeptracker.data_model.errors import (
    NotARunError,
    RunAccessError,
    RunExistsError,
    RunFormatError,
    RunLockedError,
    RunUnreachableError,
)
from deeptracker.data_model.run import Run, open_run
from deeptracker.data_model.storage import Storage, StorageWrapper, clients, open_storage
from deeptracker.data_model.writer import RunWriter
from tests.buckets import SECRET, S3Server
from tests.data_model.test_crash import WRITER, check
from tests.data_model.test_faults import append
from tests.data_model.test_query import LAYERS, start

PORTIONS = range(0, 88, 11)


class Counted(StorageWrapper):
    """Counts what is asked of a storage."""

    def __init__(self, inner: Storage) -> None:
        super().__init__(inner)
        self.asked: Counter[str] = Counter()

    def __getattribute__(self, name: str) -> Any:
        if name in ("read", "read_stamped", "read_range", "write", "exchange", "names", "entries", "stamp", "kind"):
            self.asked[name] += 1
        return super().__getattribute__(name)


def same(one: Run, other: Run) -> None:
    """Every family, at every zoom, the validations and the snapshots of two runs are equal."""
    assert one.iterations == other.iterations
    for family in ("scalars", "layers", "filters", "activations", "validation"):
        xr.testing.assert_identical(getattr(one, family).compute(), getattr(other, family).compute())
    for variable, buckets in (("first", 3), ("first", 40), ("second", 1000), ("loss", 7)):
        xr.testing.assert_identical(one.query(variable, buckets=buckets), other.query(variable, buckets=buckets))
    for number in range(len(one.snapshot_iterations)):
        np.testing.assert_array_equal(one.kernels(LAYERS[1].name, number), other.kernels(LAYERS[1].name, number))


def test_a_bucket_and_a_folder_hold_the_same_run(tmp_path: Path, bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "records_per_shard", lambda fields: 16)
    places: list[Any] = [tmp_path / "run", f"{bucket}/runs/run"]
    writers = [start(place) for place in places]
    watched = None
    for at in PORTIONS:
        for number, writer in enumerate(writers):
            append(writer, at)
            writer.commit()
            if at in (33, 66):
                writer.close() if at == 33 else writer.abandon()
                writers[number] = RunWriter.resume(places[number], before=60 if at == 66 else None)
                if at == 66:
                    append(writers[number], at)
                    writers[number].commit()
        watched = watched or open_run(places[1])
        watched.refresh()
        local, remote = map(open_run, places)
        assert remote.state == "recording"
        same(remote, local)
        same(watched, local)
    for writer in writers:
        writer.close()
    local, remote = map(open_run, places)
    assert (remote.state, remote.path, remote.url) == ("closed", None, f"{bucket}/runs/run")
    assert remote.name == local.name
    same(remote, local)
    assert [note["key"] for note in remote.notes] == [note["key"] for note in local.notes]
    assert open_storage(places[1]).names() == open_storage(places[0]).names()


def test_stock_xarray_reads_it(bucket: str) -> None:
    writer = start(f"{bucket}/run")
    append(writer, 0)
    writer.close()
    from obstore.store import S3Store

    client = S3Store(bucket.removeprefix("s3://"), prefix="run", client_options={"allow_http": True})
    tree = xr.open_datatree(ObjectStore(client, read_only=True), engine="zarr")  # type: ignore[arg-type]
    expected = open_run(f"{bucket}/run").layers["first"].values.T
    np.testing.assert_array_equal(tree["layers/level_0/value"].sel(statistic="first").values, expected)


def test_opening_asks_once_and_committing_as_often_as_there_is_something_new(bucket: str) -> None:
    place = Counted(open_storage(f"{bucket}/run"))
    writer = start(place)
    writer.append_scalars(np.arange(20), {"loss": np.arange(20.0)})
    writer.commit()
    place.asked.clear()
    run = open_run(place)
    assert place.asked == {"read_stamped": 1}
    run.refresh()
    assert place.asked == {"read_stamped": 1, "stamp": 1}
    writer.append_scalars(np.arange(20, 30), {"loss": np.arange(10.0)})
    place.asked.clear()
    writer.commit()
    assert place.asked == {"write": 1, "exchange": 1}
    writer.close()


def test_killed_writers_lose_nothing_that_was_committed(bucket: str) -> None:
    url, rng, before = f"{bucket}/run", np.random.default_rng(0), 0
    script = WRITER.replace("path, seed = Path(sys.argv[1])", "path, seed = sys.argv[1]").replace(
        '(path / "zarr.json").exists()', "int(sys.argv[2])"
    )
    for kill in range(3):
        process = subprocess.Popen([sys.executable, "-c", script, url, str(kill)], stdout=subprocess.PIPE)
        assert process.stdout is not None
        acknowledged = int(process.stdout.readline())
        deadline = time.monotonic() + rng.uniform(0.3, 1.5)
        while time.monotonic() < deadline:
            assert check(url) >= before  # type: ignore[arg-type]
        os.kill(process.pid, signal.SIGKILL)
        for line in process.stdout.read().split():
            acknowledged = int(line)
        process.wait()
        process.stdout.close()
        assert open_run(url).state == "interrupted"
        before = check(url)  # type: ignore[arg-type]
        assert before >= acknowledged
    RunWriter.resume(url).close()
    assert check(url) == before > 16 * 8  # type: ignore[arg-type]


def test_what_is_there_is_not_overwritten(bucket: str) -> None:
    storage = open_storage(f"{bucket}/runs/one")
    writer = start(storage)
    with pytest.raises(RunExistsError, match=f"{bucket}/runs/one already holds a run"):
        start(storage)
    with pytest.raises(RunLockedError, match="is being recorded by process"):
        RunWriter.resume(storage)
    writer.close()
    with pytest.raises(RunExistsError, match="is not empty"):
        start(f"{bucket}/runs")
    open_storage(bucket).write("file", b"x")
    with pytest.raises(RunExistsError, match="is a file"):
        start(f"{bucket}/file")
    with pytest.raises(NotARunError, match="nothing at"):
        RunWriter.resume(f"{bucket}/absent")


def test_credentials_are_kept_nowhere(bucket: str) -> None:
    writer = start(f"{bucket}/run")
    append(writer, 0)
    writer.commit()
    storage = open_storage(f"{bucket}/run")
    for name in storage.names():
        assert SECRET.encode() not in storage.read(name)
    for said in (repr(storage), repr(vars(storage)), repr(writer.storage), repr(vars(open_run(storage)))):
        assert SECRET not in said
    writer.close()


def test_what_is_no_run_says_so(bucket: str) -> None:
    for url, said in ((f"{bucket}/absent", "nothing"), (bucket, "nothing")):
        with pytest.raises(NotARunError, match=said):
            open_run(url)
    open_storage(bucket).write("other/file", b"x")
    open_storage(bucket).write("damaged/zarr.json", b"{")
    with pytest.raises(NotARunError, match=r"has no zarr\.json"):
        open_run(f"{bucket}/other")
    with pytest.raises(NotARunError, match="a file"):
        open_run(f"{bucket}/other/file")
    with pytest.raises(RunFormatError, match=f"{bucket}/damaged/zarr.json is damaged"):
        open_run(f"{bucket}/damaged")


def test_a_shard_that_is_gone_or_cut_short_is_named(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "records_per_shard", lambda fields: 16)
    storage = open_storage(f"{bucket}/run")
    writer = start(storage)
    for at in PORTIONS:
        append(writer, at)
    writer.close()
    shard = next(name for name in storage.names("layers/level_0/value/c/"))
    whole = storage.read(shard)
    storage.write(shard, whole[: len(whole) // 2])
    with pytest.raises(RunFormatError, match="layers/level_0/value"):
        open_run(storage).query("first", iterations=(0, 10))
    assert open_run(storage).query("loss").sizes["bucket"] > 0


def test_a_run_in_a_bucket_is_told_checked_and_repaired_by_its_url(
    bucket: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(logs, "records_per_shard", lambda fields: 16)
    writer = start(f"{bucket}/run")
    for at in PORTIONS:
        append(writer, at)
    writer.close()
    storage = open_storage(f"{bucket}/run")
    assert main(["check", f"{bucket}/run"]) == 0
    assert f"{bucket}/run is whole" in capsys.readouterr().out
    assert main(["info", f"{bucket}/run", "--json"]) == 0
    families = json.loads(capsys.readouterr().out)["families"]
    assert families["layers"]["bytes"] == sum(storage.size(name) for name in storage.names("layers/"))
    whole = {name: storage.read(name) for name in storage.names()}
    shard = next(name for name in whole if name.startswith("layers/level_0/iteration/c/"))
    storage.write(shard, whole[shard][:-9])
    assert main(["check", f"{bucket}/run", "--json"]) == DAMAGED
    report = json.loads(capsys.readouterr().out)
    assert [(one["file"], one["kind"]) for one in report["findings"]] == [(shard, "damaged")]
    assert main(["check", f"{bucket}/run", "--repair"]) == 0
    assert {name: storage.read(name) for name in storage.names()} == whole


def test_a_bucket_that_does_not_exist_is_named(bucket: str) -> None:
    for attempt in (open_run, start):
        with pytest.raises(RunAccessError, match="no bucket 'wrong' for s3://wrong/run"):
            attempt("s3://wrong/run")  # type: ignore[operator]


def test_without_credentials_it_says_where_they_are_looked_for(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    for attempt in (open_run, start):
        with pytest.raises(RunAccessError, match=r"no credentials for s3://.*AWS_ACCESS_KEY_ID"):
            attempt(f"{bucket}/run")  # type: ignore[operator]


def test_a_profile_is_found_as_the_providers_own_tools_do(
    bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start(f"{bucket}/run").close()
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    (tmp_path / "credentials").write_text("[lab]\naws_access_key_id = a\naws_secret_access_key = b\n")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_PROFILE", "lab")
    assert open_run(f"{bucket}/run").state == "closed"
    monkeypatch.setenv("AWS_PROFILE", "misspelt")
    with pytest.raises(RunAccessError, match="misspelt"):
        open_run(f"{bucket}/run")


class Answers(http.server.BaseHTTPRequestHandler):
    """Answers every request with one status."""

    status, body = 500, b""

    def answer(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(self.status)
        self.send_header("Content-Length", str(len(self.body)))
        self.end_headers()
        self.wfile.write(self.body)

    do_GET = do_PUT = do_HEAD = answer  # noqa: N815

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def answers(bucket: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Answers]]:
    """A server that refuses in the way that the test sets."""

    class Own(Answers):
        pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Own) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
        monkeypatch.setattr(clients, "RETRY_SECONDS", 0.2)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield Own
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("status", "code", "kind", "said"),
    [
        (403, "AccessDenied", RunAccessError, r"No permission for s3://runs/one \(AccessDenied\).*AWS_ACCESS_KEY_ID"),
        (403, "InvalidAccessKeyId", RunAccessError, r"No permission .* \(InvalidAccessKeyId\)"),
        (301, "PermanentRedirect", RunAccessError, "AWS_REGION"),
        (500, "InternalError", RunUnreachableError, r"cannot be reached \(it answers 500"),
        (503, "SlowDown", RunUnreachableError, "it answers 503"),
    ],
)
def test_each_refusal_says_what_to_do(
    answers: type[Answers], status: int, code: str, kind: type[Exception], said: str
) -> None:
    answers.status, answers.body = status, f"<Error><Code>{code}</Code></Error>".encode()
    with pytest.raises(kind, match=said) as caught:
        open_run("s3://runs/one")
    assert SECRET not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_server_that_is_gone_ends_reading_and_recording_clearly(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clients, "RETRY_SECONDS", 2.0)
    monkeypatch.setattr(lease, "PATIENCE_SECONDS", 4.0)
    server = S3Server()
    monkeypatch.setenv("AWS_ENDPOINT_URL", server.endpoint)
    url = f"{server.bucket()}/run"
    writer = start(url)
    append(writer, 0)
    writer.commit()
    run = open_run(url)
    server.stop()
    with pytest.raises(RunUnreachableError, match=f"{url} cannot be reached .*try again"):
        open_run(url)
    with pytest.raises(RunUnreachableError):
        run.refresh()
    writer.append_scalars(np.arange(11, 20), {"loss": np.arange(9.0)})
    with pytest.raises(RunUnreachableError):
        writer.commit()
    writer.abandon()


def make_public(run: str) -> None:
    """Let everybody read a run's files."""
    bucket, _, way = run.removeprefix("s3://").partition("/")
    client = boto3.client("s3")
    for name in open_storage(run).names():
        client.put_object_acl(Bucket=bucket, Key=f"{way}/{name}", ACL="public-read")


def test_a_web_server_is_read_and_not_written_to(bucket: str, s3_server: S3Server) -> None:
    writer = start(f"{bucket}/my runs/one")
    append(writer, 0)
    writer.commit()
    make_public(f"{bucket}/my runs/one")
    web = f"{s3_server.endpoint}/{bucket.removeprefix('s3://')}/my%20runs/one"
    run = open_run(web)
    assert (run.state, run.storage.name) == ("recording", "one")
    append(writer, 11)
    writer.close()
    make_public(f"{bucket}/my runs/one")
    assert run.refresh()
    same(run, open_run(f"{bucket}/my runs/one"))
    with pytest.raises(NotARunError, match="nothing"):
        open_run(f"{web}2")
    for attempt in (lambda: start(f"{web}2"), lambda: RunWriter.resume(web)):
        with pytest.raises(RunAccessError, match="on a web server and can only be read"):
            attempt()


def test_a_web_server_that_knows_no_parts_of_files_is_read_whole(tmp_path: Path) -> None:
    writer = start(tmp_path / "run")
    append(writer, 0)
    writer.close()

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *given: Any) -> None:
            super().__init__(*given, directory=str(tmp_path))

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            same(open_run(f"http://127.0.0.1:{server.server_port}/run"), open_run(tmp_path / "run"))
        finally:
            server.shutdown()
            thread.join()
