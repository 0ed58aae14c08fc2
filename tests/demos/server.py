"""The demo's own process, under guard: it prints its address, then every name or address outside that it asks for.

Run by the tests. An audit hook sees what any library in the process does with sockets.
"""

import sys

LOOPBACK = {"127.0.0.1", "localhost", "::1", "0.0.0.0", None}


def guard(event: str, arguments: tuple) -> None:
    if event == "socket.getaddrinfo" and arguments[0] not in LOOPBACK:
        print("OUTSIDE", event, arguments[0], flush=True)
    if event == "socket.connect" and isinstance(arguments[1], tuple) and arguments[1][0] not in LOOPBACK:
        print("OUTSIDE", event, arguments[1], flush=True)
    if event == "socket.bind" and isinstance(arguments[1], tuple) and arguments[1][0] != "127.0.0.1":
        print("OUTSIDE", event, arguments[1], flush=True)


sys.addaudithook(guard)

import torch  # noqa: E402

from lib.cud.model import build_model  # noqa: E402
from lib.cud.networks.config import MLPConfig, UNetConfig  # noqa: E402
from lib.demos import cud, hub, serve  # noqa: E402


def models() -> dict[str, cud.DemoModel]:
    torch.set_num_threads(1)
    return {
        "points": cud.DemoModel(build_model(MLPConfig(width=16), seed=0), (2,)),
        "images": cud.DemoModel(build_model(UNetConfig(), seed=0), UNetConfig().input_shape),
    }


if __name__ == "__main__":
    demo = hub.build_hub({"Catch-Up Distillation": lambda: cud.build(models())})
    print("ADDRESS", serve.launch(demo, port=int(sys.argv[1]), block=False), flush=True)
    sys.stdin.read()  # until the test closes the pipe
    demo.close()
    print("CLOSED", flush=True)
