from __future__ import annotations

import logging
import threading

import pytest

from peer.mount.notification_lane import NotificationLane


@pytest.fixture
def lane():
    lane = NotificationLane("test", capacity=2)
    lane.start()
    yield lane
    lane.stop(10)


def test_jobs_are_done_in_order(lane):
    done = []
    lane.post(lambda: done.append(1), 5)
    assert lane.wait_for(lambda: done.append(2), 5)
    assert done == [1, 2]


def test_a_full_lane_takes_no_more(lane):
    begun, go_on = threading.Event(), threading.Event()

    def held():
        begun.set()
        go_on.wait(10)

    assert lane.post(held)
    assert begun.wait(10)
    assert lane.post(lambda: None)
    assert lane.post(lambda: None)
    assert not lane.post(lambda: None)
    assert not lane.wait_for(lambda: None, 0.01)
    go_on.set()


def test_a_wait_ends_at_its_deadline(lane):
    go_on = threading.Event()
    lane.post(lambda: go_on.wait(10) and None)
    assert not lane.wait_for(lambda: None, 0.01)
    go_on.set()


def test_a_job_that_fails_is_logged_and_the_next_one_done(lane, caplog):
    with caplog.at_level(logging.ERROR):
        assert lane.wait_for(lambda: 1 / 0, 5)
        assert lane.wait_for(lambda: None, 5)
    assert "division by zero" in caplog.text


def test_stopping_waits_for_the_job_in_hand_and_drops_the_rest():
    lane = NotificationLane("test", capacity=10)
    begun, go_on, done = threading.Event(), threading.Event(), []

    def held():
        begun.set()
        go_on.wait(10)
        done.append(1)

    lane.start()
    lane.post(held)
    assert begun.wait(10)
    lane.post(lambda: done.append(2))
    timer = threading.Timer(0.05, go_on.set)
    timer.start()
    lane.stop(10)
    timer.join()
    assert done == [1]


def test_nobody_waits_for_a_lane_that_has_ended():
    lane = NotificationLane("ended", 4)
    lane.start()
    lane.stop(5)
    assert not lane.post(lambda: None)
    assert not lane.wait_for(lambda: None, 3600)
