"""One record in a hundred is poison: each becomes one dead letter that says where and why; all others are analysed."""

from __future__ import annotations

from collections import Counter

from tests.fault.line import Line, line
from tests.fault.posts import Made, with_poison
from tests.fault.row import Row, Trial, hold
from worker.events import dead_letter_from_headers
from worker.feeds.stretch import stretches

RECORDS = 20_000
SHARE = 0.01

Place = tuple[str, int, int]


def dead_letters(tested: Line) -> Counter[tuple[Place, str]]:
    """Where the records of the dead letters stood, and why; each once by its event id."""
    found: Counter[tuple[Place, str]] = Counter()
    ids: set[str] = set()
    topic = tested.settings.dead_letters_topic
    with stretches(tested.settings) as log:
        for span in log.spans([topic]):
            for record in log.records(span.topic, span.partition, span.begin, span.end):
                letter = dead_letter_from_headers(record.headers)
                at = letter.position
                hold(letter.event_id == at.event_id, f"{at} has event id {letter.event_id}")
                hold(letter.event_id not in ids, f"{at} is dead-lettered twice")
                ids.add(letter.event_id)
                found[(at.topic, at.partition, at.offset), letter.reason] += 1
    return found


def run(trial: Trial) -> None:
    """Everything is sent at once; a worker reads it to the end."""
    sent: list[tuple[Made, str, int, int]] = []
    with line(trial) as tested:
        for _ in range(trial.repeats):
            sent += tested.send(with_poison(RECORDS, SHARE, trial.random))
            trial.figures.repeats += 1
        tested.start()
        tested.finish()
        tested.stop()
        tested.audit(trial.figures)
        wanted = Counter(((topic, at, offset), made.reason) for made, topic, at, offset in sent if made.reason)
        found = dead_letters(tested)
        hold(found == wanted, f"dead letters differ: {list(((found - wanted) + (wanted - found)).items())[:5]}")
        totals = tested.totals()
        tombstones = sum(made.value is None for made, *_ in sent)
        hold(totals.tombstones == tombstones, f"{tombstones} tombstones sent, {totals.tombstones} counted")
        good = len(sent) - tombstones - len(wanted)
        hold(totals.analysed == good, f"{good} good posts sent, {totals.analysed} analysed")
        hold(trial.figures.duplicates == 0, f"{trial.figures.duplicates} outcomes were written twice")
        trial.figures.notes |= {"records": len(sent), "poison": len(wanted), "tombstones": tombstones}


ROW = Row(
    number="16",
    fault="1 % poison among emoji, RTL, mixed scripts, tombstones",
    promise="each poison dead-lettered once with place and reason, all others analysed or counted",
    repeats=1,
    run=run,
)
