"""A client generated from the .proto files alone: produce, consume, administer, read errors, run SQL.

It shares no code with the product: what works here works for people who generate a client in any language. Usage:
generated.py PATH-TO-THALWEG
"""

import importlib
import pathlib
import subprocess
import sys
import tempfile
import threading

import grpc
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from grpc_status import rpc_status
from grpc_tools import protoc

ROOT = pathlib.Path(__file__).resolve().parents[2]
DEADLINE = 30.0


def generate(folder):
    """Compiles the .proto files as any user would."""
    protos = ROOT / "protocol" / "proto"
    arguments = ["protoc", f"-I{protos}", f"--python_out={folder}", f"--grpc_python_out={folder}"]
    arguments += [str(proto) for proto in sorted(protos.glob("*.proto"))]
    assert protoc.main(arguments) == 0, "the .proto files do not compile"
    sys.path.insert(0, str(folder))
    names = ["log_pb2", "log_pb2_grpc", "query_pb2", "query_pb2_grpc"]
    return [importlib.import_module(name) for name in names]


def start(binary, folder):
    """Starts a broker on free ports and waits for its ready line."""
    broker = subprocess.Popen(
        [binary, "serve", "--data-dir", str(folder), "--grpc-listen", "127.0.0.1:0", "--http-listen", "127.0.0.1:0"],
        stdout=subprocess.PIPE,
        text=True,
    )
    line = broker.stdout.readline()
    assert line.startswith("ready "), f"no ready line, but {line!r}"
    addresses = dict(part.split("=") for part in line.split()[1:])
    return broker, addresses["grpc"]


def refusal(call):
    """The machine-readable part of a call that must fail."""
    try:
        call()
    except grpc.RpcError as error:
        status = rpc_status.from_call(error)
        for detail in status.details:
            info = error_details_pb2.ErrorInfo()
            if detail.Unpack(info):
                return error.code(), info
        raise AssertionError(f"no ErrorInfo in {error}") from error
    raise AssertionError("the call must fail")


def administer(log, admin):
    topic = admin.CreateTopic(
        log.CreateTopicRequest(name="ratings", partitions=3, settings={"retention.ms": "3600000"})
    ).topic
    assert topic.name == "ratings" and len(topic.partitions) == 3
    code, info = refusal(lambda: admin.CreateTopic(log.CreateTopicRequest(name="ratings")))
    assert (code, info.reason) == (grpc.StatusCode.ALREADY_EXISTS, "TOPIC_EXISTS")
    code, info = refusal(
        lambda: admin.CreateTopic(log.CreateTopicRequest(name="x", settings={"retention.md": "1"}))
    )
    assert (info.reason, info.metadata["may_retry"]) == ("INVALID_SETTING", "false")
    altered = admin.AlterTopic(log.AlterTopicRequest(name="ratings", partitions=4, reset_settings=["retention.ms"]))
    settings = {setting.name: setting for setting in altered.topic.settings}
    assert len(altered.topic.partitions) == 4 and settings["retention.ms"].is_default
    code, info = refusal(lambda: admin.DescribeTopic(log.DescribeTopicRequest(name="nowhere")))
    assert (code, info.reason, info.domain) == (grpc.StatusCode.NOT_FOUND, "UNKNOWN_TOPIC", "thalweg")
    admin.CreateTopic(log.CreateTopicRequest(name="short-lived"))
    admin.DeleteTopic(log.DeleteTopicRequest(name="short-lived"))
    assert [topic.name for topic in admin.ListTopics(log.ListTopicsRequest()).topics if topic.name[0] != "_"] == ["ratings"]
    assert admin.DescribeBroker(log.DescribeBrokerRequest()).durability == "sync"


def produce(log, stub):
    records = [
        log.Record(key=b"key-%d" % (n % 10), value=b"value-%d" % n, headers=[log.Header(name="n", value=b"%d" % n)])
        for n in range(1000)
    ]
    records[7] = log.Record(key=b"key-7")  # a null value
    entry = log.ProduceEntry(topic="ratings", records=log.RecordList(records=records, compression=log.COMPRESSION_LZ4))
    result = stub.Produce(log.ProduceRequest(entries=[entry])).results[0]
    assert not result.HasField("problem"), result.problem
    assert len(result.places) == 1000 and len({place.partition for place in result.places}) > 1

    # The pipeline: many requests under way, answers in order; a refused entry does not end it.
    def requests():
        for n in range(100):
            topic = "nowhere" if n == 50 else "ratings"
            one = log.RecordList(records=[log.Record(value=b"piped-%d" % n)])
            yield log.ProduceRequest(entries=[log.ProduceEntry(topic=topic, partition=0, records=one)])

    answers = list(stub.ProduceStream(requests()))
    assert len(answers) == 100
    offsets = [answer.results[0].places[0].offset for n, answer in enumerate(answers) if n != 50]
    assert offsets == sorted(offsets) and len(set(offsets)) == 99
    assert answers[50].results[0].problem.outcome == "UNKNOWN_TOPIC"

    # Bytes that are no batch are refused, with words.
    bad = log.ProduceEntry(topic="ratings", partition=0, batch=b"\0" * 100)
    problem = stub.Produce(log.ProduceRequest(entries=[bad])).results[0].problem
    assert problem.outcome == "CORRUPT_BATCH" and not problem.may_have_happened, problem
    return records


def consume(log, stub, records):
    request = log.SubscribeRequest(entries=[log.SubscribeEntry(topic="ratings")], form=log.FORM_RECORDS)
    call = stub.Subscribe(request, timeout=DEADLINE)
    seen, last = [], {}
    for response in call:
        for result in response.results:
            assert not result.HasField("problem"), result.problem
            for record in result.records:
                assert record.offset == last.get(result.partition, -1) + 1, "offsets have no gap"
                last[result.partition] = record.offset
                seen.append(record)
        if len(seen) == len(records) + 99:
            break
    call.cancel()
    got = {(record.key, record.value, record.HasField("value")) for record in seen if record.HasField("key")}
    assert got == {(record.key, record.value, record.HasField("value")) for record in records}
    assert all(len(record.headers) == 1 for record in seen if record.HasField("key") and record.HasField("value"))

    found = stub.FindPositions(
        log.FindPositionsRequest(
            entries=[
                log.FindPositionsEntry(topic="ratings", partition=0, at=log.Position(edge=log.EDGE_LATEST)),
                log.FindPositionsEntry(topic="ratings", partition=0, at=log.Position(time_ms=0)),
            ]
        )
    )
    end = found.results[0].offset
    assert end == last[0] + 1 and found.results[1].offset == 0

    # A fetch at the end waits for what comes.
    wait = log.FetchRequest(
        entries=[log.FetchEntry(topic="ratings", partition=0, offset=end)], wait_ms_max=20000, form=log.FORM_RECORDS
    )
    late = threading.Timer(0.2, lambda: stub.Produce(log.ProduceRequest(entries=[
        log.ProduceEntry(topic="ratings", partition=0, records=log.RecordList(records=[log.Record(value=b"late")]))
    ])))
    late.start()
    assert stub.Fetch(wait, timeout=DEADLINE).results[0].records[0].value == b"late"
    late.join()
    beyond = log.FetchRequest(entries=[log.FetchEntry(topic="ratings", partition=0, offset=end + 1000)])
    problem = stub.Fetch(beyond).results[0].problem
    assert problem.outcome == "OFFSET_OUT_OF_RANGE" and problem.resume_at == end + 1


def query(query_pb2, stub):
    sql = """
        CREATE STREAM numbers (n INT) WITH (kafka_topic='numbers', value_format='JSON', partitions=1);
        INSERT INTO numbers VALUES (1);
        INSERT INTO numbers VALUES (2);
        CREATE STREAM big AS SELECT n * 10 AS m FROM numbers WHERE n > 1;
        SET 'auto.offset.reset' = 'earliest';
        SELECT m FROM big EMIT CHANGES LIMIT 1;
    """
    rows = []
    for answer in stub.Execute(query_pb2.ExecuteRequest(sql=sql), timeout=DEADLINE):
        rows += [[value.integer for value in row.values] for row in answer.rows.rows]
    assert rows == [[20]], rows
    code, info = refusal(lambda: list(stub.Execute(query_pb2.ExecuteRequest(sql="SELEC 1;"))))
    assert (code, info.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_STATEMENT")


def standards(channel):
    health = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(service="thalweg.v1.Log"))
    assert health.status == health_pb2.HealthCheckResponse.SERVING
    listing = iter([reflection_pb2.ServerReflectionRequest(list_services="")])
    for answer in reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo(listing):
        names = {service.name for service in answer.list_services_response.service}
        assert {"thalweg.v1.Log", "thalweg.v1.Admin", "thalweg.v1.Query"} <= names, names


def main(binary):
    with tempfile.TemporaryDirectory() as generated, tempfile.TemporaryDirectory() as data:
        log, log_grpc, query_pb2, query_grpc = generate(generated)
        broker, address = start(binary, data)
        try:
            with grpc.insecure_channel(address) as channel:
                standards(channel)
                administer(log, log_grpc.AdminStub(channel))
                stub = log_grpc.LogStub(channel)
                records = produce(log, stub)
                consume(log, stub, records)
                query(query_pb2, query_grpc.QueryStub(channel))
        finally:
            broker.terminate()
            assert broker.wait(DEADLINE) == 0, "SIGTERM must end it in order"
    print("a generated client can administer, produce, consume, query and read errors")


if __name__ == "__main__":
    main(sys.argv[1])
