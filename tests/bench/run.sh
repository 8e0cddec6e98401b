#!/usr/bin/env bash
# tests/bench/run.sh: installs what is missing, makes a release build in build-bench/, and measures.
set -euo pipefail

usage() {
  cat <<'END'
usage: tests/bench/run.sh [--quick] [--only NAME] [--json FILE] [--plot FILE] [--folder FOLDER]
                          [--keep] [--apart]

  (nothing)        everything, as it counts: about 15 minutes on two processors
  --quick          everything, tiny: proves that the bench works, its figures mean nothing
  --only NAME      one scenario; may be given several times. --list names them
  --json FILE      all figures, as tests/bench/README.md describes them
  --plot FILE      where the plot goes; without it: build-bench/bench/oneshot.svg
  --folder FOLDER  where logs are written: a folder on the disk that is to be measured
  --keep           leave those logs there
  --apart          the coordinator has the first processor for itself, all else the others
  --help           this text

Environment:
  VOW_JOBS         how much is compiled at once; default: the number of processors

The exit code is 1 when anything that was committed is lost, or when a scenario fails.
END
}

root=$(cd "$(dirname "$0")/../.." && pwd)
build=$root/build-bench

for argument in "$@"; do
  case "$argument" in
    --help | -h) usage; exit 0 ;;
  esac
done

"$root/deploy/install-deps.sh" build bench
mkdir -p "$build"
if ! { cmake -S "$root" -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=Release -DBUILD_TESTING=OFF \
  -DVOW_BENCH=ON && ninja -C "$build" -j "${VOW_JOBS:-$(nproc)}"; } >"$build/build.log" 2>&1; then
  grep -vE '^\[[0-9]+/[0-9]+\]|^-- ' "$build/build.log" || true
  echo "The build failed; the whole text is in build-bench/build.log"
  exit 1
fi
PYTHONDONTWRITEBYTECODE=1 exec /usr/bin/python3 "$root/tests/bench/bench.py" --build "$build" "$@"
