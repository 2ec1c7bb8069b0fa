"""A headless Chromium, spoken to over two pipes (the Chrome DevTools Protocol): no library."""

import base64
import contextlib
import json
import os
import shutil
import subprocess
import time

DEADLINE_S = 60
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def find_browser():
    """The path of one, or None."""
    return next(filter(None, map(shutil.which, NAMES)), None)


class Browser:
    """One page in one browser. ``messages``: errors and warnings of its console; ``requests``:
    every address that was asked for."""

    def __init__(self, home, width=1600, height=1000):
        to_child, self._out = os.pipe()
        self._in, from_child = os.pipe()
        flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run",
                 "--disable-dev-shm-usage", "--hide-scrollbars", "--remote-debugging-pipe",
                 f"--user-data-dir={home}", f"--window-size={width},{height}"]  # fmt: skip
        self._process = subprocess.Popen(
            ["/bin/bash", "-c", f'exec "$@" 3<&{to_child} 4>&{from_child}', "-", find_browser(),
             *flags, "about:blank"],
            pass_fds=(to_child, from_child), stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        os.close(to_child)
        os.close(from_child)
        self._number = 0
        self._rest = b""
        self.messages, self.requests = [], []
        targets = self._call("Target.getTargets", session=None)["targetInfos"]
        page = next(each for each in targets if each["type"] == "page")
        self._session = None
        attached = self._call("Target.attachToTarget", session=None, targetId=page["targetId"],
                              flatten=True)  # fmt: skip
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self._call(f"{domain}.enable")
        self._call("Emulation.setDeviceMetricsOverride", width=width, height=height,
                   deviceScaleFactor=1, mobile=False)  # fmt: skip

    def __enter__(self):
        return self

    def __exit__(self, *_):
        with contextlib.suppress(OSError):
            os.write(self._out, b'{"id":0,"method":"Browser.close"}\0')
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._out)
        os.close(self._in)

    def open(self, path):
        """Load a file, until its script has said that it is ready; the milliseconds of that."""
        self._call("Page.navigate", url=path.resolve().as_uri())
        deadline = time.monotonic() + DEADLINE_S
        while self.run("document.documentElement?.dataset.ready || ''") != "yes":
            assert time.monotonic() < deadline, self.messages
        return self.run("performance.now()")

    def run(self, script):
        """The value of an expression, which may be a promise."""
        found = self._call("Runtime.evaluate", expression=script, returnByValue=True,
                           awaitPromise=True)  # fmt: skip
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def frame(self):
        """Wait until what was asked for is drawn."""
        self.run("new Promise(done => requestAnimationFrame(() => requestAnimationFrame("
                 "() => done(1))))")  # fmt: skip

    def move(self, x, y):
        self._call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)

    def click(self, x, y):
        for kind in ("mousePressed", "mouseReleased"):
            self._call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left",
                       buttons=1, clickCount=1)  # fmt: skip
        self.frame()

    def key(self, name, shift=False):
        text = name if len(name) == 1 else ""
        self._call("Input.dispatchKeyEvent", type="keyDown", key=name, text=text,
                   modifiers=8 if shift else 0)  # fmt: skip
        self._call("Input.dispatchKeyEvent", type="keyUp", key=name)
        self.frame()

    def dark(self, dark=True):
        value = "dark" if dark else "light"
        self._call("Emulation.setEmulatedMedia",
                   features=[{"name": "prefers-color-scheme", "value": value}])  # fmt: skip

    def screenshot(self, path):
        data = self._call("Page.captureScreenshot", format="png")["data"]
        path.write_bytes(base64.b64decode(data))

    def _call(self, method, session="page", **params):
        self._number += 1
        message = {"id": self._number, "method": method, "params": params}
        if session and self._session:
            message["sessionId"] = self._session
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self._out, data) :]
        while True:
            answer = self._receive()
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                return answer["result"]
            self._note(answer)

    def _note(self, event):
        method, params = event.get("method"), event.get("params", {})
        if method == "Runtime.exceptionThrown":
            self.messages.append(params["exceptionDetails"])
        elif method == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning"):
            self.messages.append(params)
        elif method == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"):
            self.messages.append(params["entry"])
        elif method == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])

    def _receive(self):
        while b"\0" not in self._rest:
            piece = os.read(self._in, 1 << 16)
            assert piece, "the browser has ended"
            self._rest += piece
        line, _, self._rest = self._rest.partition(b"\0")
        return json.loads(line)
