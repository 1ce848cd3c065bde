# SPDX-License-Identifier: Apache-2.0
"""Drives a headless Chromium through its debugging pipe (no packages needed)."""
import fcntl
import json
import os
import select
import subprocess
import time


class Browser:
    """One browser process with one page; `profile` outlives it."""

    def __init__(self, program, profile, width=1200, height=900):
        down, self.to = os.pipe()
        self.back, up = os.pipe()
        # The browser wants the pipes as descriptors 3 and 4; far away from them first, so that none is overwritten.
        high = [fcntl.fcntl(end, fcntl.F_DUPFD, 10) for end in (down, up)]

        def place():
            os.dup2(high[0], 3)
            os.dup2(high[1], 4)

        self.process = subprocess.Popen(
            [program, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
             "--disable-background-networking", "--remote-debugging-pipe", "--window-size=%d,%d" % (width, height),
             "--user-data-dir=" + profile, "about:blank"],
            preexec_fn=place, pass_fds=(3, 4), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for descriptor in [down, up] + high:
            os.close(descriptor)
        self.buffer, self.number, self.session, self.events = b"", 0, None, []
        targets = self.call("Target.getTargets", at_most=60)["targetInfos"]
        page = [t for t in targets if t["type"] == "page"][0]["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=page, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "DOM"):
            self.call(domain + ".enable")

    def receive(self, deadline):
        while b"\0" not in self.buffer:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self.back], [], [], left)[0]:
                raise TimeoutError("the browser does not answer: " + self.last)
            piece = os.read(self.back, 1 << 16)
            if not piece:
                raise TimeoutError("the browser has ended")
            self.buffer += piece
        message, self.buffer = self.buffer.split(b"\0", 1)
        return json.loads(message)

    def call(self, method, at_most=30, **parameters):
        self.number += 1
        message = {"id": self.number, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        self.last = method + " " + str(parameters)[:100]
        os.write(self.to, json.dumps(message).encode() + b"\0")
        deadline = time.monotonic() + at_most
        while True:
            answer = self.receive(deadline)
            if answer.get("id") == self.number:
                if "error" in answer:
                    raise RuntimeError("%s: %s" % (method, answer["error"]))
                return answer["result"]
            self.events.append(answer)

    def open(self, url):
        self.events = []
        self.call("Page.navigate", url=url)
        self.wait("document.readyState === 'complete' && location.href.split('#')[0] === %s" % json.dumps(url))

    def value(self, expression):
        result = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        if "exceptionDetails" in result:
            raise RuntimeError("%s: %s" % (expression, result["exceptionDetails"]))
        return result["result"].get("value")

    def wait(self, expression, at_most=30):
        deadline = time.monotonic() + at_most
        while True:
            try:
                if self.value(expression):
                    return
            except RuntimeError:
                pass  # between two pages
            if time.monotonic() > deadline:
                raise TimeoutError("never true: " + expression)
            time.sleep(0.05)

    def key(self, key, modifiers=0):
        """A key as a person presses it; `modifiers`: 2 control, 8 shift."""
        codes = {"Enter": 13, "Tab": 9, "Escape": 27}
        code = codes.get(key, ord(key.upper()) if len(key) == 1 else 0)
        text = "\r" if key == "Enter" else key if len(key) == 1 and not modifiers & 2 else None
        down = {"type": "keyDown", "key": key, "windowsVirtualKeyCode": code, "modifiers": modifiers}
        if text:
            down["text"] = text
        self.call("Input.dispatchKeyEvent", **down)
        self.call("Input.dispatchKeyEvent", type="keyUp", key=key, windowsVirtualKeyCode=code, modifiers=modifiers)

    def type(self, text):
        self.call("Input.insertText", text=text)

    def choose_file(self, selector, path):
        root = self.call("DOM.getDocument")["root"]["nodeId"]
        node = self.call("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self.call("DOM.setFileInputFiles", nodeId=node, files=[path])

    def complaints(self):
        """Uncaught errors, and what the page's policy refused."""
        found = []
        for event in self.events:
            if event.get("method") == "Runtime.exceptionThrown":
                found.append(event["params"]["exceptionDetails"].get("text", "exception"))
            elif event.get("method") == "Log.entryAdded" and event["params"]["entry"]["level"] == "error":
                found.append(event["params"]["entry"]["text"])
        return found

    def picture(self, path, whole=False):
        import base64
        data = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)["data"]
        with open(path, "wb") as out:
            out.write(base64.b64decode(data))

    def close(self):
        try:
            self.session = None
            self.call("Browser.close", at_most=10)
        except (OSError, TimeoutError, RuntimeError):
            pass
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        os.close(self.to)
        os.close(self.back)
