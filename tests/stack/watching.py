"""A program that watches a directory by watchdog, with a line for each event: `python -m tests.stack.watching DIR`."""

from __future__ import annotations

import sys
import threading

from watchdog.events import FileSystemEvent, FileSystemEventHandler
from watchdog.observers import Observer


class Printing(FileSystemEventHandler):
    def on_any_event(self, event: FileSystemEvent) -> None:
        if event.event_type in {"created", "deleted", "modified", "moved", "attrib", "closed"}:
            where = "/" if event.is_directory else ""
            print(event.event_type, f"{event.src_path}{where}", event.dest_path or "", flush=True)


if __name__ == "__main__":
    observer = Observer()
    observer.schedule(Printing(), sys.argv[1], recursive=True)
    observer.start()
    print("watching", flush=True)
    threading.Event().wait()
