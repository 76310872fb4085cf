"""Counts the syncs of the real binary: what is acknowledged as synced was synced before the answer left.

usage: syncs.py PATH-OF-THALWEG

A broker runs under strace. Records are produced one after the other; for each there must be a write to the segment and,
behind it, an fdatasync of the same file, both done before the producer heard its yes. In the mode `os` there must be none:
so the test is known to see the difference.
"""

import os
import re
import signal
import subprocess
import sys
import tempfile
import time

RECORDS = 10
PROGRAM = os.path.abspath(sys.argv[1])
CALL = re.compile(r"^\d+ +(\d+\.\d+) (pwrite64|pwritev2?|fdatasync)\(\d+<([^>]*)>.*= (-?\d+).*<(\d+\.\d+)>$")


def trace(durability):
    """The calls on segments of the topic, as (end, name), and when each producer had its answer."""
    with tempfile.TemporaryDirectory() as folder:
        log = os.path.join(folder, "strace")
        broker = subprocess.Popen(
            ["strace", "-f", "-y", "-ttt", "-T", "-qq", "-e", "signal=none", "-e", "trace=pwrite64,pwritev,pwritev2,fdatasync",
             "-o", log, PROGRAM, "serve", "--data-dir", os.path.join(folder, "data"), "--grpc-listen", "127.0.0.1:0",
             "--http-listen", "127.0.0.1:0", "--set", f"durability={durability}"],
            stdout=subprocess.PIPE, text=True)
        try:
            line = broker.stdout.readline()
            if not line.startswith("ready "):
                sys.exit(f"the broker does not start under strace: {line!r}")
            server = line.split("grpc=")[1].split()[0]
            run = lambda *words, **more: subprocess.run([PROGRAM, "--server", server, *words], check=True,
                                                         capture_output=True, text=True, **more)
            run("topic", "create", "counted")
            answered = []
            for number in range(RECORDS):
                run("produce", "counted", input=f"record {number}\n")
                answered.append(time.time())
        finally:
            # Not strace, which takes no signals; what it has written is complete when it has ended.
            with open(f"/proc/{broker.pid}/task/{broker.pid}/children", encoding="ascii") as children:
                for child in children.read().split():
                    os.kill(int(child), signal.SIGTERM)
            broker.wait(60)
        calls = []
        unread = []
        with open(log, encoding="utf-8") as lines:
            for text in merged(lines):
                found = CALL.match(text)
                if found and "/topics/counted/" in found[3] and found[3].endswith(".log"):
                    if int(found[4]) < 0:
                        sys.exit(f"a call failed: {text}")
                    calls.append((float(found[1]) + float(found[5]), found[2]))
                elif "/topics/counted/" in text and ".log>" in text:
                    unread.append(text)
        if unread:
            sys.exit(f"lines of strace that this script does not understand: {unread[:3]}")
        return calls, answered


def merged(lines):
    """Calls that strace has split in two, put together."""
    open_calls = {}
    for line in lines:
        line = line.rstrip("\n")
        thread = line.split(" ", 1)[0]
        if line.endswith("<unfinished ...>"):
            open_calls[thread] = line.removesuffix("<unfinished ...>").rstrip()
        elif " resumed>" in line:
            yield open_calls.pop(thread, "") + line.split(" resumed>", 1)[1]
        else:
            yield line


def main():
    calls, answered = trace("sync")
    began = 0.0
    for number, answer in enumerate(answered):
        wrote = [end for end, name in calls if name != "fdatasync" and began < end < answer]
        if not wrote:
            sys.exit(f"record {number}: no write before its answer")
        if not any(name == "fdatasync" and wrote[-1] < end < answer for end, name in calls):
            sys.exit(f"record {number}: no fdatasync between its write and its answer")
        began = answer
    syncs = sum(name == "fdatasync" and end < answered[-1] for end, name in calls)
    calls, answered = trace("os")
    needless = sum(name == "fdatasync" and end < answered[-1] for end, name in calls)
    if needless:
        sys.exit(f"durability=os: {needless} syncs before the last answer")
    print(f"{RECORDS} synced records, {syncs} syncs, each before its answer; durability=os: none")


main()
