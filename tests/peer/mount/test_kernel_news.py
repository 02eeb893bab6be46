"""Which changes the kernel is told of, and how."""

from __future__ import annotations

import pytest

from peer.mount.coherent_cache import Applied
from peer.mount.kernel_news import OWN_SECONDS, KernelNews
from schema.changes import Changed, Renamed, Swept
from tests.peer.mount.samples import FILE

A, B = (b"d", b"a"), (b"d", b"b")


class Kernel:
    def __init__(self):
        self.told = []

    def invalidate_file(self, path):
        self.told.append(path)
        return True

    def invalidate_entry(self, parent, name):
        self.told.append((parent, name))
        return True


@pytest.fixture
def kernel():
    return Kernel()


@pytest.fixture
def time():
    return [100.0]


@pytest.fixture
def news(kernel, time):
    news = KernelNews(lambda: time[0])
    news.begin(kernel)
    return news


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (Changed(A, FILE), [A]),
        (Changed(A, None), [((b"d",), b"a")]),
        (Renamed(A, B, FILE), [((b"d",), b"a"), ((b"d",), b"b")]),
        (Changed((), FILE), [()]),
        (Swept(A), []),
    ],
)
def test_what_changed_is_forgotten(news, kernel, change, told):
    news.told(Applied(change, news=True))
    assert kernel.told == told


def test_what_is_no_news_is_not_told(news, kernel):
    news.told(Applied(Changed(A, FILE), news=False))
    assert kernel.told == []


@pytest.mark.parametrize("change", [Changed(A, FILE), Changed(A, None), Renamed(A, A, FILE)])
def test_our_own_changes_are_not_told_until_they_are_old(news, kernel, time, change):
    news.own(A)
    news.told(Applied(change, news=True))
    assert kernel.told == []
    time[0] += OWN_SECONDS
    news.told(Applied(change, news=True))
    assert kernel.told


def test_before_the_mount_is_up_nobody_is_told():
    KernelNews(lambda: 0.0).told(Applied(Changed(A, FILE), news=True))
