"""Mitogen's side of `cargo xtask bench`: the same sub-commands as bench-ours, results as a JSON array.

Times are seconds. A connection is timed from the request to the result of its first call; the router, its threads and the
modules are up already, and one connection that is not counted goes first.
"""

import collections
import json
import os
import sys
import tempfile
import threading
import time

import mitogen
import mitogen.core
import mitogen.master
import mitogen.service
import mitogen.utils

PYTHON = "/usr/bin/python3"

# Seconds of pings beside one stream, as in flow.rs.
PINGING = 3.0

# One message of a stream; its queues have no bound, so how much waits in them is chosen here.
BULK = 16 << 20


def ssh(router, config, alias):
    return router.ssh(hostname=alias, ssh_args=["-F", config], python_path=PYTHON)


def timed_connections(count, connect):
    samples = []
    for number in range(count + 1):
        begun = time.perf_counter()
        context = connect()
        context.call(os.getpid)
        if number > 0:
            samples.append(time.perf_counter() - begun)
        context.shutdown(wait=True)
    return samples


def median_call(count, context):
    samples = []
    for number in range(count + count // 10):
        begun = time.perf_counter()
        context.call(os.getpid)
        if number >= count // 10:
            samples.append(time.perf_counter() - begun)
    samples.sort()
    return [samples[len(samples) // 2]]


def connect_local(router, count):
    return timed_connections(int(count), lambda: router.local(python_path=PYTHON))


def connect_ssh(router, config, alias, count):
    return timed_connections(int(count), lambda: ssh(router, config, alias))


def sudo(router, config, alias, count):
    below = ssh(router, config, alias)
    below.call(os.getpid)
    return timed_connections(int(count), lambda: router.sudo(via=below, python_path=PYTHON))


def call_local(router, count):
    return median_call(int(count), router.local(python_path=PYTHON))


def call_ssh(router, config, alias, count):
    return median_call(int(count), ssh(router, config, alias))


def memory(router):
    """Resident and proportional size of an idle child, in bytes."""
    pid = router.local(python_path=PYTHON).call(os.getpid)
    sizes = {}
    with open("/proc/%d/smaps_rollup" % pid) as rollup:
        for line in rollup:
            words = line.split()
            if words[0] in ("Rss:", "Pss:"):
                sizes[words[0]] = int(words[1]) * 1024
    return [sizes["Rss:"], sizes["Pss:"]]


def sent_bytes(router, counting_ssh, log):
    """Bytes of the remote command, to its stdin and back from it, until the first call has returned."""
    os.environ["COUNTING_SSH_LOG"] = log
    context = router.ssh(hostname="counted", ssh_path=counting_ssh, python_path=PYTHON)
    context.call(os.getpid)
    with open(log) as numbers:
        return [int(word) for word in numbers.read().split()]


def chain(router, hops):
    """The last of so many local contexts, each below the one before it."""
    context = None
    for _ in range(hops):
        context = router.local(via=context, python_path=PYTHON)
    context.call(os.getpid)
    return context


def pings(context):
    samples = []
    until = time.perf_counter() + PINGING
    while time.perf_counter() < until:
        begun = time.perf_counter()
        context.call(os.getpid)
        samples.append(time.perf_counter() - begun)
    samples.sort()
    return [samples[len(samples) // 2], samples[len(samples) * 99 // 100]]


def bulk(size):
    return mitogen.core.Blob(size * b"x")


def ping_busy(router):
    """Median and 99th percentile of an empty call over three hops: alone, beside messages down, beside messages up.

    A context runs one call at a time, so the messages go to a child of the one that is called: over the same hops. Several
    are on their way at any time, for packing one takes longer than sending it.
    """
    context = chain(router, 3)
    below = router.local(via=context, python_path=PYTHON)
    below.call(bulk, 1)
    figures = pings(context)
    full = bulk(BULK)
    for message in ((len, full), (bulk, BULK)):
        over = threading.Event()

        def run():
            under_way = collections.deque()
            while not over.is_set():
                under_way.append(below.call_async(*message))
                if len(under_way) > 4:
                    under_way.popleft().get()
            for late in under_way:
                late.get()

        thread = threading.Thread(target=run)
        thread.start()
        time.sleep(1.0)
        figures += pings(context)
        over.set()
        thread.join()
    return figures


def pipeline(router, count, window):
    """Empty calls per second: so many are started, then all waited for, and again."""
    context = router.local(python_path=PYTHON)
    context.call(os.getpid)
    count, window = int(count), int(window)
    begun = time.perf_counter()
    for _ in range(count // window):
        for reply in [context.call_async(os.getpid) for _ in range(window)]:
            reply.get()
    return [count / (time.perf_counter() - begun)]


def argument(router, size, rounds):
    """Bytes per second of an argument, as in Mitogen's own bench of large messages."""
    context = router.local(python_path=PYTHON)
    size = int(size) << 20
    full = bulk(size)
    context.call(len, full)
    rates = []
    for _ in range(int(rounds)):
        begun = time.perf_counter()
        if context.call(len, full) != size:
            raise ValueError("the argument did not arrive")
        rates.append(size / (time.perf_counter() - begun))
    return rates


def ten_hops(router, count):
    return median_call(int(count), chain(router, 10))


def fetch(context, path):
    with open(os.devnull, "wb") as out:
        mitogen.service.FileService.get(context, path, out)


def relay(router, hops, size):
    """Bytes per second of a file that the file service sends down so many hops."""
    size = int(size) << 20
    service = mitogen.service.FileService(router)
    pool = mitogen.service.Pool(router, [service])
    try:
        with tempfile.NamedTemporaryFile() as source:
            source.write(size * b"x")
            source.flush()
            service.register(source.name)
            context = chain(router, int(hops))
            begun = time.perf_counter()
            context.call(fetch, router.myself(), source.name)
            return [size / (time.perf_counter() - begun)]
    finally:
        pool.stop()


COMMANDS = {
    "connect-local": connect_local,
    "connect-ssh": connect_ssh,
    "sudo": sudo,
    "call-local": call_local,
    "call-ssh": call_ssh,
    "memory": memory,
    "bytes": sent_bytes,
    "pipeline": pipeline,
    "argument": argument,
    "ten-hops": ten_hops,
    "ping-busy": ping_busy,
    "relay": relay,
}


def main(router):
    name, arguments = sys.argv[1], sys.argv[2:]
    print(json.dumps(COMMANDS[name](router, *arguments)))


if __name__ == "__main__":
    mitogen.utils.log_to_file(level="ERROR")
    mitogen.utils.run_with_router(main)
