"""When the agent counts as out of reach."""

from __future__ import annotations

import pytest

from peer.errors import OperationFailed
from peer.mount.reached import Reached
from schema.requests import Caller, GetMetadata
from tests.conformance.memory_filesystem import memory_filesystem


class Failing:
    def __init__(self, code):
        self.code = code

    def get_metadata(self, request, caller):
        raise OperationFailed(self.code)


@pytest.mark.parametrize(
    ("code", "shut", "lost"),
    [
        ("ETIMEDOUT", False, 1),
        ("EHOSTUNREACH", False, 1),
        ("EACCES", False, 0),
        ("EACCES", True, 1),
        ("ENOENT", False, 0),
    ],
)
def test_a_failure_tells_whether_the_agent_is_there(code, shut, lost):
    times = []
    filesystem = Reached(Failing(code), lambda: times.append(1), lambda: shut)
    with pytest.raises(OperationFailed, match=code):
        filesystem.get_metadata(GetMetadata((b"a",)), Caller(0, 0))
    assert len(times) == lost


def test_an_answer_changes_nothing():
    times = []
    filesystem = Reached(memory_filesystem(), lambda: times.append(1), lambda: True)
    filesystem.get_metadata(GetMetadata(()), Caller(0, 0))
    assert times == []
