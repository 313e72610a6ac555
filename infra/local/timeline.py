"""What happened when: chapters, events, figures and samples of the cluster, kept as JSON; `page` draws them."""

import json
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

# Of what a chapter failed by: a test that goes on, or is ended, may never come to print it.
_SAID = 4000


@dataclass
class Timeline:
    """Times are Unix seconds. `figures` are the ones the project promises: name, value, limit, unit."""

    title: str = "Delivery, end to end"
    started: float = field(default_factory=time.time)
    chapters: list[dict[str, Any]] = field(default_factory=list)
    events: list[dict[str, Any]] = field(default_factory=list)
    figures: list[dict[str, Any]] = field(default_factory=list)
    samples: list[dict[str, Any]] = field(default_factory=list)

    @contextmanager
    def chapter(self, title: str) -> Iterator[None]:
        """A part of the story; printed with its duration when it ends, and at once with what it failed by."""
        entry: dict[str, Any] = {"title": title, "start": time.time(), "end": None, "passed": False}
        self.chapters.append(entry)
        self.say(f"-- {title}")
        try:
            yield
            entry["passed"] = True
        except BaseException as error:
            entry["error"] = f"{type(error).__name__}: {error}"[:_SAID]
            self.say(f"   {entry['error']}")
            raise
        finally:
            entry["end"] = time.time()
            self.say(f"   {'done' if entry['passed'] else 'FAILED'} in {entry['end'] - entry['start']:.1f} s")

    def event(self, what: str, url: str = "") -> float:
        """Note that something happened now, and where one sees it; returns when."""
        now = time.time()
        self.events.append({"at": now, "what": what, "url": url})
        self.say(f"   {what}" + (f"  {url}" if url else ""))
        return now

    def figure(self, name: str, value: float, limit: float, unit: str = "s") -> None:
        """Note a promised figure beside its limit; the story holds the median of those of one name to it."""
        self.figures.append({"name": name, "value": round(value, 4), "limit": limit, "unit": unit})
        self.say(f"   {name}: {value:.3g} {unit} (limit {limit:g} {unit})")

    def missed(self, times: float = 1.0) -> dict[str, float]:
        """Figures whose median over the story is above so many times its limit."""
        named = {one["name"]: [other for other in self.figures if other["name"] == one["name"]] for one in self.figures}
        medians = {name: (median(one["value"] for one in ones), ones[0]["limit"]) for name, ones in named.items()}
        return {name: value for name, (value, limit) in medians.items() if value > times * limit}

    def say(self, text: str) -> None:
        """A line of the printed timeline."""
        sys.stdout.write(f"{time.time() - self.started:7.1f} s {text}\n")
        sys.stdout.flush()

    def write(self, folder: Path) -> None:
        """timeline.json."""
        folder.mkdir(parents=True, exist_ok=True)
        document = {
            name: getattr(self, name) for name in ("title", "started", "chapters", "events", "figures", "samples")
        }
        (folder / "timeline.json").write_text(json.dumps(document, indent=1))


@contextmanager
def sampling(timeline: Timeline, look: Callable[[], list[dict[str, Any]]], every: float = 1.0) -> Iterator[None]:
    """Note what `look` sees, about once a second, until the block ends; a cluster that does not answer is nothing."""
    stop = threading.Event()

    def run() -> None:
        while not stop.wait(every):
            now = time.time()
            timeline.samples.extend({"at": now, **seen} for seen in look())

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
