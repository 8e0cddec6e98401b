#!/usr/bin/env bash
# ./tests/run.sh [--quick | --nightly] [NAME]: installs what is missing, builds, and runs the tests
# as one ctest run.
set -euo pipefail

usage() {
  cat <<'END'
usage: ./tests/run.sh [--quick | --nightly] [NAME]

  (nothing)   everything: unit, e2e and conformance tests, the simulator and crash images under the
              address and undefined-behaviour sanitizers, what threads can break under the thread
              sanitizer, a release build under valgrind, the protocol's model, 10 seconds of
              fuzzing a target, branch coverage, clang-format, clang-tidy, shellcheck
  --quick     one build, its unit and conformance tests and the fastest of all others
  --nightly   everything, and at least a hundred times as many crashes, seeds, images and inputs:
              hours. The builds are configured with -DVOW_NIGHTLY=ON, which adds the tests with the
              label nightly; it begins by saying which they are, how much each does and how long it
              may take
  NAME        the tests whose name matches this regular expression: ./tests/run.sh e2e.commit
              names that begin with tsan., valgrind., coverage. or fuzz. are of those builds
  --help      this text

Environment:
  PYTEST_ADDOPTS   one function of a file: PYTEST_ADDOPTS="-k lost_reply" ./tests/run.sh e2e.commit
  VOW_JOBS         how much is compiled at once; default: the number of processors. Of tests one
                   more runs, since many of them wait
  VOW_BANK_CYCLES  kill -9 cycles of each of the e2e.bank tests; default 60 to 80
  VOW_BANK_SEED    what its dice begin with; default 1
  VOW_ROUNDS       each e2e test so many times; default 1
  VOW_MEMORY_POINTS
                   how many allocations fail in each sweep of e2e.memory, e2e.vowd_memory (6),
                   e2e.vowctl_memory and e2e.client_memory (1; --nightly: 4); 0: each of them
  VOW_MEMORY_DAY   which of them, any number; the same each time unless it is given
  VOW_NIGHTLY_TIMES
                   how many times as much as CI --nightly does, or more; default 100. With 2 it is a
                   rehearsal (of all but the model's, whose size is fixed)

The builds are kept in build-tests/; a run without --nightly takes the nightly tests out of them.
The exit code is ctest's.
END
}

root=$(cd "$(dirname "$0")/.." && pwd)
jobs=${VOW_JOBS:-$(nproc)}
nightly=OFF

# Of the suites fuzz and coverage only what they run is built.
configure_and_build() {
  local dir=$1 targets=()
  shift
  case "${dir##*/}" in
    fuzz) targets=(vow_fuzzers) ;;
    coverage) targets=(vow_coverage) ;;
  esac
  cmake -S "$root" -B "$dir" -G Ninja -DBUILD_TESTING=ON -DVOW_NIGHTLY="$nightly" \
    -DVOW_NIGHTLY_TIMES="${VOW_NIGHTLY_TIMES:-100}" "$@" &&
    ninja -C "$dir" -j "$jobs" "${targets[@]}"
}

# build SUITE CMAKE_OPTION...: configures and builds build-tests/SUITE; prints only what goes wrong.
build() {
  local suite=$1 dir="$root/build-tests/$1" log="$root/build-tests/$1.log"
  shift
  echo "Building $suite ..."
  mkdir -p "$dir"
  if ! configure_and_build "$dir" "$@" >"$log" 2>&1; then
    grep -vE '^\[[0-9]+/[0-9]+\]|^-- ' "$log" || true
    echo "The build of $suite failed; the whole text is in ${log#"$root"/}"
    return 1
  fi
}

build_suite() {
  case "$1" in
    all)
      build all -DCMAKE_BUILD_TYPE=Debug -DCMAKE_C_FLAGS=-O1 -DVOW_SANITIZE=address,undefined \
        -DVOW_FAILPOINTS=ON -DVOW_TEST_SUITE= -DVOW_TIDY=ON -DVOW_BENCH=ON ;;
    tsan)
      build tsan -DCMAKE_BUILD_TYPE=Debug -DCMAKE_C_FLAGS=-O1 -DVOW_SANITIZE=thread \
        -DVOW_FAILPOINTS=ON -DVOW_TEST_SUITE=tsan ;;
    valgrind)
      build valgrind -DCMAKE_BUILD_TYPE=RelWithDebInfo -DVOW_TEST_SUITE=valgrind ;;
    coverage)
      build coverage -DCMAKE_BUILD_TYPE=Debug -DVOW_COVERAGE=ON -DVOW_TEST_SUITE=coverage ;;
    fuzz)
      build fuzz -DCMAKE_C_COMPILER=clang -DCMAKE_BUILD_TYPE=Debug -DCMAKE_C_FLAGS=-O1 \
        -DVOW_SANITIZE=address,undefined,fuzzer-no-link -DVOW_TEST_SUITE=fuzz ;;
  esac
}

main() {
  local suites=(all tsan valgrind coverage fuzz) select=()
  case "${1:-}" in
    --help | -h) usage; exit 0 ;;
    --quick) suites=(all); select+=(-L quick); shift ;;
    --nightly) nightly=ON; shift ;;
    -*) usage >&2; exit 2 ;;
  esac
  [ $# -le 1 ] || { usage >&2; exit 2; }
  if [ $# -eq 1 ]; then
    select+=(-R "$1")
    case "$1" in
      tsan* | ^tsan*) suites=(tsan) ;;
      valgrind* | ^valgrind*) suites=(valgrind) ;;
      coverage | coverage.b* | ^coverage*) suites=(coverage) ;;
      fuzz* | ^fuzz*) suites=(fuzz) ;;
      *) suites=(all) ;;
    esac
  fi

  "$root/deploy/install-deps.sh" build test
  mkdir -p "$root/build-tests"
  for suite in "${suites[@]}"; do
    build_suite "$suite"
  done
  # One ctest run over the builds: their test names differ by the suite's prefix.
  printf 'subdirs("%s")\n' "${suites[@]}" >"$root/build-tests/CTestTestfile.cmake"
  cd "$root/build-tests"
  if [ "$nightly" = ON ]; then
    ctest --show-only=json-v1 "${select[@]}" | python3 "$root/tests/lib/announce.py" "$((jobs + 1))"
  fi
  exec ctest -j "$((jobs + 1))" --no-tests=error --output-on-failure "${select[@]}"
}

main "$@"
