"""One mounted directory, composed: keys, link, channel, file systems around each other, FUSE.

The one rule: layers meet only here, so that each can be tested against another one's double.
"""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

from peer.certificates import OwnKeys, read_own_keys, read_relay_key
from peer.channel.opening import new_instance, open_link, open_requester, open_subscriber
from peer.channel.packing import Padding
from peer.channel.requester import Patience
from peer.config import ClientSettings, Remote
from peer.errors import LinkError, OperationFailed
from peer.link.request_link import clock
from peer.mount.bulk_verification import BulkVerification
from peer.mount.cached_filesystem import CachedFileSystem
from peer.mount.callers import GivenUp
from peer.mount.coherence import Coherence
from peer.mount.coherent_cache import CoherentCache
from peer.mount.durable_handles import DurableHandles
from peer.mount.ending_signals import unheard_by_new_threads
from peer.mount.feed_follower import FeedFollower
from peer.mount.freshness import Clocks, ToldFreshness
from peer.mount.fuse_binding import Session
from peer.mount.kept_metadata.keeper import MetadataKeeper, kept_in
from peer.mount.kept_opens import KeptOpens, opens_kept_in
from peer.mount.kernel_belief import KernelBelief
from peer.mount.kernel_cache import KernelCache
from peer.mount.known_access import KnownAccess
from peer.mount.metadata_cache import MetadataCache
from peer.mount.mounting import MountOptions, mount
from peer.mount.question_times import QuestionTimes
from peer.mount.quiet_files import QuietFiles
from peer.mount.reached import Reached
from peer.mount.remote_filesystem import RemoteFileSystem
from peer.mount.stored_contents import StoredContents, open_contents
from peer.mount.unflushed import Unflushed
from peer.mount.watcher_echo.performer import WatcherEcho, stage_of
from peer.mount.watcher_echo.pretence import Pretence
from peer.pinned_peers import PinnedPeers
from schema.paths import RelativePath, display
from schema.requests import Caller


@unheard_by_new_threads()
def mount_directory(settings: ClientSettings, remote: Remote, local: Path) -> None:
    """Mount `remote` on `local` and serve it on the main thread until it is unmounted or told to stop.

    Raises `KeyRefused`, `CertificateRefused` or `UnknownPeer` for keys that are to be mended, `LinkError` when broker
    or agent do not answer or do not let us, `MountError` for the mount point.
    """
    security = settings.security
    keys = read_own_keys(security.key_file, security.cert_file, settings.id)
    relay_key = read_relay_key(security.relay_cert)
    agent_key = PinnedPeers(security.trusted).identity_key_of(remote.agent)
    instance = new_instance()
    session = Session()
    link = open_link(keys, relay_key, settings.relay, settings.network, instance)
    with contextlib.ExitStack() as stack:
        stack.callback(link.stop)
        requester = open_requester(
            keys,
            link,
            remote.agent,
            agent_key,
            instance=instance,
            patience=Patience(settings.timeouts.metadata, settings.timeouts.data),
            padding=Padding(settings.network.padding),
            abandoned=GivenUp(session),
        )
        # What is kept here and what the kernel keeps of it: together they are no older than was asked for.
        ttl = settings.cache.ttl_seconds / 2
        coherence = Coherence(grace=settings.mount.attribute_seconds)
        known = CoherentCache(coherence, MetadataCache(ttl=settings.mount.attribute_seconds, backstop=ttl), clock)
        times = QuestionTimes(RemoteFileSystem(requester), clock)
        agent = Reached(times, known.lose, lambda: bool(requester.trouble))
        belief = KernelBelief(known, clock, short=settings.mount.attribute_seconds, long=ttl)
        # Who may see what an agent that preserves identities says of extended attributes, only it knows.
        shared = settings.mount.identity == "map"
        echo = WatcherEcho(known, belief, remote.path, clock)
        stack.callback(echo.stop)

        def changing(path: RelativePath) -> None:
            belief.own(path)
            echo.own(path)

        contents, quiet = _kept(settings, keys, agent_key, remote.path, stack)
        cached = CachedFileSystem(
            Unflushed(DurableHandles(agent)),
            known,
            contents=contents,
            quiet=quiet,
            ask_first=lambda: settings.cache.open == "auto" and times.are_quick,
            xattrs=shared,
            changing=changing,
        )
        filesystem = KnownAccess(cached, known) if shared else cached
        told = ToldFreshness(filesystem, known, contents, lambda: Clocks(clock(), time.time()))
        pretence = Pretence(told, lambda: session.context().thread if session.serving else 0)
        caller = Caller(os.getuid(), os.getgid())
        kept = kept_in(settings.cache.place / "metadata", keys, agent_key, remote.path)
        keeper = MetadataKeeper(
            kept if settings.cache.max_size_gb else None,
            known,
            agent,
            remote.path,
            caller,
            verification=BulkVerification(known, os.urandom),
        )
        follower = FeedFollower(
            agent,
            known,
            remote.path,
            caller,
            clock=clock,
            subscribe=lambda topic: subscriber.follow(topic),  # noqa: PLW0108 - it is made below, and hears by this one
            told=echo.told,
            lost=belief.lost,
            followed=keeper.followed,
        )
        subscriber = open_subscriber(keys, relay_key, settings.relay, settings.network, follower.frame)
        stack.callback(subscriber.stop)
        stack.callback(follower.stop)
        stack.callback(keeper.stop)

        def ready(kernel: KernelCache) -> None:
            belief.begin(kernel)
            if settings.mount.wake_watchers:
                echo.begin(stage_of(kernel, pretence, remote.path, clock))
            keeper.start()
            subscriber.start()
            follower.start()

        options = MountOptions(
            agent=remote.agent,
            remote_path=remote.path,
            identity=settings.mount.identity,
            symlinks=settings.mount.symlinks,
            allow_other=settings.mount.allow_other,
            attribute_timeout=settings.mount.attribute_seconds,
        )
        try:
            mount(pretence, str(local), options, session=session, answers=belief, ready=ready)
        except OperationFailed as failure:
            raise LinkError(_explained(remote, settings, failure, requester.trouble)) from failure


def _kept(
    settings: ClientSettings, keys: OwnKeys, agent_key: bytes, path: RelativePath, stack: contextlib.ExitStack
) -> tuple[StoredContents | None, QuietFiles | None]:
    """Contents that are kept on disk and which files may be opened here, as the settings have it."""
    contents = open_contents(settings.cache, keys, agent_key)
    if contents is None:
        return None, None
    stack.callback(contents.close)
    if settings.cache.open == "ask":
        return contents, None
    quiet = QuietFiles()
    file = opens_kept_in(settings.cache.place / "opens", keys, agent_key, path, settings.mount.identity)
    opens = KeptOpens(file, quiet)
    opens.load()
    stack.callback(opens.save)
    return contents, quiet


def _explained(remote: Remote, settings: ClientSettings, failure: OperationFailed, trouble: str) -> str:
    what = f"{remote.agent}:{display(remote.path)} cannot be mounted by {settings.id}"
    if failure.code == "ETIMEDOUT":
        why = trouble or f"neither the relay at {settings.relay.requests} nor the agent has answered"
        return f"{what}: {why}"
    return f"{what}: {failure.message or failure.code}"
