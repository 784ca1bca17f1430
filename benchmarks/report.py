"""What a report of 100,000 tensors costs: its size, the time and memory it takes to
write, and how fast its search answers in a browser.

The audit is made up, in the shape the pipeline writes it: 60 layers of 556 experts with
three matrices each, and ten tensors more. Needs Debian's chromium and chromium-driver
for the second half.
"""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.peak import peak_bytes
from mergetrace.report.page import draw, page
from mergetrace.testing.reporting import inputs

ROOT = Path(__file__).parents[1]
LAYERS = 60
EXPERTS = 556
WRITE = "write"


def audit():
    """Report inputs of LAYERS x EXPERTS experts, three matrices each, and the other
    tensors beside them.
    """
    given = inputs((LAYERS, 10, 1))
    layers, experts, matrices = np.meshgrid(
        range(LAYERS),
        range(EXPERTS),
        ("down_proj", "gate_proj", "up_proj"),
        indexing="ij",
    )
    random = np.random.default_rng(0)
    count = layers.size
    fused = pd.DataFrame(
        {
            "tensor": [
                f"model.layers.{layer}.mlp.experts.{part}.weight"
                for layer, part in zip(layers.flat, matrices.flat, strict=True)
            ],
            "slice": experts.ravel().astype(str),
            "layer": layers.ravel().astype(str),
            "component": "routed_experts",
            "elements": 4096 * 1024,
            "alpha": random.normal(0.571, 0.004, count),
            "alpha_se": random.normal(0.004, 0.0004, count),
            "cos_fit": random.normal(0.99, 0.001, count),
            "alpha_replay": 0.571,
            "coverage": np.minimum(random.normal(0.9999, 0.0001, count), 1),
            "alpha_expected": random.normal(0.571, 0.004, count),
            "cos_expected": random.normal(0.99, 0.001, count),
            "bit_exact_rate": np.minimum(random.normal(1, 0.00001, count), 1),
            "status": "ok",
            "nonfinite": 0,
            "votes": True,
        }
    )
    return inputs(
        (LAYERS, 10, 1), tensors=pd.concat([given.tensors, fused], ignore_index=True)
    )


def write(path: Path) -> None:
    """Write the page and print, as JSON, how many slices it holds, its bytes, seconds
    and the process's greatest memory.
    """
    given = audit()
    before = peak_bytes()
    began = time.perf_counter()
    used = time.process_time()
    html = page(given, draw(given))
    seconds = time.perf_counter() - began
    cpu = time.process_time() - used
    path.write_text(html, encoding="utf-8")
    peak = peak_bytes()
    told = {
        "slices": len(given.tensors),
        "bytes": len(html.encode()),
        "seconds": seconds,
        "cpu": cpu,
    }
    print(json.dumps(told | {"peak": peak, "before": before}))


MEASURE = """
const done = arguments[arguments.length - 1];
const frame = () => new Promise(
  resolve => requestAnimationFrame(() => setTimeout(resolve)));
const timed = async act => {
  const began = performance.now();
  act();
  await frame();
  return performance.now() - began;
};
(async () => {
  const times = {};
  const search = document.getElementById('d-search');
  const type = text => {
    search.value = text;
    search.dispatchEvent(new Event('change'));
  };
  const component = document.getElementById('d-component');
  const change = () => component.dispatchEvent(new Event('change'));
  times.search = await timed(() => { search.value = 'layers.41. up_proj [50'; change(); });
  times.none = await timed(() => { search.value = 'no such tensor'; change(); });
  times.all = await timed(() => { search.value = ''; change(); });
  for (const key of ['alpha', 'name', 'bit_exact_rate'])
    times['sort ' + key] = await timed(
      () => document.querySelector(`th[data-key=${key}] button`).click());
  times.page = await timed(() => document.getElementById('d-forth').click());
  const steps = [];
  for (let y = 0; y < document.documentElement.scrollHeight; y += 400)
    steps.push(await timed(() => window.scrollTo(0, y)));
  steps.sort((a, b) => a - b);
  times['scroll, middle step'] = steps[Math.floor(steps.length / 2)];
  times['scroll, slowest step'] = steps[steps.length - 1];
  done(times);
})();
"""


def browse(path: Path) -> dict[str, float]:
    """Milliseconds from opening the page to its search being ready, and from a request
    to the next painted frame.
    """
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = "/usr/bin/chromium"
    for flag in (
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--window-size=1280,900",
    ):
        options.add_argument(flag)
    chrome = webdriver.Chrome(
        options=options, service=webdriver.ChromeService("/usr/bin/chromedriver")
    )
    chrome.set_script_timeout(300)
    try:
        began = time.perf_counter()
        chrome.get(path.as_uri())
        while chrome.execute_script(
            "return document.getElementById('drilldown').hidden"
        ):
            time.sleep(0.01)
        ready = (time.perf_counter() - began) * 1000
        return {
            "open, until the search is ready": ready,
            **chrome.execute_async_script(MEASURE),
        }
    finally:
        chrome.quit()


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "report.html"
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.report", WRITE, path],
            capture_output=True,
            text=True,
            check=True,
        )
        told = json.loads(done.stdout)
        print("| what | |\n|---|---|")
        print(f"| slices | {told['slices']:,} |")
        print(f"| the page | {told['bytes'] / 1e6:.2f} MB |")
        print(
            f"| written in | {told['seconds']:.1f} s ({told['cpu']:.1f} s of processor"
            " time) |"
        )
        print(
            f"| memory at most | {told['peak'] / 1e6:.0f} MB"
            f" ({told['before'] / 1e6:.0f} MB before, with its tables loaded) |"
        )
        for name, milliseconds in browse(path).items():
            print(f"| {name} | {milliseconds:.0f} ms |")


if __name__ == "__main__":
    if len(sys.argv) > 1 and sys.argv[1] == WRITE:
        write(Path(sys.argv[2]))
    else:
        main()
