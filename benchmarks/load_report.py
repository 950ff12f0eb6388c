"""Turns the measurements of the load benchmark into a page."""

import argparse
from statistics import median
from typing import TYPE_CHECKING

from benchmarks.transfer_report import Machine

if TYPE_CHECKING:
    from benchmarks.load import Found

BUSY = "**The machine was busy with other things: times and rates are worse than they are on a machine of its own.**"


def write(found: "Found", options: argparse.Namespace, machine: Machine) -> str:
    """Return the page."""
    busy = (
        ""
        if machine.load < machine.cores / 4
        else "\n**The machine was busy with other things: times and rates are worse than they are on a machine of its own.**\n"
    )
    hub, plain = (median(pair[place] for pair in found.downloads) for place in (0, 1))
    done = found.jobs.get("succeeded", 0)
    return f"""# Load

`python -m benchmarks.load --users {options.users} --minutes {options.minutes:g}` wrote this page. {machine}
{busy}
{options.users} people for {options.minutes:g} minutes on a hub as production has it: PostgreSQL, Valkey, gunicorn with two processes of eight
threads behind the nginx that Medley ships, one worker, the clock. The people (locust) run on the same machine and take part of it. Each waits two to six
seconds between two things: 60 in 100 read pages without an account, 30 list and download by the two APIs, six upload, four compose.
{options.adapters} adapters were there before.

## Errors

{_errors(found)}

## Requests

| | requests | failed | a second | median ms | p95 ms | slowest ms |
|---|---:|---:|---:|---:|---:|---:|
{_requests(found)}

## Memory

What the processes held in MB (shared pages divided among them): at the start, in the middle, at the end. {_flatness(found)}

| | start | middle | end |
|---|---:|---:|---:|
{_memory(found)}

## Downloads

{hub:.0f} downloads a second through the hub, which asks the database each time who may have the file, beside {plain:.0f} from an nginx
that sends the same bytes as plain files: **{hub / plain:.2f}** of it.
One small file, 16 connections that are kept open, the median of {len(found.downloads)} turns; the client runs on the same machine.

## Compositions

{done} compositions were made during the load. One worker on a hub where nothing else happens makes **{found.worker:.0f} an hour**; the engine alone,
called in a loop on the same files, {found.engine:.0f}: the worker takes {found.engine / found.worker:.1f} times as long for one. These jobs are tiny
({3600 / found.engine:.2f} s each in the engine), so that what a job costs around the engine shows: claim, laying out files, a row for every candidate,
publishing. That part is {3600 / found.worker - 3600 / found.engine:.2f} s a job, whatever the size of the model.
"""


def _errors(found: "Found") -> str:
    lines = [f"- {row['Method']} {row['Name']}, {row['Occurrences']} times: {row['Error'][:300]}" for row in found.failures]
    lines += [f"- {number} compositions {status}" for status, number in found.jobs.items() if status != "succeeded"]
    lines += [f"- in a log: {line[:300]}" for line in found.faults[:20]]
    made = found.adapters[1] - found.adapters[0]
    fine = "None: no request was refused, every download had the right bytes, every composition succeeded, and no log of site, worker or clock holds an error."
    return "\n".join(lines) or f"{fine} {made} adapters were uploaded or composed."


def _requests(found: "Found") -> str:
    lines = []
    for row in sorted(found.rows, key=lambda row: (row["Name"] == "Aggregated", row["Name"])):
        numbers = [
            row["Request Count"],
            row["Failure Count"],
            f"{float(row['Requests/s']):.1f}",
            row["50%"],
            row["95%"],
            f"{float(row['Max Response Time']):.0f}",
        ]
        lines.append(f"| {'**all**' if row['Name'] == 'Aggregated' else row['Name']} | {' | '.join(numbers)} |")
    return "\n".join(lines)


def _memory(found: "Found") -> str:
    chosen = [found.memory[place] for place in (0, len(found.memory) // 2, -1)]
    return "\n".join(f"| {name} | {' | '.join(f'{row[name]:.0f}' for row in chosen)} |" for name in found.memory[0])


def _flatness(found: "Found") -> str:
    """Say how the site's memory went in the second half, when everything has been loaded once."""
    half = [row["site"] for row in found.memory[len(found.memory) // 2 :]]
    return (
        f"In the second half the site's two processes and their parent went from {half[0]:.0f} to {half[-1]:.0f} MB ({(half[-1] / half[0] - 1) * 100:+.1f} %)."
    )
