"""Users of Python's aiohttp: each line of output is one request and its answer."""

import asyncio
import json
import os
import sys
import time

import aiohttp

url, stop, keepers, newcomers = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])


async def browse(user, keeps):
    # Without `unsafe`, a jar takes no cookie from a host that is an address.
    jar = aiohttp.CookieJar(unsafe=True) if keeps else aiohttp.DummyCookieJar()
    connector = aiohttp.TCPConnector(limit=1)
    async with aiohttp.ClientSession(cookie_jar=jar, connector=connector) as session:
        while not os.path.exists(stop):
            visit = {"user": user, "keeps": keeps, "sent": time.time() * 1000}
            try:
                async with session.get(url, timeout=aiohttp.ClientTimeout(total=10)) as response:
                    response.raise_for_status()
                    visit["answer"] = await response.json()
            except (aiohttp.ClientError, asyncio.TimeoutError, ValueError) as error:
                visit["error"] = repr(error)
            visit["received"] = time.time() * 1000
            print(json.dumps(visit), flush=True)
            await asyncio.sleep(0.005)


async def main():
    await asyncio.gather(*(browse(user, user < keepers) for user in range(keepers + newcomers)))


asyncio.run(main())
