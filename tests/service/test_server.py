"""The process of a server, besides what it answers."""

import subprocess
import sys
from pathlib import Path

MODELS = Path(__file__).resolve().parents[2] / "deploy" / "models"

STARTS = """
import asyncio, gc, os, signal, sys
from service.config import ModelsConfig, ServerConfig, ServiceConfig
from service.server import serve

async def main():
    def tell(_):
        print("left alone", gc.get_freeze_count(), "looked at", len(gc.get_objects()))
        os.kill(os.getpid(), signal.SIGTERM)

    serving = asyncio.get_running_loop().create_future()
    serving.add_done_callback(tell)
    config = ServiceConfig(
        server=ServerConfig(listen="127.0.0.1:0"),
        models=ModelsConfig(directory=sys.argv[1], load=("openfield-mouse",)),
    )
    await serve(config, announce=serving)

asyncio.run(main())
"""


def test_the_garbage_collector_leaves_alone_what_stays():
    ran = subprocess.run(
        [sys.executable, "-c", STARTS, str(MODELS)],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    (told,) = (line for line in ran.stdout.splitlines() if line.startswith("left alone"))
    left_alone, looked_at = int(told.split()[2]), int(told.split()[5])
    assert left_alone > 20 * looked_at
