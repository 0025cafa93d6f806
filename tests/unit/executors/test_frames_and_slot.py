from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from headrace.executors.frames import FrameReader, frame
from headrace.executors.protocol import Cancel, Done, FromWorker, Start, Stop, ToWorker, Upstream
from headrace.executors.slot import Begun, Slot
from headrace.runs.facts import LogSpan, Value


@given(st.lists(st.lists(st.integers(0, 2**63))), st.integers(1, 7))
def test_frames_are_whole_however_the_bytes_are_cut(batches: list[list[int]], step: int):
    data = b"".join(frame([Cancel(n) for n in batch]) for batch in batches)
    reader = FrameReader(list[ToWorker])
    got = [message for at in range(0, len(data), step) for message in reader.feed(data[at : at + step])]
    assert got == [Cancel(n) for batch in batches for n in batch]


def test_every_field_survives_the_way():
    start = Start(
        1, "r", "p", "n", (3, 0), 5, 2, 3, "key", 9,
        (Upstream("u", (3,), Value("tuple", body="[]", length=2, lengths=(1, None))),),
        '{"big": 1180591620717411303424}', (-1, 5), (("t", 0, 1, 2),),
    )  # fmt: skip
    done = Done(1, Value("json", body="1"), 5, effects=b"{}", log=LogSpan("w.log", 0, 5))
    assert FrameReader(list[ToWorker]).feed(frame([start, Stop()])) == [start, Stop()]
    assert FrameReader(list[FromWorker]).feed(frame([done])) == [done]


def test_a_slot_tells_what_was_begun_last_also_after_its_end(tmp_path: Path):
    engine = Slot(tmp_path / "w1.slot", create=True)
    worker = Slot(tmp_path / "w1.slot")
    assert engine.read() == Begun(0, None)
    worker.begin(7, 1234)
    assert engine.read() == Begun(7, 1234)
    worker.end()
    worker.close()
    assert engine.read() == Begun(7, None)
    engine.close()
