"""How quickly `zoo serve` answers on loopback, beside the SavedModel called directly.

    python benchmarks/serving.py [--export DIR] [--seconds 5]
    python benchmarks/serving.py --only demo        # seconds of zoo demo until the first answer

Clients with a kept connection ask one row at a time, as fast as they get answers. Directly, one caller asks the
SavedModel, a row or 64 rows at a time. Without --export, `zoo:lenet` is exported and asked for the bytes of PNG files.
Each row of the table is a fresh load; the server runs in a process of its own and the clients in another.
"""

import argparse
import base64
import concurrent.futures
import http.client
import io
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time
import urllib.request

import numpy as np

CLIENTS = (1, 8, 32)

LOAD = "load of the machine at the end: {0:.1f} on {3} cores"


def digits(count=64):
    """The PNG files of `count` digits."""
    from PIL import Image
    from sklearn.datasets import load_digits

    found = []
    for image in load_digits().images[:count]:
        stream = io.BytesIO()
        Image.fromarray((image * 15).astype("uint8")).save(stream, "PNG")
        found.append(stream.getvalue())
    return found


def row(name, seconds, taken):
    """Prints a row of the table: requests a second, and milliseconds of the median and the slowest hundredth."""
    middle, slow = np.percentile(np.array(taken) * 1000, (50, 99))
    print(f"| {name} | {len(taken) / seconds:,.0f} | {middle:.1f} | {slow:.1f} |", flush=True)


def directly(export, seconds):
    """Asks the SavedModel in this process."""
    import tensorflow as tf

    ask = tf.saved_model.load(str(export)).signatures["serving_default"]
    files = digits()
    for rows in (1, 64):
        batches = [tf.constant(files[start : start + rows]) for start in range(0, 64, rows)]
        for _ in range(20):
            ask(image_bytes=batches[0])
        taken, begin = [], time.perf_counter()
        while time.perf_counter() - begin < seconds:
            start = time.perf_counter()
            ask(image_bytes=batches[len(taken) % len(batches)])["label"].numpy()
            taken.append(time.perf_counter() - start)
        whole = time.perf_counter() - begin
        name = "SavedModel directly, one row" if rows == 1 else "SavedModel directly, 64 rows at a time"
        row(name, whole, taken)
        if rows > 1:
            print(f"| (the same, as rows) | {len(taken) * rows / whole:,.0f} | | |", flush=True)


def over_http(port, path, seconds):
    """Asks the server with so many clients at once."""
    bodies = [
        json.dumps({"instances": [{"image_bytes": {"b64": base64.b64encode(one).decode()}}]}).encode()
        for one in digits()
    ]

    def client(number, until):
        connection = http.client.HTTPConnection("127.0.0.1", port)
        taken = []
        while time.perf_counter() < until:
            start = time.perf_counter()
            connection.request("POST", path, bodies[(number + len(taken)) % 64], {"Content-Type": "application/json"})
            answer = connection.getresponse()
            content = answer.read()
            if answer.status != 200:
                sys.exit(f"status {answer.status}: {content[:200]}")
            taken.append(time.perf_counter() - start)
        connection.close()
        return taken

    for clients in CLIENTS:
        client(0, time.perf_counter() + 0.5)
        begin = time.perf_counter()
        with concurrent.futures.ThreadPoolExecutor(clients) as pool:
            found = list(pool.map(client, range(clients), [begin + seconds] * clients))
        whole = time.perf_counter() - begin
        row(
            f"`zoo serve`, {clients} client{'s' if clients > 1 else ''}", whole, [one for part in found for one in part]
        )


def demo(source, name, value):
    """Prints how many seconds `zoo demo` needs until its page is there, until the first answer, and for the next."""
    begin = time.perf_counter()
    command = [sys.executable, "-m", "zoo", "demo", source, "--port", "0", "--quiet"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            url = server.stdout.readline().strip()
            urllib.request.urlopen(url).read()
            times = [time.perf_counter()]
            for _ in range(2):
                body, kind = json.dumps({name: value}).encode(), {"Content-Type": "application/json"}
                urllib.request.urlopen(urllib.request.Request(f"{url}/answer", body, kind)).read()
                times.append(time.perf_counter())
        finally:
            server.terminate()
    page, first, following = times[0] - begin, times[1] - begin, times[2] - times[1]
    print(f"| `zoo demo {source}` | {page:.1f} | {first:.1f} | {following:.2f} |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--export", help="an export that takes image_bytes (default: zoo:lenet, exported)")
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--clients", help=argparse.SUPPRESS)  # PORT/PATH: this process is the clients
    parser.add_argument("--only", choices=("serve", "demo"), default="serve", help="what is measured")
    given = parser.parse_args()
    if given.only == "demo":
        print("| seconds | until the page | until the first answer | the next answer |\n|---|---|---|---|", flush=True)
        demo("zoo:lenet", "image", base64.b64encode(digits(1)[0]).decode())
        demo("zoo:seq2seq", "text", "3 March 2011")
        return print(LOAD.format(*os.getloadavg(), os.cpu_count()))
    if given.clients:
        port, _, path = given.clients.partition("/")
        return over_http(int(port), f"/{path}", given.seconds)
    with tempfile.TemporaryDirectory() as folder:
        export = pathlib.Path(given.export or pathlib.Path(folder, "lenet"))
        if not given.export:
            subprocess.run([sys.executable, "-m", "zoo", "export", "zoo:lenet", str(export), "--quiet"], check=True)
        print("| | requests a second | median, ms | 99 % within, ms |\n|---|---|---|---|", flush=True)
        directly(export, given.seconds)
        command = [sys.executable, "-m", "zoo", "serve", str(export), "--port", "0", "--name", "model"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
            port = server.stdout.readline().strip().rpartition(":")[2]
            clients = [sys.executable, __file__, "--seconds", str(given.seconds)]
            try:
                subprocess.run([*clients, "--clients", f"{port}/v1/models/model:predict"], check=True)
            finally:
                server.terminate()
    return print(LOAD.format(*os.getloadavg(), os.cpu_count()))


if __name__ == "__main__":
    main()
