#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A client that loads an NBD server with parallel requests of every kind and checks every byte.

    stress.py run --socket S --shadow F [--seconds N] [--seed K]
        F is a raw copy of the disk and is kept equal to it. Status 1 and the first wrong byte if the
        disk ever says anything else.
    stress.py crash --socket S --shadow F --pid P --state OUT [--seconds N] [--seed K]
        Kills the server (process P) in the middle of it and notes what each sector may hold now:
        what the last acknowledged flush covers, or anything that was written after it.
    stress.py judge --image RAW --shadow F --state IN
        Holds a raw copy of the disk, made after the crash, against that; it becomes the shadow.

Needs Debian's python3-libnbd, so /usr/bin/python3. stress_test.cc and kill_test.cc run this; for a long
run of all that stress_test.cc has, ten minutes in sum:

    bazel test //tests/nbd:stress_test --test_env=GRAINMILL_STRESS_SECONDS=600 --test_timeout=3600

A disk of your own, on a server of your own:

    nbdkit -f -U /tmp/s nbdkit-grainmill-plugin.so disk.vmdk
    nbdcopy 'nbd+unix:///?socket=/tmp/s' shadow.raw
    tests/nbd/stress.py run --socket /tmp/s --shadow shadow.raw --seconds 600
"""
import argparse
import collections
import json
import mmap
import os
import pickle
import random
import select
import signal
import sys
import time

import nbd

SECTOR = 512
POOL_BYTES = 8 << 20  # All data is cut from one pool of random bytes: cheap to make, dear to confuse.
LARGEST = 2 << 20
ZERO = -1  # In place of a position in the pool.


class Wrong(Exception):
    """The disk does not hold what it must."""


def make_pool(seed):
    return random.Random(seed ^ 0x5EED).randbytes(POOL_BYTES)


def differ(what, begin, got, want):
    at = next(i for i, (a, b) in enumerate(zip(got, want)) if a != b)
    alike = sum(a == b for a, b in zip(got, want))
    raise Wrong(
        f"{what} [{begin:#x}, {begin + len(want):#x}): first wrong byte at {begin + at:#x} (grain offset "
        f"{(begin + at) % 65536:#x}): is {got[at:at + 16].hex()}, must be {want[at:at + 16].hex()}; "
        f"{alike} of {len(want)} bytes are right, {got.count(0)} are zero")


class Request:
    """One request under way. No other one may touch its range, unless both only read."""

    def __init__(self, kind, begin, end, changes):
        self.kind, self.begin, self.end, self.changes = kind, begin, end, changes
        self.source = ZERO
        self.fua = False
        self.number = 0
        self.covers = ()  # of a flush: the writes that it makes durable
        self.extents = []


class Load:
    """Makes requests on several connections at once; subclasses say what answers mean."""

    KINDS = {}  # kind: weight

    def __init__(self, args):
        self.random = random.Random(args.seed)
        self.pool = make_pool(args.seed)
        self.under_way = []
        self.done = collections.Counter()
        self.bytes = 0
        self.number = 0
        self.in_flight = args.in_flight
        self.fua_share = 0.02
        self.connections = []
        self.finished = []
        for _ in range(args.connections):
            handle = nbd.NBD()
            handle.add_meta_context("base:allocation")
            handle.connect_unix(args.socket)
            self.connections.append(handle)
        self.size = self.connections[0].get_size()
        assert all(handle.can_multi_conn() for handle in self.connections)
        self.hot = 0
        self.burst = 0

    # What to ask for.

    def some_range(self):
        choose = self.random
        unit = choose.choice((1, SECTOR, SECTOR, 4096, 4096, 65536))
        most = choose.choice((4 * SECTOR, 16 << 10, 16 << 10, 128 << 10, 128 << 10, LARGEST))
        begin = choose.randrange(self.size)
        # Half of it comes in bursts of small ones in one place, so that requests meet in new grains.
        self.burst -= 1
        if self.burst < 0:
            self.burst, self.hot = choose.randint(0, 24), begin
        elif self.burst < 12:
            begin, most = self.hot + choose.randrange(64 << 10), 4096
        length = max(unit, choose.randint(1, most) // unit * unit)
        begin = begin % self.size // unit * unit
        return begin, min(begin + length, self.size)

    def is_free(self, begin, end, changes):
        return all(end <= other.begin or other.end <= begin or not (changes or other.changes)
                   for other in self.under_way)

    def next_request(self):
        kind = self.random.choices(list(self.KINDS), list(self.KINDS.values()))[0]
        if kind == "flush":
            return Request(kind, 0, 0, False)
        changes = kind in ("write", "zero", "trim")
        for _ in range(100):
            begin, end = self.some_range()
            if self.is_free(begin, end, changes):
                return Request(kind, begin, end, changes)
        return None

    def send(self, handle, request):
        self.under_way.append(request)
        self.number += 1
        request.number = self.number
        request.fua = request.changes and self.random.random() < self.fua_share
        flags = nbd.CMD_FLAG_FUA if request.fua else 0
        length = request.end - request.begin

        def completed(error):
            self.finished.append((handle, request, error.value))  # an exception would go nowhere
            return 1

        if request.kind == "write":
            request.source = self.random.randrange(POOL_BYTES - length)
            data = self.pool[request.source:request.source + length]
            handle.aio_pwrite(nbd.Buffer.from_bytearray(bytearray(data)), request.begin, completed, flags)
        elif request.kind == "zero":
            if self.random.random() < 0.5:
                flags |= nbd.CMD_FLAG_NO_HOLE
            handle.aio_zero(length, request.begin, completed, flags)
        elif request.kind == "trim":
            handle.aio_trim(length, request.begin, completed, flags)
        elif request.kind == "flush":
            handle.aio_flush(completed)
        elif request.kind == "status":
            def extent(_context, _offset, entries, _error):
                request.extents = entries
                return 0
            handle.aio_block_status(length, request.begin, extent, completed)
        else:
            self.read(handle, request, completed)

    def read(self, handle, request, completed):
        request.buffer = nbd.Buffer(request.end - request.begin)
        handle.aio_pread(request.buffer, request.begin, completed)

    # Requests and answers.

    def turn(self):
        """Sends and receives what can be without waiting, or waits for something."""
        poll = select.poll()
        handles = {}
        for handle in self.connections:
            direction = handle.aio_get_direction()
            events = (select.POLLIN if direction & nbd.AIO_DIRECTION_READ else 0)
            events |= (select.POLLOUT if direction & nbd.AIO_DIRECTION_WRITE else 0)
            handles[handle.aio_get_fd()] = handle
            poll.register(handle.aio_get_fd(), events)
        self.finished.clear()
        ready = poll.poll(30_000)
        if not ready:
            raise Wrong("no answer for 30 s: " + ", ".join(r.kind for r in self.under_way))
        for descriptor, event in ready:
            if event & (select.POLLIN | select.POLLHUP | select.POLLERR):
                handles[descriptor].aio_notify_read()
            elif event & select.POLLOUT:
                handles[descriptor].aio_notify_write()
        for handle, request, error in self.finished:
            if error != 0:
                raise Wrong(f"{request.kind} [{request.begin:#x}, {request.end:#x}) failed: {os.strerror(error)}")
            self.done[request.kind] += 1
            self.bytes += request.end - request.begin
            if self.answered(handle, request):
                self.under_way.remove(request)

    def fill(self):
        while len(self.under_way) < self.in_flight:
            request = self.next_request()
            if request is None:
                return
            self.issued(request)
            self.send(self.random.choice(self.connections), request)

    def drain(self):
        while self.under_way:
            self.turn()

    def issued(self, request):
        pass

    def answered(self, handle, request):
        """Whether the request is over; else it goes on with another one on its range."""
        raise NotImplementedError

    def summary(self):
        return json.dumps({"size": self.size, "bytes": self.bytes, **dict(self.done)})


class Stress(Load):
    KINDS = {"read": 30, "write": 40, "zero": 8, "trim": 6, "flush": 2, "status": 4}

    def __init__(self, args):
        super().__init__(args)
        with open(args.shadow, "r+b") as file:
            self.shadow = mmap.mmap(file.fileno(), 0)
        if len(self.shadow) != self.size:
            raise Wrong(f"the disk has {self.size} bytes, its shadow {len(self.shadow)}")

    def answered(self, handle, request):
        begin, end = request.begin, request.end
        if request.kind == "write":
            self.shadow[begin:end] = self.pool[request.source:request.source + end - begin]
        elif request.kind == "zero":
            self.shadow[begin:end] = bytes(end - begin)
        elif request.kind == "status":
            self.check_status(request)
        elif request.kind == "trim":
            request.kind = "read after trim"
            self.send(handle, request)
            self.under_way.remove(request)  # it was put there once more
            return False
        elif request.kind == "read after trim":
            got = bytes(request.buffer.to_bytearray())
            self.check_trimmed(begin, got)
            self.shadow[begin:end] = got
        elif request.kind == "read":
            got = bytes(request.buffer.to_bytearray())
            if got != self.shadow[begin:end]:
                differ("read", begin, got, self.shadow[begin:end])
        return True

    def check_trimmed(self, begin, got):
        want = self.shadow[begin:begin + len(got)]
        if got == want or not any(got):
            return
        at = 0
        while at < len(got):
            end = min(len(got), (begin + at) // SECTOR * SECTOR + SECTOR - begin)
            if got[at:end] != want[at:end] and any(got[at:end]):
                differ("read after trim (zeros are fine too)", begin + at, got[at:end], want[at:end])
            at = end

    def check_status(self, request):
        at = request.begin
        for length, flags in zip(request.extents[::2], request.extents[1::2]):
            end = min(at + length, request.end)
            if flags & nbd.STATE_ZERO and any(self.shadow[at:end]):
                raise Wrong(f"status says zeros for [{at:#x}, {end:#x}), where there is data")
            at = end
        if at == request.begin:
            raise Wrong(f"status says nothing of [{at:#x}, {request.end:#x})")

    def run(self, seconds):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.fill()
            self.turn()
        self.drain()
        for begin in range(0, self.size, LARGEST):
            want = self.shadow[begin:begin + LARGEST]
            got = bytes(self.random.choice(self.connections).pread(len(want), begin))
            if got != want:
                differ("read at the end", begin, got, want)
        self.connections[0].flush()
        self.shadow.flush()
        for handle in self.connections:
            handle.shutdown()


class Crash(Load):
    KINDS = {"read": 5, "write": 40, "zero": 5, "trim": 3, "flush": 4}

    def __init__(self, args):
        super().__init__(args)
        self.versions = collections.defaultdict(list)  # sector: [(number, source)] since the last sure one
        self.sure = {}  # sector: number of the newest write that must have survived
        self.acknowledged = []  # writes since the last flush
        # One kind of promise hides when the other is broken, and both do when they come often.
        flushes, self.fua_share = ((4, 0.02), (0, 0.2), (0.5, 0), (0.1, 0.002))[args.seed % 4]
        self.KINDS = {**self.KINDS, "flush": flushes}

    def some_range(self):
        begin, end = super().some_range()
        begin = begin // SECTOR * SECTOR
        return begin, min(max(end // SECTOR * SECTOR, begin + SECTOR), self.size)

    def send(self, handle, request):
        if request.kind == "flush":
            request.covers, self.acknowledged = self.acknowledged, []
        super().send(handle, request)
        if request.changes:
            for i in range((request.end - request.begin) // SECTOR):
                source = ZERO if request.source == ZERO else request.source + i * SECTOR
                self.versions[request.begin // SECTOR + i].append((request.number, source))

    def answered(self, handle, request):
        if request.kind == "flush":
            for write in request.covers:
                self.make_sure(write)
        elif request.changes:
            if request.fua:
                self.make_sure(request)
            self.acknowledged.append(request)
        return True

    def make_sure(self, write):
        if write.kind == "trim":  # promises nothing
            return
        for sector in range(write.begin // SECTOR, write.end // SECTOR):
            if self.sure.get(sector, 0) < write.number:
                self.sure[sector] = write.number
                self.versions[sector] = [v for v in self.versions[sector] if v[0] >= write.number]

    def run(self, seconds, pid):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.fill()
            self.turn()
        self.fill()
        os.kill(pid, signal.SIGKILL)

    def save(self, path, seed):
        with open(path, "wb") as file:
            pickle.dump((seed, dict(self.versions), set(self.sure)), file)


def judge(args):
    with open(args.state, "rb") as file:
        seed, versions, sure = pickle.load(file)
    pool = make_pool(seed)
    with open(args.image, "rb") as file:
        got = file.read()
    with open(args.shadow, "r+b") as file:
        want = bytearray(file.read())
        for sector, known in versions.items():
            place = slice(sector * SECTOR, sector * SECTOR + SECTOR)
            allowed = [bytes(SECTOR) if source == ZERO else pool[source:source + SECTOR] for _, source in known]
            if sector not in sure:
                allowed.append(bytes(want[place]))
            if got[place] not in allowed:
                differ(f"sector with {len(allowed)} possible contents, {'' if sector in sure else 'not '}"
                       "flushed,", place.start, got[place], allowed[0])
            want[place] = got[place]
        if got != want:
            differ("never written since the start:", 0, got, want)
        file.seek(0)
        file.write(got)
    print(json.dumps({"sectors written": len(versions), "sure": len(sure)}))


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("mode", choices=("run", "crash", "judge"))
    parser.add_argument("--socket")
    parser.add_argument("--shadow", required=True)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--connections", type=int, default=4)
    parser.add_argument("--in-flight", type=int, default=48)
    parser.add_argument("--pid", type=int)
    parser.add_argument("--state")
    parser.add_argument("--image")
    return parser.parse_args()


def main():
    args = parse()
    try:
        if args.mode == "judge":
            judge(args)
            return 0
        load = Stress(args) if args.mode == "run" else Crash(args)
        if args.mode == "run":
            load.run(args.seconds)
        else:
            load.run(args.seconds, args.pid)
            load.save(args.state, args.seed)
        print(load.summary())
        return 0
    except (Wrong, nbd.Error) as error:
        print(f"stress.py: seed {args.seed}: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
