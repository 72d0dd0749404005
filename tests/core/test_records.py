from __future__ import annotations

import ast
import pickle
from pathlib import Path

import pyarrow as pa
import pytest

from core import records
from core.records import REASONS, SAFE_ID, Reject, carry, cluster_of, columns, schema

ROOT = Path(__file__).resolve().parents[2]
TABLES = sorted(records._TABLES)


def test_a_reject_keeps_its_reason_through_a_pipe():
    back = pickle.loads(pickle.dumps(Reject("no_face", "clip c1")))
    assert (back.reason, back.detail, str(back)) == ("no_face", "clip c1", "no_face: clip c1")
    assert str(Reject("no_face")) == "no_face"


def test_a_reason_that_is_not_listed_is_a_bug():
    with pytest.raises(ValueError, match="bad_hair"):
        Reject("bad_hair")


def test_every_reason_given_in_the_code_is_listed():
    """Also where a reject is written without raising one: such a reason would show in reports without words."""
    given = {}
    for path in [p for room in ("core", "corpora", "metrics", "models", "stages") for p in (ROOT / room).rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id",
                                                      "") == "Reject" and node.args and isinstance(node.args[0], ast.Constant):
                given[node.args[0].value] = path.name
    assert len(given) > 10 and {r: where for r, where in given.items() if r not in REASONS} == {}


@pytest.mark.parametrize("table", TABLES)
def test_schemas_are_complete_and_in_order(table):
    made = schema(table)
    assert made.names == columns(table) and len(set(made.names)) == len(made.names)
    assert all(field.type != pa.null() for field in made)


def test_structures_are_typed():
    assert schema("clips").field("speech").type == pa.list_(pa.struct([("start_s", pa.float64()), ("end_s", pa.float64())]))
    assert schema("views").field("frames").type == pa.list_(pa.binary())
    with pytest.raises(KeyError):
        schema("nonsense")


def test_identity_travels_without_being_listed():
    row = {"clip_id": "c", "speaker": None, "audio": b"x", "junk": 1, "n_frames": 3}
    assert carry(row, "tracks") == {"clip_id": "c", "speaker": None, "n_frames": 3}


def test_the_cluster_is_the_speaker_or_the_recording():
    assert cluster_of("anna", "r1") == "speaker:anna" and cluster_of(None, "r1") == "recording:r1"
    assert cluster_of("r1", "x") != cluster_of(None, "r1"), "a speaker named like a recording is not it"


@pytest.mark.parametrize("name, good", [("en-s00-c00", True), ("a.b_c-1", True), ("../x", False), (".hidden", False),
                                        ("a/b", False), ("", False),
                                        ("ü", False), ("a" * 100, True), ("a" * 101, False), ("a\n", False)])
def test_safe_ids(name, good):
    assert bool(SAFE_ID.fullmatch(name)) == good
