"""Check an evidence bundle: see mergetrace.bundle.verify, which a bundle brings along."""

from mergetrace.bundle.verify import run

if __name__ == "__main__":
    run()
