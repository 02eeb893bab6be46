"""CipherState: nonces are counted, never used twice, never beyond the last."""

from __future__ import annotations

import pytest

from peer.errors import AuthenticationFailed, SessionExhausted
from peer.session.cipher_state import MAX_NONCE, CipherState
from peer.session.primitives import encrypt

KEY = bytes(range(32))


def test_without_a_key_text_passes_as_it_is() -> None:
    state = CipherState()
    assert not state.has_key()
    assert state.encrypt_with_ad(b"ad", b"text") == b"text"
    assert state.decrypt_with_ad(b"ad", b"text") == b"text"


def test_every_message_takes_the_next_nonce() -> None:
    sender, receiver = CipherState(KEY), CipherState(KEY)
    for nonce in range(3):
        sealed = sender.encrypt_with_ad(b"ad", b"text")
        assert sealed == encrypt(KEY, nonce, b"ad", b"text")
        assert receiver.decrypt_with_ad(b"ad", sealed) == b"text"


def test_a_forgery_uses_up_no_nonce() -> None:
    sender, receiver = CipherState(KEY), CipherState(KEY)
    sealed = sender.encrypt_with_ad(b"", b"text")
    with pytest.raises(AuthenticationFailed):
        receiver.decrypt_with_ad(b"", bytes(len(sealed)))
    assert receiver.decrypt_with_ad(b"", sealed) == b"text"


def test_the_last_nonce_is_refused() -> None:
    state = CipherState(KEY)
    state.set_nonce(MAX_NONCE - 1)
    sealed = state.encrypt_with_ad(b"", b"last")
    with pytest.raises(SessionExhausted):
        state.encrypt_with_ad(b"", b"one too many")
    state.set_nonce(MAX_NONCE - 1)
    assert state.decrypt_with_ad(b"", sealed) == b"last"
    with pytest.raises(SessionExhausted):
        state.decrypt_with_ad(b"", sealed)
    with pytest.raises(SessionExhausted):
        state.encrypt_at(-1, b"")


def test_rekey_is_the_specified_function_and_keeps_the_nonce() -> None:
    state = CipherState(KEY)
    state.set_nonce(5)
    state.rekey()
    expected = bytes(encrypt(KEY, MAX_NONCE, b"", bytes(32))[:32])
    assert state.encrypt_with_ad(b"", b"text") == encrypt(expected, 5, b"", b"text")


def test_a_copy_counts_for_itself() -> None:
    state = CipherState(KEY)
    state.set_nonce(9)
    twin = state.copy()
    assert twin.encrypt_with_ad(b"", b"text") == state.encrypt_with_ad(b"", b"text") == encrypt(KEY, 9, b"", b"text")


def test_what_needs_a_key_says_so() -> None:
    with pytest.raises(ValueError, match="key"):
        CipherState().encrypt_at(0, b"")
    with pytest.raises(ValueError, match="key"):
        CipherState().rekey()
    with pytest.raises(ValueError, match="32 bytes"):
        CipherState(b"short")
