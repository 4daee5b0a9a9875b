"""The app that calls: plain Python, no SDK, no packages."""

import os
import sys
import urllib.error
import urllib.request

port = os.environ.get("DAPR_HTTP_PORT", "3500")
url = f"http://127.0.0.1:{port}/v1.0/invoke/greeter/method/hello"

request = urllib.request.Request(url, data="Python".encode(), method="POST")
try:
    with urllib.request.urlopen(request, timeout=10) as reply:
        print("caller:", reply.status, reply.read().decode())
except urllib.error.HTTPError as error:
    sys.exit(f"caller: {error.code} {error.read().decode()}")
except OSError as error:
    sys.exit(f"caller: no sidecar on port {port}: {error}")
