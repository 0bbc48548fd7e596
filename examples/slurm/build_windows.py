"""Windows on a Slurm cluster: workers are started by Dask-jobqueue, records are their units.

pip install dask-jobqueue 'biosig[cluster]'
python examples/slurm/build_windows.py data/splits_full.json data/windows --workers 50

Every worker must see the recordings and the output folder under the same paths. Run again after a
stop: only records that are not finished are read.
"""

import argparse
import subprocess
import sys
from pathlib import Path


def command(split_file: Path, outdir: Path, scheduler: str) -> list[str]:
    """Return the line that cuts windows on the workers of a scheduler."""
    paths = ["--split-file", str(split_file), "--outdir", str(outdir)]
    cluster = ["--executor", "dask", "--scheduler", scheduler]
    return [sys.executable, "-m", "biosig_cli", "build-windows", *paths, *cluster]


def main() -> None:
    """Start workers, cut the windows, and let the workers go."""
    parser = argparse.ArgumentParser(description="Cut windows on a Slurm cluster.")
    parser.add_argument("split_file", type=Path)
    parser.add_argument("outdir", type=Path)
    parser.add_argument("--workers", type=int, default=20)
    parser.add_argument("--walltime", default="04:00:00")
    asked = parser.parse_args()

    from dask_jobqueue import SLURMCluster

    # A record of up to 6 h takes less than 600 MB.
    with SLURMCluster(cores=1, memory="2GB", walltime=asked.walltime) as cluster:
        cluster.scale(asked.workers)
        line = command(asked.split_file, asked.outdir, cluster.scheduler_address)
        sys.exit(subprocess.run(line, check=False).returncode)


if __name__ == "__main__":
    main()
