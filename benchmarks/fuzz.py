"""Hostile requests to a running server, and hostile answers through grader, runner and report.

    OMP_NUM_THREADS=1 python -m benchmarks.fuzz requests --count 10000
    OMP_NUM_THREADS=1 python -m benchmarks.fuzz answers --count 100000

Beside the hostile clients an honest one asks the same question again and again: its answer must not change.
"""

import argparse
import json
import logging
import random
import shutil
import socket
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

from benchmarks.soak import resident
from tests.evals.scripted import ScriptedEngine, problem
from tests.evals.test_runner import task
from tests.fuzz.hostile_answers import KINDS, PIECES
from tests.serve.conftest import chain_model, serving

from xreasoner.evals.runner import evaluate
from xreasoner.evals.task import Benchmark
from xreasoner.records import Kind, Problem, Sampling
from xreasoner.report import budget_curves, curves, plots
from xreasoner.report.write import write_report
from xreasoner.rewards.grade import Grader
from xreasoner.serve.serve_settings import ServeSettings

# --- requests -------------------------------------------------------------------------------------------

SCRIPT = "<think> w1 w2 w3 w4 </think> <answer> w20 w21 </answer> <|im_end|>"
QUESTION = {"role": "user", "content": "w10 w11"}
FIELDS = (
    *(
        "messages",
        "model",
        "max_tokens",
        "max_completion_tokens",
        "temperature",
        "n",
        "stop",
        "stream",
        "seed",
    ),
    *("thinking_token_budget", "stream_options", "response_format", "tools", "logprobs", "top_p", "unknown"),
)
VALUES = (
    *(None, True, False, 0, 1, -1, 2, 3.5, 1e308, 1e-45, 10**30, "", "a", "\ud800", "mini", "w20", [], {}),
    *([QUESTION], [[]], [None], {"role": "user"}, [{"role": "user", "content": [{"type": "image_url"}]}]),
    [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "file:///etc/passwd"}}]}],
    [
        {
            "role": "user",
            "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}],
        }
    ],
    [{"role": "system", "content": "w1 " * 300}],
    [{"role": "assistant", "content": "<think> w1"}, QUESTION],
)
HEADERS = (
    *("Content-Type: text/plain", "Content-Length: 99999999999", "Content-Length: -1", "Content-Length: 1"),
    *(
        "Transfer-Encoding: chunked",
        "Expect: 100-continue",
        "Authorization: Bearer x",
        "Authorization: Basic x",
    ),
    *("Connection: close", "X: " + "y" * 9000, "Host: evil", "\x00: 1", "Content-Encoding: gzip"),
)
PATHS = ("/v1/chat/completions",) * 30 + (
    "/v1/models",
    "/health",
    "/",
    "/v1/%00",
    "/v1/../etc",
    "*",
    "/" + "a" * 9000,
)


def hostile_request(rng: random.Random) -> tuple[bytes, bool]:
    """And whether the server can know where it ends."""
    body: bytes = b""
    match rng.randrange(4):
        case 0:
            body = rng.randbytes(rng.randrange(200))
        case 1:
            body = json.dumps({rng.choice(FIELDS): rng.choice(VALUES) for _ in range(4)}).encode()
        case _:
            changed = {rng.choice(FIELDS): rng.choice(VALUES) for _ in range(rng.randrange(3))}
            body = json.dumps({"messages": [QUESTION], "max_tokens": 3} | changed).encode()
    if rng.random() < 0.1:
        body = body[: rng.randrange(len(body) + 1)]
    method = rng.choice(("POST",) * 30 + ("GET", "PUT", "HEAD", "DELETE", "", "\x01"))
    lines = [f"{method} {rng.choice(PATHS)} HTTP/1.{rng.choice('0111')}", "Host: x", "Connection: close"]
    is_whole = rng.random() < 0.95
    if is_whole:
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    if rng.random() < 0.15:
        lines.append(rng.choice(HEADERS))
        is_whole = False
    sent = "\r\n".join(lines).encode() + b"\r\n\r\n" + body
    if rng.random() < 0.03:
        return sent[: rng.randrange(len(sent))], False
    return sent, is_whole


def status_of(address: tuple[str, int], sent: bytes, is_whole: bool) -> str:
    """The status of the answer, or how the connection ended."""
    with socket.create_connection(address, timeout=20) as line:
        try:
            line.sendall(sent)
            if not is_whole:
                line.shutdown(socket.SHUT_WR)
            received = b""
            while piece := line.recv(65536):
                received += piece
        except (ConnectionResetError, BrokenPipeError):
            return "closed"
        except TimeoutError:
            return "no answer"
    return received[9:12].decode("ascii", "replace") if received.startswith(b"HTTP/1.") else "closed"


def honest_request() -> bytes:
    body = json.dumps({"messages": [QUESTION], "max_tokens": 40}).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n"
    return f"{head}Content-Type: application/json\r\nConnection: close\r\n\r\n".encode() + body


def honest_answer(address: tuple[str, int]) -> str:
    with socket.create_connection(address, timeout=60) as line:
        line.sendall(honest_request())
        received = b""
        while piece := line.recv(65536):
            received += piece
    head, _, body = received.partition(b"\r\n\r\n")
    assert b" 200 " in head.splitlines()[0] or b" 429 " in head.splitlines()[0], received
    return json.dumps(json.loads(body)["choices"]) if b" 200 " in head else ""


def fuzz_requests(count: int, rng: random.Random) -> list[str]:
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)  # it warns of each invalid request
    wrong, statuses, honest = list[str](), Counter[str](), Counter[str]()
    settings = ServeSettings("mini", port=0, think_budget=16, answer_budget=8)
    with serving(chain_model(SCRIPT), settings, rows=8) as server:
        address = server.server_address[:2]
        wanted, stopped = honest_answer(address), threading.Event()

        def ask_honestly() -> None:
            while not stopped.is_set():
                honest["same" if honest_answer(address) == wanted else "other"] += 1
                stopped.wait(0.02)

        asking = threading.Thread(target=ask_honestly)
        asking.start()
        print("| requests | MiB |\n|---|---|")
        for number in range(1, count + 1):
            sent, is_whole = hostile_request(rng)
            status = status_of(address, sent, is_whole)
            statuses[status] += 1
            if status[0] == "5" or status == "no answer":
                wrong.append(f"{status}: {sent[:500]!r}")
            if number % max(1, count // 10) == 0:
                print(f"| {number} | {resident():.1f} |", flush=True)
        stopped.set()
        asking.join()
    print(f"answers by status: {dict(sorted(statuses.items()))}; the honest client's: {dict(honest)}")
    return wrong + (["an honest answer changed"] if honest["other"] else [])


# --- answers --------------------------------------------------------------------------------------------

OF_AN_EVALUATION = 5000


def hostile_answer(rng: random.Random) -> str:
    pieces = [rng.choice(PIECES) for _ in range(rng.randrange(14))]
    if rng.random() < 0.3:
        pieces.append(str(rng.randrange(10 ** rng.randrange(1, 40))))
    if rng.random() < 0.01:
        pieces.append(rng.choice(("(", "<think></think>", "9", "\\boxed{", "$ ")) * rng.randrange(3000))
    return "".join(pieces)


def fuzz_answers(count: int, rng: random.Random, folder: Path) -> list[str]:
    for module in (curves, plots, budget_curves):  # most of the time of a report, and no text of a model
        module.draw = lambda *_, **__: ""
    wrong = list[str]()
    print("| answers | MiB | wrong |\n|---|---|---|")
    for first in range(0, count, OF_AN_EVALUATION):
        for number, (kind, (key, choices)) in enumerate(KINDS.items()):
            share = OF_AN_EVALUATION // len(KINDS)
            asked = [replace(problem(i), kind=kind, answer=key, choices=choices) for i in range(share)]
            asked = [replace(one, id=f"q{i}", item=f"q{i}") for i, one in enumerate(asked)]
            texts = {one.id: hostile_answer(rng) for one in asked}
            wrong += answered(kind, asked, texts, folder / f"{first}-{number}")
        print(f"| {first + OF_AN_EVALUATION} | {resident():.1f} | {len(wrong)} |", flush=True)
    return wrong


def answered(kind: Kind, asked: list[Problem], texts: dict[str, str], run_dir: Path) -> list[str]:
    """What is wrong with one evaluation."""
    job = task(run_dir / "evals" / "base", Sampling(), Benchmark("sums", "text", "general", tuple(asked)))
    with Grader(workers=1, seconds=1.0) as grader:
        evaluate(job, ScriptedEngine(lambda name, _: texts[name]), grader, lambda _: None)
    write_report(run_dir)
    wrong = list[str]()
    samples = job.answers()
    if {one.problem_id: one.text for one in samples} != texts:
        wrong.append(f"{kind}: other texts were read than were answered")
    must_hold = {"math": "7919", "number": "7919", "exact": "zebra", "open": "zebra", "choice": ""}[kind]
    for one in samples:
        if one.score.correct and must_hold not in one.text.replace(".", ""):
            wrong.append(f"{kind}: correct? {one.text[:300]!r}: {one.score.why}")
    if b"</script><b>" in (run_dir / "report.html").read_bytes():
        wrong.append(f"{kind}: the page holds a model's markup")
    shutil.rmtree(run_dir)
    return wrong


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["requests", "answers"])
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    rng, began = random.Random(chosen.seed), time.process_time()
    folder = Path(tempfile.mkdtemp(prefix="fuzz-"))
    if chosen.what == "requests":
        wrong = fuzz_requests(chosen.count, rng)
    else:
        wrong = fuzz_answers(chosen.count, rng, folder)
    shutil.rmtree(folder)
    print(f"{len(wrong)} wrong; {time.process_time() - began:.0f} CPU s")
    print(*wrong[:20], sep="\n")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
