"""Users of Python's requests: each line of output is one request and its answer."""

import json
import os
import sys
import threading
import time

import requests
from requests.adapters import HTTPAdapter

url, stop, keepers, newcomers = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
printing = threading.Lock()


def browse(user, keeps):
    session = requests.Session()
    session.trust_env = False
    # What goes wrong is to be seen, not to be tried again.
    session.mount("http://", HTTPAdapter(pool_maxsize=1, max_retries=0))
    while not os.path.exists(stop):
        if not keeps:
            session.cookies.clear()
        visit = {"user": user, "keeps": keeps, "sent": time.time() * 1000}
        try:
            response = session.get(url, timeout=10)
            response.raise_for_status()
            visit["answer"] = response.json()
        except (requests.RequestException, ValueError) as error:
            visit["error"] = repr(error)
        visit["received"] = time.time() * 1000
        with printing:
            print(json.dumps(visit), flush=True)
        time.sleep(0.005)


threads = [threading.Thread(target=browse, args=(user, user < keepers)) for user in range(keepers + newcomers)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
