"""Mitogen's side of `cargo xtask bench`: the same sub-commands as bench-ours.rs, results as a JSON array.

Times are seconds. A connection is timed from the request to the result of its first call; the router, its threads and the
modules are up already, and one connection that is not counted goes first.
"""

import json
import os
import sys
import time

import mitogen
import mitogen.core
import mitogen.master
import mitogen.utils

PYTHON = "/usr/bin/python3"


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


COMMANDS = {
    "connect-local": connect_local,
    "connect-ssh": connect_ssh,
    "sudo": sudo,
    "call-local": call_local,
    "call-ssh": call_ssh,
    "memory": memory,
    "bytes": sent_bytes,
}


def main(router):
    name, arguments = sys.argv[1], sys.argv[2:]
    print(json.dumps(COMMANDS[name](router, *arguments)))


if __name__ == "__main__":
    mitogen.utils.log_to_file(level="ERROR")
    mitogen.utils.run_with_router(main)
