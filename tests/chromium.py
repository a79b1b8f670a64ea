"""A real browser, with the network off."""

import contextlib
import json
import os
import select
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

from hang import HANG

NAMES = ("chromium", "chromium-browser", "chrome", "google-chrome")
CHROMIUM = next(filter(None, map(shutil.which, NAMES)), None)


class Browser:
    """Chromium behind its DevTools protocol, over two pipes: messages end with a zero byte."""

    def __init__(self, profile: Path) -> None:
        from_us, self._write = os.pipe()
        self._read, to_us = os.pipe()
        options = [
            *("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"),
            *("--disable-background-networking", "--no-first-run", "--disable-extensions"),
            *("--host-resolver-rules=MAP * ~NOTFOUND", "--remote-debugging-pipe"),
            f"--user-data-dir={profile}",
        ]
        # The protocol is read from descriptor 3 and written to 4.
        command = f'exec "$0" "$@" 3<&{from_us} 4>&{to_us}'
        self.process = subprocess.Popen(
            ["/bin/bash", "-c", command, str(CHROMIUM), *options],
            pass_fds=(from_us, to_us),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(from_us)
        os.close(to_us)
        self._unread = b""
        self._number = 0
        self.session: str | None = None
        self.events: list[dict[str, Any]] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self.session = attached["sessionId"]
        for domain in ("Network", "Runtime", "Log", "Page"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self.session is not None:
            message["sessionId"] = self.session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        end = time.monotonic() + HANG
        while True:
            answer = self._next(end)
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                return answer["result"]
            self.events.append(answer)

    def _next(self, end: float) -> dict[str, Any]:
        while b"\0" not in self._unread:
            ready, _, _ = select.select([self._read], [], [], max(0, end - time.monotonic()))
            chunk = os.read(self._read, 1 << 20) if ready else b""
            assert chunk, f"Chromium did not answer in {HANG} s"
            self._unread += chunk
        message, self._unread = self._unread.split(b"\0", 1)
        return json.loads(message)

    def evaluate(self, code: str) -> Any:
        answer = self.call(
            "Runtime.evaluate", expression=code, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def open(self, path: Path) -> None:
        self.events.clear()
        self.call("Page.navigate", url=path.as_uri())
        self.wait_for(f"location.href === {json.dumps(path.as_uri())}")
        self.wait_for("document.readyState === 'complete'")

    def wait_for(self, code: str) -> None:
        end = time.monotonic() + HANG
        while not self.evaluate(code):
            assert time.monotonic() < end, f"never true: {code}"
            time.sleep(0.05)

    def requests(self) -> set[str]:
        """Every address that was asked for."""
        sent = (e for e in self.events if e["method"] == "Network.requestWillBeSent")
        return {event["params"]["request"]["url"] for event in sent}

    def complaints(self) -> list[dict[str, Any]]:
        """Errors, warnings and whatever else reached the console."""
        methods = ("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded")
        return [event for event in self.events if event["method"] in methods]

    def drag(self, slider: str, share: float) -> None:
        """With the mouse, from where it is to a share of the slider's way."""
        ends = self.evaluate(f"""(() => {{
            const range = document.querySelector({json.dumps(slider)});
            range.scrollIntoView({{ block: "center" }});
            const box = range.getBoundingClientRect(), way = box.width - 16;
            const at = (part) => [box.left + 8 + part * way, box.top + box.height / 2];
            return [at((range.value - range.min) / (range.max - range.min)), at({share})];
        }})()""")
        kinds = ("mousePressed", "mouseMoved", "mouseReleased")
        for kind, (x, y) in zip(kinds, (ends[0], *2 * [ends[1]]), strict=True):
            self.call(
                "Input.dispatchMouseEvent",
                type=kind,
                x=x,
                y=y,
                button="left",
                buttons=int(kind != "mouseReleased"),
                clickCount=int(kind != "mouseMoved"),
            )

    def press(self, key: str) -> None:
        """A key, where the focus is."""
        code = {"ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40, "Escape": 27}
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, windowsVirtualKeyCode=code[key])

    def look(self, width: int, scheme: str) -> None:
        """As a window so wide, in the colours that the reader asked for; on a phone if narrow."""
        size = {"width": width, "height": 844, "deviceScaleFactor": 1, "mobile": width < 500}
        self.call("Emulation.setDeviceMetricsOverride", **size)
        scheme_of = {"name": "prefers-color-scheme", "value": scheme}
        self.call("Emulation.setEmulatedMedia", features=[scheme_of])

    def save_into(self, folder: Path) -> None:
        """Where the files go that a page saves."""
        self.session, session = None, self.session
        self.call("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(folder))
        self.session = session

    def saved(self, folder: Path, button: str) -> Path:
        """The file that a button of the page saves into a folder that is empty."""
        self.evaluate(f"document.querySelector({json.dumps(button)}).click()")
        end = time.monotonic() + HANG
        while not (files := [one for one in folder.iterdir() if one.suffix in (".png", ".svg")]):
            assert time.monotonic() < end, f"{button} saved nothing"
            time.sleep(0.05)
        [file] = files
        return file.rename(folder.parent / file.name)

    def close(self) -> None:
        with contextlib.suppress(Exception):
            self.session = None
            self.call("Browser.close")
        try:
            self.process.wait(HANG)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        os.close(self._write)
        os.close(self._read)


def move_slider(browser: Browser, figure: int, place: int) -> str:
    """What is written beside the slider of a figure that was moved to a place."""
    return browser.evaluate(f"""(() => {{
        const figure = document.querySelectorAll("figure.picture")[{figure}];
        const range = figure.querySelector("input[type=range]");
        range.value = {place};
        range.dispatchEvent(new Event("input"));
        return figure.querySelector(".slider output").textContent;
    }})()""")


def faint_texts(browser: Browser) -> list[str]:
    """The texts on the screen with less contrast than 4.5, or 3 where they are large: WCAG's AA.

    A translucent colour is mixed with what lies behind it. Text over a canvas, or in an SVG, is
    taken to lie on what lies behind that.
    """
    return browser.evaluate("""(() => {
        const canvas = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
        const over = (colours) => {
            for (const colour of colours) { canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1); }
            return [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3);
        };
        const linear = (part) => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
        const light = (rgb) => [0.2126, 0.7152, 0.0722].reduce((sum, share, i) => sum + share * linear(rgb[i] / 255), 0);
        const faint = new Set();
        const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
        while (texts.nextNode()) {
            const node = texts.currentNode.parentElement;
            if (!texts.currentNode.data.trim() || !node.checkVisibility({ visibilityProperty: true }) || node.closest("script, style, title")) continue;
            const style = getComputedStyle(node), behind = [];
            for (let one = node; one; one = one.parentElement) behind.unshift(getComputedStyle(one).backgroundColor);
            const paper = over(["#fff", ...behind]);
            const ink = over([`rgb(${paper})`, node.namespaceURI.endsWith("svg") ? style.fill : style.color]);
            const [dark, bright] = [light(ink), light(paper)].sort((one, other) => one - other);
            const size = parseFloat(style.fontSize), large = size >= 24 || size >= 18.66 && style.fontWeight >= 700;
            const contrast = (bright + 0.05) / (dark + 0.05);
            if (contrast < (large ? 3 : 4.5)) faint.add(`${node.localName}.${node.className} ${contrast.toFixed(2)}: ${texts.currentNode.data.trim().slice(0, 40)}`);
        }
        return [...faint];
    })()""")  # noqa: E501
