"""The demo: the function behind the button, and the served page through its client and in the browser."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from PIL import Image

from lib.cud.model import build_model
from lib.cud.networks.config import MLPConfig, UNetConfig
from lib.cud.samplers import sample
from lib.demos import cud, hub, serve
from lib.errors import UserError
from tests.browser import launched


@pytest.fixture(scope="module")
def points() -> cud.DemoModel:
    return cud.DemoModel(build_model(MLPConfig(width=16), heads=2, seed=0), (2,), head=1, data=torch.zeros(5, 2))


@pytest.fixture(scope="module")
def images() -> cud.DemoModel:
    return cud.DemoModel(build_model(UNetConfig(), seed=0), UNetConfig().input_shape)


class TestGenerate:
    @pytest.mark.parametrize(("solver", "steps", "nfe"), [("euler", 1, 1), ("heun", 3, 5), ("rk4", 64, 256)])
    def test_is_the_librarys_sampler(self, points, solver, steps, nfe):
        result = cud.generate(points, solver, steps, seed=3, count=5)
        noise = torch.randn(5, 2, generator=torch.Generator().manual_seed(3))
        expected = sample(points.model, noise, steps, solver, head=1)
        assert torch.equal(result.states[0], noise)
        assert torch.allclose(result.samples, expected.samples)
        assert result.nfe == expected.nfe == nfe
        assert result.seconds > 0
        assert result.milliseconds_per_sample == pytest.approx(200 * result.seconds)

    def test_seed_and_head_matter(self, points):
        first, again, other = (cud.generate(points, seed=s).samples for s in (0, 0, 1))
        assert torch.equal(first, again)
        assert not torch.equal(first, other)
        second_head = cud.DemoModel(points.model, (2,), head=2)
        assert not torch.equal(first, cud.generate(second_head).samples)

    def test_bad_input(self, points):
        cases = [
            ({"steps": 0}, "steps"),
            ({"steps": 65}, "steps"),
            ({"count": 257}, "samples"),
            ({"steps": 1.5}, "whole"),
            ({"count": 0}, "samples"),
            ({"seed": -1}, "seed"),
            ({"solver": "leapfrog"}, "leapfrog"),
        ]
        for arguments, words in cases:
            with pytest.raises(UserError, match=words):
                cud.generate(points, **arguments)
        with pytest.raises(UserError, match="at least one"):
            cud.build({})
        with pytest.raises(UserError, match="at least one"):
            hub.build_hub({})


class TestPictures:
    @pytest.mark.parametrize("count", [1, 16, 256])
    def test_of_points_and_images(self, points, images, count):
        for entry in (points, images):
            result = cud.generate(entry, steps=2, count=count)
            for picture in (cud.sample_picture(result), cud.walk_picture(result)):
                assert picture.dtype == np.uint8
                assert picture.ndim == 3
                assert picture.shape[2] == 3
                assert picture.std() > 1

    def test_images_keep_whole_pixels(self, images):
        result = cud.generate(images, steps=1, count=1)
        picture, (height, width) = cud.sample_picture(result), result.samples.shape[-2:]
        scale = picture.shape[0] // height
        assert picture.shape[:2] == (scale * height, scale * width)
        assert np.array_equal(picture, picture[::scale, ::scale].repeat(scale, 0).repeat(scale, 1))

    def test_words(self, points):
        result = cud.generate(points, steps=1, count=1)
        assert cud.describe("M", "euler", result).startswith("**M**, euler: **1 network call** for each of 1 sample,")


class TestServe:
    def test_show_starts_nothing_unless_asked(self, monkeypatch):
        monkeypatch.delenv("BOOK_LIVE", raising=False)
        shown = []
        monkeypatch.setattr("IPython.display.display", shown.append)
        serve.show(lambda: pytest.fail("the demo was built"), command="papers demo cud")
        assert "papers demo cud" in shown[0].data
        assert "BOOK_LIVE=1" in shown[0].data

    def test_bad_ports(self, points):
        with pytest.raises(UserError, match="out of range"):
            serve.launch(None, port=70000)
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = taken.getsockname()[1]
            with pytest.raises(UserError, match=f"Port {port} cannot be used"):
                serve.launch(cud.build({"m": points}), port=port, block=False)


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """The hub in its own guarded process on a free port: its address, process and, at the end, its log."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("GRADIO_")}  # the code must see to it itself
    environment["GRADIO_TEMP_DIR"] = str(tmp_path_factory.mktemp("gradio"))
    server = Path(__file__).with_name("server.py")
    process = subprocess.Popen(
        [sys.executable, str(server), str(port)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment,
        cwd=server.parents[2],
    )  # fmt: skip
    log = []
    for line in process.stdout:
        log.append(line)
        if line.startswith("ADDRESS"):
            break
    else:
        pytest.fail("the demo did not start:\n" + "".join(log))
    yield f"http://127.0.0.1:{port}", process, log
    process.kill()
    process.wait()


class TestServed:
    """In this order: called, clicked, closed."""

    def test_called_through_its_client(self, served, tmp_path):
        from gradio_client import Client

        address, _, _ = served
        client = Client(address, verbose=False, download_files=str(tmp_path))
        samples, walk, facts = client.predict("images", "heun", 3, 1, 9, api_name="/cud_generate")
        assert "**5 network calls** for each of 9 samples" in facts
        assert Image.open(walk).size[0] > 300
        got = np.asarray(Image.open(samples).convert("RGB"))
        entry = cud.DemoModel(build_model(UNetConfig(), seed=0), UNetConfig().input_shape)
        expected = cud.sample_picture(cud.generate(entry, "heun", 3, seed=1, count=9))
        assert np.abs(got.astype(int) - expected).max() <= 1  # the same pixels, through HTTP
        with pytest.raises(Exception, match="0 is less than minimum value 1"):
            client.predict("images", "euler", 0, 0, 4, api_name="/cud_generate")
        with pytest.raises(Exception, match="leapfrog"):
            client.predict("images", "leapfrog", 4, 0, 4, api_name="/cud_generate")

    @pytest.mark.browser
    def test_clicked_in_the_browser(self, served):
        address, _, _ = served
        with launched() as browser:
            page, outside = browser.new_page(), []

            def route(request):
                if request.request.url.startswith((address, "data:", "blob:")):
                    return request.continue_()
                outside.append(request.request.url)
                return request.abort()

            page.route("**/*", route)
            page.goto(address)
            page.get_by_text("4 network calls").wait_for()
            first = page.locator("img").first.get_attribute("src")
            page.get_by_label("number input for Steps").fill("7")
            page.get_by_label("number input for Steps").press("Tab")
            page.get_by_role("button", name="Generate").click()
            page.get_by_text("7 network calls").wait_for()
            assert page.locator("img").first.get_attribute("src") != first
            page.screenshot(path=os.environ["BOOK_SCREENSHOT"]) if "BOOK_SCREENSHOT" in os.environ else None
        assert outside == []

    def test_listens_here_only_asks_nobody_and_closes(self, served):
        address, process, log = served
        listening = [c.laddr for c in psutil.Process(process.pid).net_connections() if c.status == psutil.CONN_LISTEN]
        assert [(a.ip, a.port) for a in listening] == [("127.0.0.1", int(address.rsplit(":", 1)[1]))]
        rest, _ = process.communicate(input="", timeout=60)
        lines = [*log, *rest.splitlines()]
        assert [line for line in lines if line.startswith("OUTSIDE")] == []
        assert "CLOSED" in rest
        assert process.returncode == 0
