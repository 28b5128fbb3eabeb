"""Run the demo and write its summary as docs/demo.svg: `make picture`."""

import os
from pathlib import Path

from rich.console import Console

from worker.cli.report import show
from worker.local.demo import DemoOptions, Listener, run_demo

console = Console(record=True, width=100, file=Path(os.devnull).open("w", encoding="utf-8"), force_terminal=True)
show(run_demo(DemoOptions(), Listener(print, lambda _tick: None)), console)
console.save_svg(str(Path(__file__).with_name("demo.svg")), title="make demo")
