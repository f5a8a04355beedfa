"""`python -m fetchpool`: the same command line as `main.py`."""

from fetchpool.start import start

if __name__ == "__main__":
    start()
