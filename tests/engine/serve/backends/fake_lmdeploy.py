"""Stands in for LMDeploy: its help and its answers as version 0.18 words them; run as a program.

argv[0] decides how it behaves: `lmdeploy` serves, `lmdeploy-broken` dies while it loads.
"""

import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

HELP = """usage: lmdeploy serve api_server [-h] [--server-name SERVER_NAME]
                        [--server-port SERVER_PORT] [--adapters [ADAPTERS ...]]
                        [--dtype {auto,float16,bfloat16}]
options:
  --server-name SERVER_NAME
  --server-port SERVER_PORT
  --model-name MODEL_NAME
  --backend {pytorch,turbomind}
  --session-len SESSION_LEN
  --adapters, --dtype, --tp TP
"""


def flag(name: str) -> str:
    return sys.argv[sys.argv.index(name) + 1]


def chunk(delta: dict, finish: str | None = None, usage: dict | None = None) -> bytes:
    choice = {"index": 0, "delta": {"role": "assistant", "reasoning_content": None, **delta}}
    choice |= {"logprobs": None, "finish_reason": finish}
    body = {"id": "1", "object": "chat.completion.chunk", "model": "x", "choices": [choice]}
    return b"data: " + json.dumps(body | {"usage": usage}).encode() + b"\n\n"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        card = {"id": flag("--model-name"), "object": "model", "owned_by": "lmdeploy"}
        self.answer(200, {"object": "list", "data": [card]})

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if body.get("tools"):
            message = "Please launch the api_server with --tool-call-parser to use tools."
            error = {"object": "error", "message": message, "type": "x", "code": 400}
            self.answer(400, error)
            return
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        for word in ("I got ", json.dumps({"argv": sys.argv[1:], "body": body})):
            self.wfile.write(chunk({"content": word}))
        usage = {"prompt_tokens": 5, "total_tokens": 9, "completion_tokens": 4}
        self.wfile.write(chunk({"content": ""}, "stop", usage))
        self.wfile.write(b"data: [DONE]\n\n")

    def answer(self, status, body):
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())

    def log_message(self, *words):
        pass


if __name__ == "__main__":
    if "--help" in sys.argv:
        print(HELP)
    elif sys.argv[0].endswith("broken"):
        print("CUDA out of memory in a far away place", file=sys.stderr)
        sys.exit(1)
    else:
        print("Loading weights", flush=True)
        address = (flag("--server-name"), int(flag("--server-port")))
        ThreadingHTTPServer(address, Handler).serve_forever()
