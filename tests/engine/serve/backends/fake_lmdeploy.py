"""Stands in for LMDeploy: its flags, fields and answers as one version has them; run as a program.

What that version takes lies beside it, in `lmdeploy_facts.json`. The real server passes over what
it does not know or does not do, without a word; this one refuses it, so that we never ask for it.
argv[0] decides how it behaves: `lmdeploy` serves, `lmdeploy-broken` dies while it loads.
"""

import argparse
import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

FACTS = json.loads(Path(__file__).with_name("lmdeploy_facts.json").read_text())
FIELDS = {
    "/v1/chat/completions": FACTS["chat_fields"],
    "/v1/completions": FACTS["completion_fields"],
}
# It has these fields and does nothing with them.
IDLE = {"frequency_penalty", "presence_penalty"}
# How an answer ends, by its seed.
ENDS = {13: "error", 14: "abort", 15: "parse_error", 16: "length"}
TYPES = {"int": int, "float": float, "str": str}


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("lmdeploy serve api_server", allow_abbrev=False)
    parser.add_argument("model_path")
    for name, facts in FACTS["flags"].items():
        if facts["takes"] == "none":
            parser.add_argument(name, action="store_true")
            continue
        nargs = {"nargs": "*"} if facts["takes"] == "several" else {}
        choices = {"choices": facts["choices"]} if "choices" in facts else {}
        parser.add_argument(name, type=TYPES[facts["type"]], **nargs, **choices)
    return parser


def write_event(choices: list[dict], usage: dict | None) -> bytes:
    body = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "x"}
    return b"data: " + json.dumps(body | {"choices": choices, "usage": usage}).encode() + b"\n\n"


def find_fault(path: str, body: dict) -> str:
    """Return what is wrong with a request; nothing where the real server would do all it asks."""
    if unknown := set(body) - set(FIELDS[path]):
        return f"It would pass over {sorted(unknown)}."
    if idle := {name for name in IDLE & set(body) if body[name]}:
        return f"It would do nothing with {sorted(idle)}."
    if body.get("tools"):
        return "Please launch the api_server with --tool-call-parser if you want to use tools."
    if path == "/v1/completions" and (body.get("logprobs") or not isinstance(body["prompt"], str)):
        return "It would break off."
    return ""


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        if f"GET {self.path}" not in FACTS["routes"]:
            self.answer(404, {"detail": "Not Found"})
            return
        names = [OPTIONS.model_name, *(one.split("=")[0] for one in OPTIONS.adapters or [])]
        cards = [{"id": name, "object": "model", "owned_by": "lmdeploy"} for name in names]
        self.answer(200, {"object": "list", "data": [one | {"parent": None} for one in cards]})

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if f"POST {self.path}" not in FACTS["routes"]:
            self.answer(404, {"detail": "Not Found"})
        elif self.path == "/v1/encode":
            ids = [*body["input"].encode()]
            self.answer(200, {"input_ids": ids, "length": len(ids)})
        elif self.path not in FIELDS:
            self.refuse("Unsupported by turbomind.")
        elif fault := find_fault(self.path, body):
            self.refuse(fault)
        else:
            self.stream(body)

    def stream(self, body):
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        words = ["I got ", json.dumps({"argv": sys.argv[1:], "body": body})]
        for word, end in zip(words, (None, ENDS.get(body.get("seed"), "stop")), strict=True):
            text = {"delta": {"role": "assistant", "content": word}}
            choice = text if "messages" in body else {"text": word}
            finish = {"finish_reason": end} if end else {}
            self.wfile.write(write_event([{"index": 0} | choice | finish], None))
        usage = {"prompt_tokens": 5, "total_tokens": 9, "completion_tokens": 4}
        usage["prompt_tokens_details"] = {"cached_tokens": 2}
        self.wfile.write(write_event([], usage))
        self.wfile.write(b"data: [DONE]\n\n")

    def refuse(self, message):
        error = {"message": message, "type": "invalid_request_error", "code": 400, "param": None}
        self.answer(400, error | {"object": "error"})

    def answer(self, status, body):
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())

    def log_message(self, *words):
        pass


if __name__ == "__main__":
    parser = build_parser()
    if "--help" in sys.argv:
        parser.print_help()
    elif sys.argv[0].endswith("broken"):
        print("CUDA out of memory in a far away place", file=sys.stderr)
        sys.exit(1)
    else:
        OPTIONS = parser.parse_args(sys.argv[3:])
        print("Loading weights", flush=True)
        address = (OPTIONS.server_name, OPTIONS.server_port)
        ThreadingHTTPServer(address, Handler).serve_forever()
