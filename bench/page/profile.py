"""Where the worker's time goes."""

from __future__ import annotations

from collections.abc import Sequence

from bench.stacks import SECONDS, Profile


def profile_part(profile: Profile) -> str:
    """The section of the profile."""
    if profile.problem:
        return f"## Where the worker's time goes\n\nNo profile was taken: {profile.problem}."
    most = ", ".join(f"{name} ({share:.0%})" for name, share in profile.areas[:3])
    return f"""\
## Where the worker's time goes

The whole path with the null model under py-spy, {SECONDS} s after a tenth of the posts. Threads that wait for work are
left out; waiting for the interpreter's lock or for a system call counts. Most goes to: {most}.
[docs/flame.svg](flame.svg) is the same as a flame graph.

{_shares("where the innermost known frame lies", profile.areas)}

{_shares("thread", profile.threads)}

{_shares("function of ours, with what it calls", profile.functions)}"""


def _shares(title: str, shares: Sequence[tuple[str, float]]) -> str:
    return "\n".join([f"| {title} | share |", "|---|---:|", *(f"| {name} | {share:.1%} |" for name, share in shares)])
