"""Run the command line as ``python -m palette_bench``."""

from palette_bench.cli.main import main

if __name__ == "__main__":
    main()
