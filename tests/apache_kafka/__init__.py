"""Apache Kafka for tests: what the embedded broker cannot do (transactions, records that survive its end)."""
