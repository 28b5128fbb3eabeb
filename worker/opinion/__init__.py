"""Windows, the Redis store and its Lua, queries: what the posts add up to. The only importer of redis."""
