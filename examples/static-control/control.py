#!/usr/bin/env python3
"""A control process for Outrigger's data plane that needs no Outrigger and no library: it pushes a static table.

    control.py SOCKET APP-ID MESH-PORT [APP-PORT] [NAME=IP:PORT[,IP:PORT]…]

Data planes connect to SOCKET (`outrigger dataplane --control-socket SOCKET …`), get one snapshot, and every change after it:
a line `NAME=IP:PORT[,IP:PORT]` on standard input adds or replaces a name, `NAME=` takes it out. The messages are those of
proto/schema/control.proto, encoded by hand so that the whole exchange can be seen here. All names are in namespace "default";
there is no mTLS.
"""

import os
import selectors
import socket
import sys

NAMESPACE = "default"


# --- protobuf, as much of it as is needed -----------------------------------------------------------------------------

def varint(number):
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes(out + bytes([number]))


def field(number, value):
    """One field: an int as varint, text or an encoded message with its length."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    data = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(data)) + data


def read_varint(data, at):
    number = shift = 0
    while True:
        if at >= len(data):
            raise IndexError
        number |= (data[at] & 0x7F) << shift
        shift, at = shift + 7, at + 1
        if not data[at - 1] & 0x80:
            return number, at


def fields(data):
    """All fields of a message: {number: [value, …]}."""
    found, at = {}, 0
    while at < len(data):
        key, at = read_varint(data, at)
        if key & 7 == 0:
            value, at = read_varint(data, at)
        elif key & 7 == 2:
            length, at = read_varint(data, at)
            value, at = data[at:at + length], at + length
        else:
            width = {1: 8, 5: 4}[key & 7]
            value, at = data[at:at + width], at + width
        found.setdefault(key >> 3, []).append(value)
    return found


# --- the messages ---------------------------------------------------------------------------------------------------------

def app_ref(name):
    return field(1, name) + field(2, NAMESPACE)


def route(name, addresses):
    """A Route: the name, its endpoints, or what was tried."""
    message = field(1, app_ref(name))
    for address in addresses:
        message += field(2, field(1, address))
    if not addresses:
        message += field(3, field(1, "static") + field(2, "not in the table"))
    return message


def snapshot(version, base, parts):
    """FromControl.snapshot: protocol 1, a version, and the version it is a change to; 0 is a whole picture."""
    head = field(1, 1) + field(2, version) + (field(3, base) if base else b"")
    return field(1, head + parts)


def whole(version, settings, table):
    workload = field(1, settings["app"]) + field(2, NAMESPACE) + field(6, settings["mesh_port"])
    parts = field(5, workload)
    if settings["app_port"]:
        channel = field(1, "127.0.0.1") + field(2, settings["app_port"])
        parts += field(6, field(1, channel))
    for name, addresses in table.items():
        parts += field(11, route(name, addresses))
    return snapshot(version, 0, parts)


# --- one data plane --------------------------------------------------------------------------------------------------------

class DataPlane:
    def __init__(self, stream, settings, table):
        self.stream, self.settings, self.table = stream, settings, table
        self.received, self.version = b"", 0

    def say(self, message):
        self.stream.sendall(varint(len(message)) + message)

    def readable(self):
        """Takes what arrived; False at the end."""
        data = self.stream.recv(65536)
        self.received += data
        while True:
            try:
                length, start = read_varint(self.received, 0)
            except IndexError:
                break
            if len(self.received) < start + length:
                break
            message, self.received = self.received[start:start + length], self.received[start + length:]
            self.message(fields(message))
        return bool(data)

    def message(self, message):
        if 1 in message:  # Hello: number on above what it serves already
            hello = fields(message[1][0])
            self.version = hello.get(9, [0])[0] + 1
            print("data plane", hello.get(4, [0])[0], "is connected", flush=True)
            self.say(whole(self.version, self.settings, self.table))
        elif 2 in message:  # Ack
            print("snapshot", fields(message[2][0])[1][0], "is in force", flush=True)
        elif 3 in message:  # Nack
            nack = fields(message[3][0])
            print("snapshot refused:", *(reason.decode() for reason in nack.get(2, [])), flush=True)
        elif 4 in message:  # Resolve
            name = fields(fields(message[4][0])[1][0])[1][0].decode()
            self.say(field(2, field(1, route(name, self.table.get(name, [])))))
        elif 6 in message:  # Draining
            print("data plane is draining", flush=True)

    def changed(self, name):
        """A delta with one route, or without it."""
        if not self.version:
            return
        base, self.version = self.version, self.version + 1
        there = field(11, route(name, self.table[name])) if name in self.table else field(12, app_ref(name))
        self.say(snapshot(self.version, base, there))


# --- the process -----------------------------------------------------------------------------------------------------------

def entry(text):
    name, _, addresses = text.strip().partition("=")
    return name, [address for address in addresses.split(",") if address]


def main():
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    path, app, mesh_port, *rest = sys.argv[1:]
    app_port = int(rest.pop(0)) if rest and rest[0].isdigit() else 0
    settings = {"app": app, "mesh_port": int(mesh_port), "app_port": app_port}
    table = {name: addresses for name, addresses in map(entry, rest) if addresses}

    if os.path.exists(path):
        os.unlink(path)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    os.chmod(path, 0o600)
    listener.listen()
    ready, planes = selectors.SelectSelector(), {}  # unlike epoll it takes /dev/null and files as standard input
    ready.register(listener, selectors.EVENT_READ)
    ready.register(sys.stdin, selectors.EVENT_READ)
    print("listening on", path, flush=True)
    while True:
        for key, _ in ready.select():
            if key.fileobj is listener:
                stream, _ = listener.accept()
                planes[stream] = DataPlane(stream, settings, table)
                ready.register(stream, selectors.EVENT_READ)
            elif key.fileobj is sys.stdin:
                line = sys.stdin.readline()
                if not line:
                    ready.unregister(sys.stdin)
                    continue
                name, addresses = entry(line)
                table.update({name: addresses}) if addresses else table.pop(name, None)
                for plane in planes.values():
                    plane.changed(name)
            elif not planes[key.fileobj].readable():
                ready.unregister(key.fileobj)
                planes.pop(key.fileobj).stream.close()


if __name__ == "__main__":
    main()
