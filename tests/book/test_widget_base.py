"""The base class of the moving figures: its twin in the page, its state, what it refuses."""

import base64
import json
import re
import threading

import numpy as np
import pytest
import torch
import traitlets

from lib.book.serve import server_for
from lib.widgets.base import BookWidget, pack


class Counter(BookWidget):
    label = "A number that a button makes larger."
    _css = ".mine { color: red; }"
    _esm = """export default { render({ model, el }) {
      const view = new Float32Array(model.get("table").buffer, model.get("table").byteOffset, 3);
      const button = document.createElement("button"), said = document.createElement("output");
      button.textContent = "more";
      const show = () => { said.textContent = `${model.get("count")} ${model.get("text")} ${[...view]}`; };
      model.on("change:count", show);
      button.onclick = () => { model.set("count", model.get("count") + 1); model.save_changes(); };
      el.append(button, said);
      show();
    } }"""
    count = traitlets.Int(3).tag(sync=True)
    text = traitlets.Unicode("").tag(sync=True)
    ratio = traitlets.Float(0.5).tag(sync=True)
    table = traitlets.Bytes(pack([1.0, 2.0, 4.0])).tag(sync=True)


class Broken(BookWidget):
    _esm = "export default { render() { throw new Error('on purpose'); } }"

    def preview(self):
        return "<p>the still picture</p>"


def state_of(page: str) -> dict:
    return json.loads(re.search(r'<script type="application/json">(.*?)</script>', page, re.DOTALL)[1])


def test_the_bundle_holds_the_live_view_and_the_twin():
    data, _ = Counter()._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" in data
    assert data["text/plain"] == "<Counter>"
    spec = state_of(data["text/html"])
    assert spec["state"] == {"count": 3, "text": "", "ratio": 0.5}
    assert np.frombuffer(base64.b64decode(spec["bytes"]["table"]), "<f4").tolist() == [1, 2, 4]
    assert ".mine" in data["text/html"]
    assert ".bw-readout" in data["text/html"]  # the base style sheet comes along


def test_a_string_cannot_close_the_script():
    hostile = "</script><script>alert(1)</script><!--"
    page = Counter(text=hostile).static_html()
    assert page.count("</script>") == 2
    assert state_of(page)["state"]["text"] == hostile


def test_both_lives_have_the_same_class_and_style():
    widget = Counter()
    assert "bw-root" in widget._dom_classes
    assert widget.get_state()["_css"] == widget._css
    assert widget._css.count(".bw-readout") == BookWidget._css.count(".bw-readout")


def test_bad_state_is_refused():
    with pytest.raises(TypeError, match="no trait cuont"):
        Counter(cuont=4)
    with pytest.raises(ValueError, match="JSON"):
        Counter(ratio=float("nan")).static_html()
    with pytest.raises(ValueError, match="NaN or infinity"):
        pack([1.0, float("inf")])


def test_pack_reads_tensors_and_arrays_in_row_order():
    rows = [[1, 2], [3, 4]]
    expected = np.array([1, 2, 3, 4], "<f4").tobytes()
    assert pack(torch.tensor(rows, dtype=torch.float64, requires_grad=True)) == expected
    assert pack(np.asfortranarray(rows)) == expected
    assert pack(rows, "uint8") == bytes([1, 2, 3, 4])


@pytest.mark.browser
def test_the_twin_lives_in_a_page_and_a_broken_one_keeps_its_still_picture(visit, tmp_path):
    pages = f"<!doctype html><title>t</title><body>{Counter(text='a').static_html()}{Counter(text='b').static_html()}"
    (tmp_path / "index.html").write_text(pages + Broken().static_html())
    seen = visit()
    with server_for(tmp_path, 0) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        seen.page.goto(f"http://127.0.0.1:{server.server_address[1]}/")
        seen.page.wait_for_selector(".bw[data-ready='failed']", state="attached")
        seen.page.wait_for_function("() => document.querySelectorAll('.bw[data-ready=\"1\"]').length === 2")
        said = seen.page.locator("output")
        assert said.all_inner_texts() == ["3 a 1,2,4", "3 b 1,2,4"]
        seen.page.locator("button").first.click(click_count=2)
        assert said.all_inner_texts() == ["5 a 1,2,4", "3 b 1,2,4"]  # each twin has its own state
        assert seen.page.locator(".bw[data-ready='failed']").inner_text() == "the still picture"
        server.shutdown()
    assert any("on purpose" in line for line in seen.complaints)
