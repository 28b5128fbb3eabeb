"""Low-volume Kafka clients: produce from files, tail, dead letters, lag, topics. The only importer of kafka-python."""
