"""From settled windows to alerts, and from there to Kafka, Redis pub/sub and webhooks: each alert once."""
