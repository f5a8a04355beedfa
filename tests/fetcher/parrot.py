"""A child process that says what it hears, and more: its first argument says how."""

import os
import sys
import threading

import msgspec

from fetcher.child_process import limit_memory, pack, read_frame, set_alarm


class Said(msgspec.Struct):
    text: str


def main() -> None:
    jobs, answers = sys.stdin.buffer, sys.stdout.buffer
    how = sys.argv[1] if len(sys.argv) > 1 else ""
    if how == "deaf":
        threading.Event().wait()
    if how == "env":
        answers.write(pack(Said(os.environ["PARROT"])))
    if how == "alarm":
        set_alarm(0.01)
        threading.Event().wait()
    if how == "twice":
        set_alarm(0.01)
        set_alarm(0)
    if how == "memory":
        limit_memory(64 << 20)
        answers.write(pack(Said(_try_memory(int(sys.argv[2])))))
    answers.flush()
    while (frame := read_frame(jobs)) is not None:
        answers.write(pack(msgspec.msgpack.decode(frame, type=Said)))
        answers.flush()
    sys.exit(3 if how == "three" else 0)


def _try_memory(size: int) -> str:
    try:
        return str(len(bytearray(size)))
    except MemoryError:
        return "too much"
