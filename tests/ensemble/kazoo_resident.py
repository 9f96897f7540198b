"""A kazoo client that holds a lock through an ensemble's troubles: kazoo_resident.py HOSTS.

Reads words on stdin and answers on stdout: `check` -> `checked`, `finish` -> `finished`; anything else it prints is a
failure. One client holds the lock, another one waits for it; both keep an ephemeral node and a DataWatch.
"""
import logging
import sys
import threading
import time

from kazoo.client import KazooClient, KazooState

LIMIT = 40
RETRY = {"max_tries": -1, "max_delay": 1}
logging.basicConfig(level=logging.ERROR, stream=sys.stderr)


def say(word):
    print(word, flush=True)


def wait(condition, what):
    end = time.time() + LIMIT
    while not condition():
        if time.time() > end:
            say(f"no {what} within {LIMIT} s")
            sys.exit(1)
        time.sleep(0.01)


class Client:
    def __init__(self, name):
        self.zk = KazooClient(hosts=sys.argv[1], timeout=30, connection_retry=RETRY, command_retry=RETRY)
        self.lost = False
        self.seen = None
        self.zk.add_listener(self.on_state)
        self.zk.start(timeout=60)
        self.session = self.zk.client_id[0]
        self.mine = f"/kazoo/{name}"
        self.zk.ensure_path("/kazoo/bell")
        self.zk.create(self.mine, ephemeral=True)
        self.lock = self.zk.Lock("/kazoo/lock", name)
        self.zk.DataWatch("/kazoo/bell", self.on_bell)

    def on_state(self, state):
        self.lost |= state == KazooState.LOST

    def on_bell(self, data, stat):
        self.seen = data

    def retry(self, call, *args):
        return self.zk.retry(call, *args)

    def check(self, text):
        wait(lambda: self.seen == text, f"watch telling {text}")
        stat = self.retry(self.zk.exists, self.mine)
        if self.lost or self.zk.client_id[0] != self.session or not stat or stat.ephemeralOwner != self.session:
            say(f"the session of {self.mine} was lost")
            sys.exit(1)


holder, waiter = Client("holder"), Client("waiter")
holder.lock.acquire(timeout=LIMIT)
threading.Thread(target=waiter.lock.acquire, daemon=True).start()
wait(lambda: len(holder.retry(holder.lock.contenders)) == 2, "second contender")
say("ready")
rung = 0
for word in sys.stdin:
    if word.strip() == "finish":
        break
    rung += 1
    text = str(rung).encode()
    holder.retry(holder.zk.set, "/kazoo/bell", text)
    holder.check(text)
    waiter.check(text)
    names = holder.retry(holder.lock.contenders)
    if names != ["holder", "waiter"] or waiter.lock.is_acquired:
        say(f"the lock is held by {names}")
        sys.exit(1)
    say("checked")
holder.retry(holder.lock.release)
wait(lambda: waiter.lock.is_acquired, "lock handed over")
for client in (holder, waiter):
    client.zk.stop()
say("finished")
