"""The embedded stack: a real Kafka-protocol broker, Redis and Triton from Python packages, on loopback.

`stack.running_stack` starts and stops them; nothing here talks to them beyond asking whether they are ready. The only
room that starts processes.
"""
