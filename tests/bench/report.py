"""The table for people, and the goals."""

# Figure: (at least or at most, goal, what it is)
GOALS = {
    "throughput_ratio_64": (">=", 3.0, "transactions/s at 64 clients, over the prototype's"),
    "cpu_ratio_64": ("<=", 0.25, "coordinator CPU a transaction, over the prototype's"),
    "latency_ratio_1": ("<=", 1.3, "p50 at one client, over the prototype's plus one sync"),
    "tail_ratio_64": ("<=", 4.0, "p99 over p50 at 64 clients"),
    "syncs_per_transaction_64": ("<=", 0.1, "syncs a transaction, coordinator and participant"),
    "bytes_per_open_transaction": ("<=", 1500, "bytes an open transaction with two branches"),
    "history_ratio_1m": (">=", 0.95, "throughput over a long history, over an empty log's"),
    "dead_participant_ratio": (">=", 0.95, "throughput of the healthy, one of eight dead"),
    "recovery_100k_s": ("<=", 10.0, "seconds until all decided ones are acknowledged"),
}


def worst(value):
    """syncs_per_transaction_64 has two members, and both must meet the goal."""
    return max(value.values()) if isinstance(value, dict) else value


def goals(figures):
    """Which are met. They are meant for a full run on a quiet machine."""
    return {
        key: worst(figures[key]) >= goal if sign == ">=" else worst(figures[key]) <= goal
        for key, (sign, goal, _) in GOALS.items()
        if key in figures
    }


def number(value):
    if isinstance(value, dict):
        return " / ".join(number(part) for part in value.values())
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def milliseconds(us):
    return f"{us / 1000:.2f}"


def table(heads, rows):
    """Columns to the right, but for the first."""
    widths = [max(len(str(row[i])) for row in [heads, *rows]) for i in range(len(heads))]
    lines = []
    for row in [heads, *rows]:
        cells = [str(cell) for cell in row]
        first = cells[0].ljust(widths[0])
        lines.append("  ".join([first, *[c.rjust(w) for c, w in zip(cells[1:], widths[1:])]]))
    return [line.rstrip() for line in lines]


RUN_HEADS = ("", "tx/s", "p50 ms", "p95", "p99", "p99.9", "CPU us: coord.", "partic.", "load",
             "syncs/tx: coord.", "partic.", "RSS MB: coord.", "partic.")  # fmt: skip


def run_row(name, run):
    syncs, rss = run["syncs"], run["rss_bytes"]
    return (
        name,
        f"{run['per_second']:,.0f}",
        *[milliseconds(run[f"{p}_us"]) for p in ("p50", "p95", "p99", "p999")],
        *[f"{run['cpu_us'][who]:.1f}" for who in ("coordinator", "participant", "load")],
        f"{syncs['coordinator']:.3f}",
        f"{syncs['participant']:.3f}" if "participant" in syncs else "-",
        *[f"{rss[who] / 1e6:.1f}" for who in ("coordinator", "participant")],
    )


def runs_of(part):
    """(name, run) of every measured run in a scenario."""
    for unit in ("clients", "branches"):
        for count, runs in part.get(unit, {}).items():
            for who in ("prototype", "vow"):
                if who in runs:
                    yield f"{who}, {count} {unit if count != '1' else unit.rstrip('es')}", runs[who]
    for key in ("empty", "old", "purging", "alive", "dead", "hung"):
        if key in part:
            yield key, part[key]


# Members that are no figures of a run, and how they are told.
PLAIN = {
    "sync_p50_us": "one forced write, p50 us",
    "transactions": "transactions of history",
    "throughput_with_all_open": "tx/s while all of them are open",
    "decided": "transactions decided and not acknowledged",
    "ready_s": "seconds to ready",
    "listening_s": "seconds until all three listen",
    "acknowledged_s": "seconds to the last acknowledgement",
    "in_doubt_of_nothing_s": "seconds until no participant is in doubt",
    "committed": "answered committed",
    "refused": "answered otherwise",
    "broken": "connections broken",
}


def scenario(name, part):
    lines = ["", f"== {name} ({part['took_s']} s)"]
    rows = [run_row(*pair) for pair in runs_of(part)]
    if rows:
        lines += table(RUN_HEADS, rows)
    if name == "floor":
        for key in ("requests_in", "requests_out", "rows", "sync"):
            said = ", ".join(f"{k} {number(v)}" for k, v in part[key].items())
            lines.append(f"{key:13} {said}")
    for count, found in part.get("open", {}).items():
        lines.append(f"{count:>7} open: {found['bytes_each']:,.0f} bytes each")
    lines += [f"{text}: {number(part[key])}" for key, text in PLAIN.items() if key in part]
    if "check" in part:
        checked = part["check"]["checked"]
        lines.append(f"durability: {checked:,} answered transactions looked up, nothing lost"
                     if not part["check"]["complaints"] else "durability: LOST, see below")
    return lines


def text(result):
    lines = []
    for name, part in result["scenarios"].items():
        lines += scenario(name, part)
    rows = [
        (key, number(result["figures"][key]), f"{sign} {number(goal)}",
         "yes" if result["goals"][key] else "no", what)
        for key, (sign, goal, what) in GOALS.items()
        if key in result["figures"]
    ]  # fmt: skip
    if rows:
        lines += ["", f"== figures ({result['size']} run)"]
        lines += table(("", "measured", "goal", "met", "what"), rows)
    if result["size"] != "full":
        lines.append("These are of tiny runs: they prove that the bench works, and nothing else.")
    return "\n".join(lines)
