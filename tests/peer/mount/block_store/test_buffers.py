from __future__ import annotations

import threading

from peer.mount.block_store.buffers import BufferPool

LARGE = 100_000


def test_a_buffer_comes_back_when_nobody_holds_a_view_of_it():
    pool = BufferPool(LARGE, count=2)
    first = pool.take(LARGE)
    memory = first.obj
    first.release()
    assert pool.take(70_000).obj is memory


def test_a_buffer_of_which_any_part_is_held_does_not():
    pool = BufferPool(LARGE, count=1)
    held = pool.take(LARGE)[5:10]
    held[:] = b"kept!"
    for _ in range(5):
        other = pool.take(LARGE)
        assert len(other) == LARGE
        other[:] = bytes(LARGE)
    assert held == b"kept!"


def test_the_pool_keeps_no_more_than_its_count():
    pool = BufferPool(LARGE, count=3)
    views = [pool.take(LARGE) for _ in range(10)]
    assert len({id(view.obj) for view in views}) == 10
    assert len(pool._buffers) == 3


def test_what_does_not_fit_is_made_for_once():
    pool = BufferPool(LARGE, count=3)
    assert [len(pool.take(size)) for size in (0, 1, LARGE + 1, 10 * LARGE)] == [0, 1, LARGE + 1, 10 * LARGE]
    assert not pool._buffers


def test_two_threads_never_get_the_same():
    pool = BufferPool(LARGE, count=4)
    wrong = []

    def work(mark):
        for _ in range(300):
            view = pool.take(LARGE)
            view[:8] = mark * 8
            view[-8:] = mark * 8
            if view[:8] != mark * 8 or view[-8:] != mark * 8:
                wrong.append(mark)

    threads = [threading.Thread(target=work, args=(bytes([number]),)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert wrong == []
