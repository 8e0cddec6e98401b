#!/usr/bin/env bash
# ./deploy/quickstart.sh [--keep]: from a bare Debian 12 to transfers that survive kill -9, in about
# a minute.
set -euo pipefail

usage() {
  cat <<'END'
usage: ./deploy/quickstart.sh [--keep]

Installs what is missing, builds a release, starts vowd and two banks (each with a SQLite file of
its own), runs 1,000 concurrent transfers, kills vowd and a bank in the middle of more of them,
restarts both, and counts the money.

  --keep    leaves vowd and the banks running at the end, and says how to stop them
END
}

readonly accounts=100 balance=10000 transfers=1000
root=$(cd "$(dirname "$0")/.." && pwd)
build="$root/build-release"
examples="$build/participant-sdk/examples"
work=
keep=no
declare -A pid=() address=()

say() { printf '\n\033[1m%s\033[0m\n' "$*"; }
note() { printf '  %s\n' "$*"; }
fail() { printf '\n%s\n' "quickstart: $*" >&2; exit 1; }

cleanup() {
  local code=$? name
  trap - EXIT INT TERM
  if [ "$keep" = yes ] && [ "$code" -eq 0 ]; then exit 0; fi
  for name in "${!pid[@]}"; do
    kill -CONT "${pid[$name]}" 2>/dev/null || true
    kill "${pid[$name]}" 2>/dev/null || true
  done
  for name in "${!pid[@]}"; do wait "${pid[$name]}" 2>/dev/null || true; done
  if [ "$code" -ne 0 ] && [ -n "$work" ]; then
    echo "quickstart: it failed; what the processes said is in $work" >&2
  elif [ -n "$work" ]; then
    rm -rf "$work"
  fi
  exit "$code"
}

# wait_for SECONDS WHAT COMMAND...: until the command succeeds.
wait_for() {
  local deadline=$((SECONDS + $1)) what=$2
  shift 2
  until "$@"; do
    [ "$SECONDS" -lt "$deadline" ] || fail "not within its time: $what"
    sleep 0.02
  done
}

# start NAME COMMAND...: in the background, and waits until it says where it listens.
start() {
  local name=$1 out="$work/$1.out" before
  shift
  before=$(stat -c %s "$out" 2>/dev/null || echo 0)
  "$@" >>"$out" 2>&1 &
  pid[$name]=$!
  listening() {
    kill -0 "${pid[$name]}" 2>/dev/null || { tail -n 3 "$out" >&2; fail "$name does not start"; }
    address[$name]=$(tail -c "+$((before + 1))" "$out" | grep -oE '127\.0\.0\.1:[0-9]+' | head -n 1)
    [ -n "${address[$name]}" ]
  }
  wait_for 10 "$name listens" listening
}

start_vowd() {
  start vowd "$build/coordinator/vowd" --log "$work/vow.log" --retry-max-ms 500 \
    --listen "${address[vowd]:-127.0.0.1:0}"
}

start_bank() {
  start "$1" "$examples/bank" --db "$work/$1.db" --listen "${address[$1]:-127.0.0.1:0}" "${@:2}"
}

kill_9() {
  kill -9 "${pid[$1]}"
  wait "${pid[$1]}" 2>/dev/null || true
  unset "pid[$1]"
}

vowctl() { "$build/coordinator/ctl/vowctl" --url "http://${address[vowd]}" "$@"; }

build_release() {
  say "Building a release"
  "$root/deploy/install-deps.sh" build demo
  local log="$build.log" options=(-DCMAKE_BUILD_TYPE=RelWithDebInfo -DBUILD_TESTING=OFF)
  if ! { cmake -S "$root" -B "$build" -G Ninja "${options[@]}" && ninja -C "$build"; } \
    >"$log" 2>&1; then
    tail -n 30 "$log" >&2
    fail "the build failed; the whole text is in $log"
  fi
  note "in ${build#"$root"/}"
}

# transfer OPTION...: money from bank-a to bank-b, one transaction each, from 32 threads. Each has a
# key of its own and is asked again with it until its outcome is known. Every 20th asks for more
# than there is.
transfer() {
  "$examples/transfer" --coordinator "http://${address[vowd]}" \
    --from "http://${address[bank-a]}" --to "http://${address[bank-b]}" --accounts "$accounts" \
    --concurrency 32 --overdraw-every 20 "$@"
}

count_of() { # count_of STATE: open transactions in this state, by vowd's own account
  curl -sf "http://${address[vowd]}/v1/status" | grep -oE "\"$1\":[0-9]+" | head -n 1 | cut -d: -f2
}

in_doubt() { # in_doubt BANK: how many promises it has given and not heard about
  curl -sf "http://${address[$1]}/in-doubt" | { grep -o '"transaction"' || true; } | wc -l
}

scene_transfers() {
  say "$transfers transfers at once, every 20th of them more than the account holds"
  transfer --count "$transfers"
}

# Stops vowd for a moment in full work, so that the bank's promises stay unanswered, and kills the
# bank then.
scene_bank_dies() {
  say "A bank dies after its yes: kill -9 bank-a"
  local promises=0 deadline=$((SECONDS + 10))
  while [ "$promises" -eq 0 ]; do
    [ "$SECONDS" -lt "$deadline" ] || fail "bank-a was never in doubt"
    kill -CONT "${pid[vowd]}"
    sleep 0.05
    kill -STOP "${pid[vowd]}"
    promises=$(in_doubt bank-a)
  done
  kill_9 bank-a
  kill -CONT "${pid[vowd]}"
  note "it had voted yes $promises times and not heard the outcome; the promises are in bank-a.db"
  start_bank bank-a
  note "restarted; it takes up its promises and learns how they ended"
}

# Stops bank-b in full work, so that its commits cannot be acknowledged, and kills vowd when some
# are decided.
scene_vowd_dies() {
  say "The coordinator dies between decision and commit: kill -9 vowd"
  local decided=0 deadline=$((SECONDS + 10))
  while [ "$decided" -eq 0 ]; do
    [ "$SECONDS" -lt "$deadline" ] || fail "no transaction was seen between decision and commit"
    kill -CONT "${pid[bank-b]}"
    sleep 0.05
    kill -STOP "${pid[bank-b]}"
    sleep 0.05
    decided=$(count_of committing)
  done
  kill_9 vowd
  note "$decided transactions were decided and not delivered: bank-b is stopped"
  start_vowd
  note "restarted on its log, while bank-b is still stopped:"
  vowctl status | sed 's/^/    /'
  kill -CONT "${pid[bank-b]}"
  note "bank-b goes on, in doubt about $(in_doubt bank-b) transfers"
}

recovered() {
  [ "$(count_of committing)" = 0 ] && [ "$(count_of aborting)" = 0 ] &&
    [ "$(in_doubt bank-a)" = 0 ] && [ "$(in_doubt bank-b)" = 0 ]
}

count_money() {
  say "Counting the money"
  local name sum total=0 expected=$((2 * accounts * balance))
  for name in bank-a bank-b; do
    "$examples/bank" --db "$work/$name.db" --check || fail "$name is not in order"
    sum=$("$examples/bank" --db "$work/$name.db" --sum)
    note "$name holds $sum"
    total=$((total + sum))
  done
  [ "$total" -eq "$expected" ] || fail "$total is not $expected: money was lost or made"
  note "together $total, as at the start: nothing was lost, nothing was made"
}

by_hand() {
  local url="http://${address[vowd]}"
  say "Try it by hand"
  if [ "$keep" != yes ]; then
    note "everything stops now: start again with --keep first, and take the ports it prints"
  fi
  cat <<END
  curl -s $url/v1/status
  curl -s $url/v1/transactions -H 'Content-Type: application/json' -d '{"commit": true,
    "branches": [{"url": "http://${address[bank-a]}", "payload": {"account": 1, "amount": -25}},
                 {"url": "http://${address[bank-b]}", "payload": {"account": 1, "amount": 25}}]}'
  curl -s '$url/v1/transactions?limit=3'
  ${build#"$root"/}/coordinator/ctl/vowctl --url $url list --limit 5
END
}

main() {
  case "${1:-}" in
    "") ;;
    --keep) keep=yes ;;
    --help | -h) usage; exit 0 ;;
    *) usage >&2; exit 2 ;;
  esac
  trap cleanup EXIT
  trap 'exit 130' INT TERM

  build_release
  work=$(mktemp -d "${TMPDIR:-/tmp}/vow-quickstart.XXXXXX")
  say "Starting vowd and two banks, each with $accounts accounts of $balance"
  start_vowd
  start_bank bank-a --init "$accounts" "$balance"
  start_bank bank-b --init "$accounts" "$balance"
  note "vowd ${address[vowd]}, bank-a ${address[bank-a]}, bank-b ${address[bank-b]}"
  note "their files are in $work"

  scene_transfers

  transfer --seconds 4 >"$work/transfer.out" 2>&1 &
  pid[transfer]=$!
  scene_bank_dies
  scene_vowd_dies
  say "Recovery"
  wait "${pid[transfer]}" || { cat "$work/transfer.out" >&2; fail "the transfers did not end"; }
  unset "pid[transfer]"
  wait_for 20 "everything has ended" recovered
  note "the transfers that ran meanwhile, each asked again until its outcome was known:"
  sed 's/^/  /' "$work/transfer.out"
  vowctl status | sed 's/^/    /'
  count_money
  by_hand
  if [ "$keep" = yes ]; then
    say "Left running, in $work"
    note "stop it: kill ${pid[*]}; rm -r $work"
  fi
}

main "$@"
