"""A small Hugging Face hub on this machine, and what a source makes of it.

Run as a program, in a process of its own: the libraries read the hub's address when they are
imported. Prints one JSON object.
"""

import hashlib
import http.server
import io
import json
import os
import sys
import tempfile
import threading
import urllib.parse

import pyarrow as pa
import pyarrow.parquet as pq

MAIN, CONVERTED = "a" * 40, "b" * 40
REVISIONS = {"main": MAIN, "refs/convert/parquet": CONVERTED}
ROWS = [{"text": f"question {n}", "coarse_label": n} for n in range(3)]


def parquet(rows):
    file = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), file)
    return file.getvalue()


def digest(data):
    return hashlib.sha1(data).hexdigest()


FILES = {
    ("acme/questions", MAIN): {"questions.py": b"script", "README.md": b"---\nlicense: mit\n---\n"},
    ("acme/questions", CONVERTED): {
        "default/train/0000.parquet": parquet(ROWS[:2]),
        "default/train/0001.parquet": parquet(ROWS[2:]),
        "default/test/0000.parquet": parquet(ROWS[:1]),
    },
}


class Hub(http.server.BaseHTTPRequestHandler):
    """Answers what the libraries ask: about a revision, for its list of files, and for a file."""

    def log_message(self, *_):
        pass

    def do_HEAD(self):
        self.answer(body=False)

    def do_GET(self):
        self.answer(body=True)

    def answer(self, *, body):
        path = urllib.parse.unquote(urllib.parse.urlsplit(self.path).path)
        status, headers, data = self.found(path)
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(data))}.items():
            self.send_header(name, value)
        self.end_headers()
        if body:
            self.wfile.write(data)

    def found(self, path):
        if path == "/":
            return 200, {}, b""
        for (repository, commit), files in FILES.items():
            for revision in (commit, *(name for name, at in REVISIONS.items() if at == commit)):
                if path == f"/api/datasets/{repository}/revision/{revision}":
                    siblings = [{"rfilename": name} for name in files]
                    about = {"_id": "0", "id": repository, "sha": commit, "siblings": siblings}
                    return 200, {"Content-Type": "application/json"}, json.dumps(about).encode()
                if path.startswith(f"/api/datasets/{repository}/tree/{revision}"):
                    tree = [
                        {"type": "file", "path": name, "size": len(data), "oid": digest(data)}
                        for name, data in files.items()
                    ]
                    return 200, {"Content-Type": "application/json"}, json.dumps(tree).encode()
                start = f"/datasets/{repository}/resolve/{revision}/"
                if path.startswith(start):
                    data = files.get(path.removeprefix(start))
                    if data is None:
                        headers = {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": commit}
                        return 404, headers, b""
                    return 200, {"ETag": f'"{digest(data)}"', "X-Repo-Commit": commit}, data
        return 404, {"X-Error-Code": "RepoNotFound"}, b""


def outcome(source, split):
    """What comes of reading a split."""
    from instrux.errors import InputError

    try:
        return {
            "splits": source.splits(),
            "columns": source.columns(split),
            "rows": [row for _, row in source.rows(split)],
            "fingerprint": source.fingerprint(split),
        }
    except InputError as error:
        return {"error": str(error)}


def main():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with tempfile.TemporaryDirectory() as home:
        endpoint = f"http://127.0.0.1:{server.server_address[1]}"
        os.environ |= {"HF_ENDPOINT": endpoint, "HF_HOME": home, "HF_HUB_DISABLE_XET": "1"}
        from huggingface_hub import constants

        from instrux.data import hugging_face, sources_hub
        from instrux.data.hub_location import FieldChange, HubLocation
        from instrux.data.sources import HuggingFaceSource

        changes = (FieldChange("coarse_label", "label-coarse", ((0, 2), (1, 1), (2, 0))),)
        converted = HubLocation("acme/questions", conversion=True, changes=changes)
        commit = HubLocation("acme/questions", revision=CONVERTED, conversion=True)
        pinned = HuggingFaceSource("questions", location=converted)
        script = HuggingFaceSource("acme/questions")
        absent = HuggingFaceSource("acme/absent")
        report = {
            "converted": outcome(pinned, "train"),
            "commit": outcome(HuggingFaceSource("questions", location=commit), "test"),
            "script": outcome(script, "test"),
            "absent": outcome(absent, "train"),
        }
        # Nobody listens there: what was read before is in the cache.
        constants.ENDPOINT = "http://127.0.0.1:9"
        hugging_face._unreachable.cache_clear()
        sources_hub._load_hugging_face.cache_clear()
        report["cached"] = outcome(pinned, "train")
        report["unreachable"] = outcome(absent, "train")
        json.dump(report, sys.stdout)


if __name__ == "__main__":
    main()
