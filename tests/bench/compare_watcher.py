"""A watcher for the comparison: receives all changes of one topic at one node, and drops them.

python -m tests.bench.compare_watcher tcp://127.0.0.1:7412 kv/
"""

import sys

import zmq


def main():
    """Receive until a signal ends the process."""
    endpoint, topic = sys.argv[1:]
    socket = zmq.Context.instance().socket(zmq.SUB)
    socket.setsockopt(zmq.SUBSCRIBE, topic.encode())
    socket.connect(endpoint)
    while True:
        socket.recv_multipart()


if __name__ == "__main__":
    main()
