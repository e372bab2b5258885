"""Files of demonstrations to rendered splits: read, group by what must meet, clean, write.

Whatever decides about a demonstration is a function of its text, its id, its user and the seed, so
that every runner writes the same bytes.
"""

import dataclasses
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import apache_beam as beam

from instrux.beam.blobs import Blob, FileKey
from instrux.beam.dead_letters import BAD_ROW, dead_letter
from instrux.beam.parts import part
from instrux.beam.write import WrittenFiles
from instrux.data import demonstration_stages as stages
from instrux.data.demonstration_counts import DemonstrationCounts, add_up
from instrux.data.demonstration_files import InputShard, read_input_shard
from instrux.data.demonstration_formats import DemonstrationInput, find_format, from_turns
from instrux.data.demonstration_settings import DemonstrationSettings
from instrux.data.demonstrations import Demonstration
from instrux.data.examples import RenderedExample
from instrux.data.files import as_path, write_atomically
from instrux.data.languages import LanguageFinder
from instrux.data.message_trees import message_of, paths
from instrux.data.rendered import shard_name
from instrux.data.sampling import stable_key
from instrux.data.tfrecord import frame
from instrux.data.vocabularies import Vocabulary
from instrux.errors import InputError

TEMPLATE = "demonstration"
REPORT = "report.json"
DEAD_LETTERS = "dead_letters.jsonl"
LEFT_OUT = "left_out.jsonl"
AUDIT = "personal_data.jsonl"
DUPLICATE_ID = "duplicate_id"
ROWS, MESSAGES, FILES, COUNTS = "rows", "messages", "files", "counts"
_RENDERED, _PREPARED = 0, 1  # the folders
Keyed = tuple[FileKey, bytes]


@dataclasses.dataclass(frozen=True)
class DemonstrationPlan:
    """What a job is to do. Plain data, and all that a worker gets.

    Attributes:
        settings: how demonstrations are prepared.
        vocabulary: counts tokens.
        shards: what is read.
        folders: of the rendered task, and of the prepared JSON lines and reports.
        num_shards: rendered files a split.
    """

    settings: DemonstrationSettings
    vocabulary: Vocabulary
    shards: tuple[InputShard, ...]
    folders: tuple[str, str]
    num_shards: int


# --- Pure functions ------------------------------------------------------------------------------


def demonstrations_of(
    given: DemonstrationInput, row: Mapping[str, Any], default_id: str
) -> list[Demonstration]:
    """Reads a row; empty prompts are an error.

    Raises:
        InputError: a field is absent or wrong.
    """
    found = [
        stages.normalised(given.complete(d)) for d in find_format(given.format)(row, default_id)
    ]
    for demonstration in found:
        if not demonstration.prompt.strip():
            raise InputError("the prompt is empty")
    return found


def is_lone_message(given: DemonstrationInput, row: Mapping[str, Any]) -> bool:
    """Whether a row is one message of a tree, to be put together with its like."""
    whole = "prompt" in row or "replies" in row
    return given.format == "oasst" and "message_tree_id" in row and not whole


def demonstrations_of_tree(
    given: DemonstrationInput, rows: Iterable[Mapping[str, Any]]
) -> list[Demonstration]:
    """Puts the messages of a tree together.

    Raises:
        InputError: a field is absent or wrong.
    """
    messages = sorted(map(message_of, rows), key=lambda message: message.id)
    made = [
        from_turns(
            [(message.role, message.text) for message in path],
            id=f"oasst/{path[-1].id}",
            user_id=path[0].user_id,
            language=path[-1].language,
        )
        for path in paths(messages)
    ]
    return [stages.normalised(given.complete(each)) for each in made]


def with_language(demonstration: Demonstration, finder: LanguageFinder | None) -> Demonstration:
    """Fills in the language where it is not said."""
    if finder is None or demonstration.language is not None:
        return demonstration
    return dataclasses.replace(demonstration, language=finder.find(demonstration.prompt))


def left_out_line(demonstration: Demonstration, reason: str, kept: str | None = None) -> bytes:
    """A line that says what was left out, and why; never its text."""
    said = {"id": demonstration.id, "reason": reason} | ({"kept": kept} if kept else {})
    return json.dumps(said, ensure_ascii=False).encode() + b"\n"


def _line(name: str, key: object, line: bytes) -> Keyed:
    """A line of a report, in an order that its content decides."""
    return (_PREPARED, name), Blob(stable_key(key), 1, line).to_bytes()


# --- DoFns ---------------------------------------------------------------------------------------


class _Counting(beam.DoFn):
    """Counts as it goes, and gives what it counted with each element."""

    def process(self, element: Any) -> Iterator[tuple[str, Any]]:
        """Works on one element."""
        self.counts = DemonstrationCounts()
        yield from self.work(element)
        if self.counts != DemonstrationCounts():
            yield COUNTS, (0, self.counts.to_bytes())

    def work(self, element: Any) -> Iterator[tuple[str, Any]]:
        """What is given on, each under `ROWS`, `MESSAGES` or `FILES`."""
        raise NotImplementedError

    def dead(self, where: str, error: InputError, reason: str = BAD_ROW) -> Any:
        """A row that cannot be read."""
        self.counts.dead[reason,] += 1
        letter = dead_letter(example_id=where, template="", reason=reason, detail=str(error))
        return (FILES, _line(DEAD_LETTERS, (where, reason), letter))

    def left_out(self, demonstration: Demonstration, reason: str, kept: str | None = None) -> Any:
        """A demonstration that is left out on purpose."""
        self.counts.dropped[reason,] += 1
        line = left_out_line(demonstration, reason, kept)
        return (FILES, _line(LEFT_OUT, (demonstration.id, reason), line))


class _Read(_Counting):
    """Place of a shard -> (id, demonstration); lone messages by tree."""

    def __init__(self, plan: DemonstrationPlan) -> None:
        self._plan = plan

    def work(self, element: int) -> Iterator[Any]:
        """Reads one piece of an input."""
        piece = self._plan.shards[element]
        given = self._plan.settings.inputs[piece.number]
        bad: list[Any] = []
        name = f"{given.format}/{piece.number}" if piece.number else given.format

        def on_bad_row(row: int, error: InputError) -> None:
            self.counts.rows[name,] += 1
            bad.append(self.dead(f"{name}/{row}", error))

        for row, values in read_input_shard(piece.shard, on_bad_row):
            self.counts.rows[name,] += 1
            try:
                if is_lone_message(given, values):
                    tree = values["message_tree_id"]
                    yield (MESSAGES, ((piece.number, str(tree)), dict(values)))
                    continue
                found = demonstrations_of(given, values, f"{name}/{row}")
            except InputError as error:
                bad.append(self.dead(f"{name}/{row}", error))
                continue
            for each in found:
                yield ROWS, (each.id, each)
        yield from bad


class _ReadTree(_Counting):
    """((input, tree), messages) -> (id, demonstration)."""

    def __init__(self, plan: DemonstrationPlan) -> None:
        self._inputs = plan.settings.inputs

    def work(self, element: tuple[tuple[int, str], Iterable[Mapping[str, Any]]]) -> Iterator[Any]:
        """Puts one tree together."""
        (number, tree), rows = element
        try:
            for each in demonstrations_of_tree(self._inputs[number], rows):
                yield ROWS, (each.id, each)
        except InputError as error:
            yield self.dead(f"oasst/{tree}", error)


class _OneOfAnId(_Counting):
    """(id, demonstrations) -> (prefix, demonstration): no two of one id, the languages wanted."""

    def __init__(self, settings: DemonstrationSettings) -> None:
        self._settings = settings

    def setup(self) -> None:
        """Loads what tells languages apart."""
        self._finder = LanguageFinder() if self._settings.detect_languages else None

    def work(self, element: tuple[str, Iterable[Demonstration]]) -> Iterator[Any]:
        """Keeps one."""
        id, group = element
        first, *others = sorted(group, key=repr)
        for _ in others:
            yield self.dead(id, InputError("another row has this id"), DUPLICATE_ID)
        first = with_language(first, self._finder)
        wanted = self._settings.languages
        if wanted and first.language is not None and first.language not in wanted:
            yield self.left_out(first, stages.OTHER_LANGUAGE)
            return
        yield ROWS, (stages.prefix_key(first, self._settings.prefix_tokens), first)


class _Deduplicate(_Counting):
    """(prefix, demonstrations) -> (user, demonstration)."""

    def __init__(self, settings: DemonstrationSettings) -> None:
        self._seed = settings.seed

    def work(self, element: tuple[str, Iterable[Demonstration]]) -> Iterator[Any]:
        """Keeps one of near-duplicates."""
        first, others = stages.deduplicated(element[1], self._seed)
        for each in others:
            yield self.left_out(each, stages.NEAR_DUPLICATE, first.id)
        yield ROWS, (first.unit, first)


class _OfOneUser(_Counting):
    """(user, demonstrations) -> demonstration with its split."""

    def __init__(self, settings: DemonstrationSettings) -> None:
        self._settings = settings

    def work(self, element: tuple[str, Iterable[Demonstration]]) -> Iterator[Any]:
        """Splits and limits what one user wrote."""
        kept, dropped = stages.of_one_user(
            list(element[1]),
            shares=self._settings.shares,
            limit=self._settings.prompts_a_user,
            seed=self._settings.seed,
            declared_splits=self._settings.declared_splits,
        )
        for each, reason in dropped:
            yield self.left_out(each, reason)
        if kept and kept[0].user_id is not None:
            for source in {each.source for each in kept}:
                self.counts.users[kept[0].split or "", source] += 1
        for each in kept:
            yield ROWS, each


class _Finish(_Counting):
    """Demonstration -> its records in the files, cleaned, expanded and short enough."""

    def __init__(self, plan: DemonstrationPlan) -> None:
        self._plan = plan

    def setup(self) -> None:
        """Loads what finds personal data."""
        self._finder = self._plan.settings.finder()

    def work(self, element: Demonstration) -> Iterator[Any]:
        """Finishes what was made of one row."""
        settings = self._plan.settings
        audit: list[stages.Audited] = []
        if self._finder is not None:
            element, audit = stages.without_personal_data(element, self._finder)
        for number, each in enumerate(audit):
            self.counts.removed[each.removed.kind,] += 1
            yield (FILES, _audit_line(element.id, number, each))
        made = stages.expanded(element, settings.few_shot, settings.seed)
        if not made:
            yield self.left_out(element, stages.TOO_FEW_SHOTS)
        for each in made:
            inputs = each.prompt + settings.separator
            prompt, completion = map(
                len, self._plan.vocabulary.encode_batch([inputs, each.completion])
            )
            if reason := settings.limits.reason(prompt, completion):
                yield self.left_out(each, reason)
                continue
            self.counts.count(each, prompt=prompt, completion=completion)
            for record in _records(self._plan, each, inputs):
                yield (FILES, record)


def _audit_line(id: str, number: int, audited: stages.Audited) -> Keyed:
    said = {"id": id, "field": audited.field, **dataclasses.asdict(audited.removed)}
    line = json.dumps(said, ensure_ascii=False).encode() + b"\n"
    return _line(AUDIT, (id, number), line)


def _records(plan: DemonstrationPlan, each: Demonstration, inputs: str) -> Iterator[Keyed]:
    split = each.split or "train"
    place = stable_key("place", plan.settings.seed, each.id)
    # The last part of an example's id, its row, has no slash.
    id = f"{plan.settings.task}/default/{split}/{each.id.replace('/', ':')}"
    example = RenderedExample(inputs, each.completion, id, TEMPLATE)
    name = shard_name(split, place % plan.num_shards, plan.num_shards)
    yield (_RENDERED, name), Blob(place, 1, frame(example.to_bytes())).to_bytes()
    line = json.dumps(each.to_row(), ensure_ascii=False, sort_keys=True).encode(errors="replace")
    yield (_PREPARED, f"{split}.jsonl"), Blob(place, 1, line + b"\n").to_bytes()


class _WriteReport(beam.DoFn):
    """(0, names and what they hold) -> the report's path, once it is there."""

    def __init__(self, folder: str) -> None:
        self._folder = folder

    def process(self, element: tuple[int, Iterable[tuple[int, str, bytes]]]) -> Iterator[str]:
        """Writes what was counted and which files there are."""
        files: list[Any] = []
        counts: list[bytes] = []
        for folder, name, data in element[1]:
            if name:
                files.append([folder, json.loads(data)])
            else:
                counts.append(data)
        total = add_up(counts)
        report = {"files": sorted(files, key=repr), "counts": json.loads(total.to_bytes())}
        path = as_path(self._folder) / REPORT
        try:
            write_atomically(path, [json.dumps(report).encode()])
        except OSError as error:
            raise InputError(f"{path}: cannot be written ({error.strerror or error}).") from error
        yield str(path)


@dataclasses.dataclass
class PreparedDemonstrations(beam.PTransform):
    """Reads, prepares and writes demonstrations; gives the path of the report.

    Attributes:
        plan: what to do.
    """

    plan: DemonstrationPlan

    def expand(self, pipeline):
        """Start of a pipeline -> path of the report."""
        plan, settings = self.plan, self.plan.settings
        read = (
            pipeline
            | "Inputs" >> beam.Create(range(len(plan.shards)))
            | "Spread" >> beam.Reshuffle()
            | "Read" >> beam.ParDo(_Read(plan))
        )
        trees = (
            part(read, MESSAGES, "Messages")
            | "GatherTree" >> beam.GroupByKey()
            | "ReadTree" >> beam.ParDo(_ReadTree(plan))
        )
        unique = (
            (part(read, ROWS, "Rows"), part(trees, ROWS, "RowsOfTrees"))
            | "AllRows" >> beam.Flatten()
            | "GatherId" >> beam.GroupByKey()
            | "OneOfAnId" >> beam.ParDo(_OneOfAnId(settings))
        )
        distinct = (
            part(unique, ROWS, "Unique")
            | "GatherPrefix" >> beam.GroupByKey()
            | "Deduplicate" >> beam.ParDo(_Deduplicate(settings))
        )
        split = (
            part(distinct, ROWS, "Distinct")
            | "GatherUser" >> beam.GroupByKey()
            | "OfOneUser" >> beam.ParDo(_OfOneUser(settings))
        )
        finished = part(split, ROWS, "Split") | "Finish" >> beam.ParDo(_Finish(plan))
        parts = (read, trees, unique, distinct, split, finished)
        files = (
            [part(each, FILES, f"Files{number}") for number, each in enumerate(parts)]
            | "AllFiles" >> beam.Flatten()
            | "Typed" >> beam.Map(_as_is).with_output_types(tuple[tuple[int, str], bytes])
            | WrittenFiles(plan.folders)
            | "File" >> beam.Map(_under_one_key)
        )
        counts = (
            [part(each, COUNTS, f"Counts{number}") for number, each in enumerate(parts)]
            | "AllCounts" >> beam.Flatten()
            | "AddUp" >> beam.CombinePerKey(_add_up_bytes)
            | "Counted" >> beam.Map(_nameless)
        )
        return (
            (files, counts)
            | "Together" >> beam.Flatten()
            | "GatherReport" >> beam.GroupByKey()
            | "WriteReport" >> beam.ParDo(_WriteReport(plan.folders[_PREPARED]))
        )


def _as_is(element: Keyed) -> Keyed:
    return element


def _under_one_key(element: tuple[int, tuple[str, bytes]]) -> tuple[int, tuple[int, str, bytes]]:
    folder, (name, data) = element
    return 0, (folder, name, data)


def _add_up_bytes(parts: Iterable[bytes]) -> bytes:
    return add_up(parts).to_bytes()


def _nameless(element: tuple[int, bytes]) -> tuple[int, tuple[int, str, bytes]]:
    return element[0], (0, "", element[1])
