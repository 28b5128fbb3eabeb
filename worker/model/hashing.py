"""The hashes of the wide part: a token has the row `(code * SINGLE + 1) % PRIME % rows`, a pair that of both codes.

The network and the exported graph compute them with the same whole numbers, below 2^63 for codes below 2^31.
"""

PRIME = 2**31 - 1
SINGLE = 65_537
FIRST, SECOND, PAIR = 1_000_003, 7_919, 17
"""A pair's row: `(code * FIRST + code after it * SECOND + PAIR) % PRIME % rows`."""
