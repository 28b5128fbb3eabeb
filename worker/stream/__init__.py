"""The two stages on Kafka: enrich (posts to outcomes) and aggregate (outcomes to Redis)."""
