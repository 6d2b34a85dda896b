"""CSV files of every form arrive as they were meant; every bad row is rejected with its place, and the rest goes on."""

import csv
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from schemas.errors import ConfigurationError
from schemas.settings import KafkaSettings
from streams.sources import mapping
from streams.sources.batching import BatchWriter
from streams.sources.catalog import Catalog
from streams.sources.csv_files import CsvImport, Imported
from streams.sources.rejects import Reject, Rejects
from tests.streams.sources import sites

HOUR_MS = 3_600_000
NOON_MS = int(datetime(2024, 5, 1, 12, tzinfo=UTC).timestamp() * 1000)
TIME = "time: {column: t, zone: UTC}\n"


class Case:
    """One import: a mapping, files, and what came of them."""

    def __init__(self, folder: Path, mapping_text: str, **files: str | bytes) -> None:
        self.folder = folder / "in"
        self.folder.mkdir()
        self.documents = sites.documents(folder / "model")
        self.numbers = sites.numbers(self.documents)
        for name, text in files.items():
            path = self.folder / f"{name}.csv"
            path.write_bytes(text.encode() if isinstance(text, str) else text)
        (folder / "mapping.yaml").write_text(mapping_text, "utf-8")
        self.rejects = Rejects(folder / "bad.rejected.csv")
        self.work = CsvImport(mapping.load(folder / "mapping.yaml"), Catalog(self.documents), self.rejects)
        self.result: Imported = self.work.result

    def read(self) -> "Case":
        """Reads the files."""
        self.work.read(sorted(self.folder.iterdir()))
        self.rejects.close()
        return self

    def send(self, kafka: KafkaSettings) -> list[tuple[Any, ...]]:
        """Reads, sends, and returns what is in the log: (point, time, value, quality, mode)."""
        self.read()
        sites.topics(kafka)
        with BatchWriter(kafka, self.documents) as writer:
            self.work.send(writer)
        names = {(site, number): name for name, number in self.numbers.items() for site in self.documents
                 if name in self.documents[site].table("points")["id"]}  # fmt: skip
        return [(names[r[0], r[4]], r[3], r[5], r[6], r[2]) for r in sites.readings(kafka)]

    def reasons(self) -> list[tuple[int, str, str]]:
        """Line, column and reason of everything that was rejected."""
        return [(reject.line, reject.column, reject.reason) for reject in self.rejects.first]


def test_wide_files_are_sorted_across_files(kafka: KafkaSettings, tmp_path: Path) -> None:
    """Each point is in the order of time across files, newest row first or not, in the units that the log carries."""
    case = Case(
        tmp_path,
        f"site: here\n{TIME}wide:\n  e [kWh]: {{point: main}}\n  w: {{point: lights, unit: W}}\n",
        a="t,e [kWh],w\n2024-05-01T12:30:00Z,3.5,1500\n2024-05-01T12:15:00,2.25,\n",
        b="t,w,e [kWh],more\n2024-05-01 12:00,250,1,x\n",
    )
    found = case.send(kafka)
    quarter = HOUR_MS // 4

    assert [row[:3] for row in found if row[0] == "main"] == [
        ("main", NOON_MS, 1000),
        ("main", NOON_MS + quarter, 2250),
        ("main", NOON_MS + 2 * quarter, 3500),
    ]
    assert [row[:3] for row in found if row[0] == "lights"] == [
        ("lights", NOON_MS, 250),
        ("lights", NOON_MS + 2 * quarter, 1500),
    ]
    assert {row[3:] for row in found} == {("good", "backfill")}
    assert (case.result.files, case.result.rows, case.result.readings, case.result.empty) == (2, 3, 5, 1)
    assert case.rejects.count == 0


def test_long_files_with_foreign_names_and_forms(kafka: KafkaSettings, tmp_path: Path) -> None:
    """Sites, points, qualities, decimal commas, local times and GB 18030 are read as the mapping says."""
    case = Case(
        tmp_path,
        """
site: "{场所}"
mode: live
encoding: gb18030
delimiter: ";"
decimal: ","
thousands: "."
nulls: [无]
time: {column: t, format: "%d.%m.%Y %H:%M", zone: Europe/London}
long:
  point: "{meter}|{register}"
  points: {"4711|1.8.0": main, "4711|3.0": hourly, "w|1": other}
  value: {column: 值, factor: 0.1}
quality: {column: q, estimated: [E], suspect: [S, X]}
""",
        a=(
            "场所;meter;register;t;值;q\n"
            "here;4711;1.8.0;01.05.2024 13:00;1.234,5;\n"
            "here;4711;3.0;1.5.2024 13:00;7;E\n"
            "there;w;1;01.05.2024 13:00;0,05;X\n"
            "here;4711;1.8.0;01.05.2024 14:00;无;\n"
        ).encode("gb18030"),
    )
    found = case.send(kafka)

    assert sorted(found) == [
        ("hourly", NOON_MS, 700, "estimated", "live"),
        ("main", NOON_MS, 123_450, "good", "live"),
        ("other", NOON_MS, 5000, "suspect", "live"),
    ]
    assert (case.result.empty, case.rejects.count) == (1, 0)


def test_stamps_move_deltas_to_the_end_of_their_interval(tmp_path: Path) -> None:
    """A delta that is stamped at its start is carried at its end; registers are where they were read."""
    text = "t,d,r\n2024-05-01T12:00Z,1,1\n"
    columns = "wide: {d: {point: hourly}, r: {point: main}}\n"
    found = {}
    for stamp in ("start", "end"):
        (tmp_path / stamp).mkdir()
        case = Case(tmp_path / stamp, f"site: here\ntime: {{column: t, stamp: {stamp}}}\n{columns}", a=text).read()
        own = case.work._readings.columns["here", "g1", "backfill"]
        numbers = {number: name for name, number in case.numbers.items() if name in ("hourly", "main")}
        found[stamp] = {numbers[int(p[0])]: int(t[0]) for p, t in zip(own.points, own.times_ms, strict=True)}

    assert found["start"] == {"hourly": NOON_MS + HOUR_MS, "main": NOON_MS}
    assert found["end"] == {"hourly": NOON_MS, "main": NOON_MS}


def test_every_kind_of_bad_row(tmp_path: Path) -> None:
    """Each bad row or cell is rejected with its line, column and reason; the good ones beside them are kept."""
    case = Case(
        tmp_path,
        f"site: here\n{TIME}wide: {{e: {{point: main}}, w: {{point: lights}}}}\n",
        a=(
            "t,e,w\n"
            "2024-05-01T12:00Z,1,1\n"  # line 2: good
            "2024-05-01T12:15Z,1\n"
            "2024-05-01T12:15Z,1,2,3\n"
            '2024-05-01T12:15Z,"1,2\n'
            '2024-05-01T12:15Z,"1"x,2\n'
            "yesterday,1,2\n"
            ",1,2\n"
            "2024-05-01T12:15Z,one,2\n"
            "2024-05-01T12:30Z,1.0005,2\n"
            "2024-05-01T12:45Z,9223372036854775808,2\n"
            "2024-05-01T13:00Z,nan,1e-4\n"
            "1999-12-31T23:59Z,1,\n"
            "2099-01-01T00:00Z,,2\n"
            "\n"
            "2024-05-01T13:15Z,5,5\n"  # line 16: good
        ),
    ).read()
    own = [part for columns in case.work._readings.columns.values() for part in columns.values]

    expected = [
        (3, "", "2 cells"),
        (4, "", "4 cells"),
        (5, "", "quote"),
        (6, "", "quote"),
        (7, "t", "not a time"),
        (8, "t", "no time"),
        (9, "e", "not a decimal"),
        (10, "e", "not an integer"),
        (11, "e", "64 bits"),
        (12, "e", "not a decimal"),
        (12, "w", "not an integer"),
        (13, "t", "before 2000"),
        (14, "t", "future"),
    ]
    found = case.reasons()

    assert [(line, column) for line, column, _ in found] == [(line, column) for line, column, _ in expected]
    for (_, _, reason), (_, _, word) in zip(found, expected, strict=True):
        assert word in reason
    assert sorted(int(value) for part in own for value in part) == [1000, 1000, 2000, 2000, 2000, 5000, 5000]
    assert (case.result.rows, case.result.rejected) == (14, 13)


def test_what_is_rejected_is_kept_in_a_file(tmp_path: Path) -> None:
    """The file of rejected rows has place, reason and the row as it stands in the input."""
    case = Case(
        tmp_path,
        f"site: here\n{TIME}wide: {{e: {{point: main}}}}\n",
        a='t,e,x\n"2024-05-01T12:00Z",many,"a,b"\n',
    ).read()
    with (tmp_path / "bad.rejected.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))

    assert [(row["line"], row["column"], row["row"]) for row in rows] == [("2", "e", '"2024-05-01T12:00Z",many,"a,b"')]
    assert rows[0]["file"].endswith("a.csv")
    assert "decimal" in rows[0]["reason"]
    assert str(case.rejects.first[0]).endswith(f"a.csv:2, column e: {rows[0]['reason']}")


def test_unknown_points_and_sites(tmp_path: Path) -> None:
    """In long files each row is rejected, in wide ones the column once; the other points are kept."""
    for name in ("long", "wide"):
        (tmp_path / name).mkdir()
    long = Case(
        tmp_path / "long",
        f'site: "{{s}}"\n{TIME}long: {{point: "{{p}}", value: {{column: v}}}}\n',
        a=(
            "t,s,p,v\n"
            "2024-05-01T12:00Z,here,main,1\n"
            "2024-05-01T12:00Z,here,mein,1\n"
            "2024-05-01T12:00Z,nowhere,main,1\n"
            "2024-05-01T12:00Z,here,vehicle:V1/charge,1\n"
        ),
    ).read()
    wide = Case(
        tmp_path / "wide",
        f"site: here\n{TIME}wide: {{a: {{point: main}}, b: {{point: nobody}}}}\n",
        a="t,a,b\n2024-05-01T12:00Z,1,1\n2024-05-01T13:00Z,1,1\n",
    ).read()

    assert [line for line, _, _ in long.reasons()] == [3, 4, 5]
    for (_, _, reason), word in zip(long.reasons(), ("'mein'", "unknown site", "by events"), strict=True):
        assert word in reason
    assert wide.reasons() == [(1, "b", "unknown point 'nobody' in site 'here'; the whole column is left out")]
    assert sum(part.size for own in wide.work._readings.columns.values() for part in own.values) == 2


def test_future_times_of_a_simulated_domain(tmp_path: Path) -> None:
    """A simulated site keeps its own time: what lies ahead of the wall clock is no fault there, beyond 2200 it is."""
    case = Case(
        tmp_path,
        f"site: sim\n{TIME}wide: {{e: {{point: old}}}}\n",
        a="t,e\n2150-01-01,1\n2250-01-01,1\n",
    ).read()

    assert [(line, reason) for line, _, reason in case.reasons()] == [(3, "the time lies in the future")]


def test_doubles_are_counted(kafka: KafkaSettings, tmp_path: Path) -> None:
    """A reading that stands twice is sent twice, and counted as a repeat, or as differing when the value does."""
    case = Case(
        tmp_path,
        f"site: here\n{TIME}wide: {{e: {{point: main}}}}\n",
        a="t,e\n2024-05-01T12:00Z,1\n2024-05-01T12:00Z,1\n2024-05-01T12:00Z,2\n",
    )
    found = case.send(kafka)

    assert [value for _, _, value, _, _ in found] == [1000, 1000, 2000]
    assert (case.result.repeats, case.result.differing) == (1, 1)


def test_events_of_rows(kafka: KafkaSettings, tmp_path: Path) -> None:
    """A row becomes all its events, sorted by time; a row that cannot becomes none of them, with a reason."""
    case = Case(
        tmp_path,
        """
site: here
time: {column: end, zone: UTC, add_years: 2000}
events:
  - contract: vehicle_event
    fields:
      event_id: "s-{id}"
      kind: charge
      vehicle: "{car}"
      start_ms: {time: begin}
      energy_wh: {number: kwh, factor: 1000}
  - contract: waste_event
    fields:
      event_id: "w-{id}"
      kind: {text: "{what}", map: {full: fill}}
      station: "{bin}"
      fill_permille: {number: level, factor: 10}
""",
        a=(
            "id,car,begin,end,kwh,what,bin,level\n"
            "2,V1,0024-05-01T11:00,0024-05-01T13:00,0,full,S1,50\n"
            "1,V1,0024-05-01T11:00,0024-05-01T12:00,6.73,full,S1,\n"
            "3,V9,0024-05-01T11:00,0024-05-01T12:00,1,full,S1,1\n"
            "4,V1,0024-05-01T13:00,0024-05-01T12:00,1,full,S1,1\n"
            "5,V1,0024-05-01T11:00,0024-05-01T12:00,1.0005,full,S1,1\n"
            "6,V1,0024-05-01T11:00,0024-05-01T12:00,1,empty,S1,1\n"
            "7,V1,0024-05-01T11:00,0024-05-01T12:00,1,full,S7,1\n"
            ",V1,0024-05-01T11:00,soon,1,full,S1,1\n"
            "9,,0024-05-01T11:00,0024-05-01T12:00,1,full,S1,1\n"
            "10,V1,0024-05-01T11:00,0024-05-01T12:00,1,full,S1,1e9\n"
        ),
    )
    case.send(kafka)
    charges = sites.values(kafka, "vehicle.events", "vehicle_event")
    fills = sites.values(kafka, "waste.events", "waste_event")

    assert [(e["event_id"], e["time_ms"], e["start_ms"], e["energy_wh"]) for e in charges] == [
        ("s-1", NOON_MS, NOON_MS - HOUR_MS, 6730),
        ("s-2", NOON_MS + HOUR_MS, NOON_MS - HOUR_MS, 0),
    ]
    assert [(e["event_id"], e["kind"], e["fill_permille"]) for e in fills] == [
        ("w-1", "fill", None),
        ("w-2", "fill", 500),
    ]
    words = ("unknown vehicle", "ends before", "whole", "none of", "unknown station", "a time", "needs vehicle", "int")
    assert [line for line, _, _ in case.reasons()] == [4, 5, 6, 7, 8, 9, 10, 11]
    for (_, _, reason), word in zip(case.reasons(), words, strict=True):
        assert word in reason
    assert case.result.events == 4


def test_files_that_cannot_be_imported(tmp_path: Path) -> None:
    """No file, a missing column, a unit that does not fit: nothing is sent, and the message says what to do."""
    text = f"site: here\n{TIME}wide: {{e: {{point: main}}}}\n"
    for number, (mapping_text, content, word) in enumerate(
        (
            (text, "t,f\n1,2\n", "no column 'e'"),
            (text.replace("column: t", "column: u"), "t,e\n1,2\n", "no column 'u'"),
            (text.replace("point: main", "point: main, unit: m3"), "t,e\n1,2\n", "do not fit"),
            (text.replace("zone: UTC", "stamp: start").replace("main", "people"), "t,e\n1,2\n", ""),
            ('files: "*.txt"\n' + text, "t,e\n1,2\n", "no file to import"),
            (text.replace("point: main", 'point: "{who}"'), "t,e\n1,2\n", "neither a part of the path"),
        )
    ):
        (tmp_path / str(number)).mkdir()
        case = Case(tmp_path / str(number), mapping_text, a=content)
        if word:
            with pytest.raises(ConfigurationError, match=word):
                case.read()
        else:
            case.read()
    with pytest.raises(ConfigurationError, match="does not exist"):
        case.work.read([tmp_path / "nowhere.csv"])


def test_empty_files_and_files_without_a_header(tmp_path: Path) -> None:
    """An empty file is a rejected row, not a crash; columns may be named by the mapping, behind lines to skip."""
    case = Case(tmp_path, f"site: here\n{TIME}wide: {{e: {{point: main}}}}\n", a="").read()
    assert case.reasons() == [(1, "", "the file has no header")]
    (tmp_path / "more").mkdir()
    case = Case(
        tmp_path / "more",
        f"site: here\n{TIME}header: [t, e]\nskip_lines: 2\nwide: {{e: {{point: main}}}}\n",
        a="Export of\nyesterday\n2024-05-01T12:00Z,1\nx,1\n",
    ).read()

    assert [line for line, _, _ in case.reasons()] == [4]
    assert case.result.rows == 2


@pytest.mark.parametrize(
    "text",
    [
        '"t","w"\n"1","2024-05-01T12:30:00Z",1500\n"2","2024-05-01T12:45:00Z",\n',  # row numbers, as R writes them
        "t,w\n2024-05-01T12:30:00Z,1500,\n2024-05-01T12:45:00Z,,\n",  # a delimiter at the end of every row
    ],
)
def test_a_cell_that_the_header_does_not_name(tmp_path: Path, text: str) -> None:
    """In every row the same one, before or behind the others: the columns are those that the header names."""
    case = Case(tmp_path, f"site: here\n{TIME}wide:\n  w: {{point: lights, unit: W}}\n", a=text).read()
    assert (case.result.rows, case.result.empty, case.reasons()) == (2, 1, [])


def test_rejects_beside_a_folder_that_may_only_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the file of rejected rows cannot be made, it is made in the working directory, and its path says so."""
    monkeypatch.chdir(tmp_path)
    with Rejects(tmp_path / "absent" / "x.rejected.csv") as rejects:
        for line in range(30):
            rejects.add(Reject("f", line, "", "bad", "row"))

    assert rejects.path == tmp_path / "x.rejected.csv"
    assert (rejects.count, len(rejects.first), len(rejects.path.read_text().splitlines())) == (30, 20, 31)
