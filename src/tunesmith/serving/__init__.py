"""A run over HTTP: the front takes requests, worker processes answer them.

    client ─HTTP→ guard → shape → admission ─socket→ worker: intake → batches → model ─socket→ shape ─HTTP→ client

The front (`server`, `app`, `shapes`) has no model and no torch. It keeps every request until it is answered, so
a worker that dies loses nothing (`team`). A worker (`worker`) holds all runs; each run has a lane of its own
(`lane`, and `writing_lane` for decoders), which makes batches of what waits and answers with the code of
`tunesmith predict`.
"""
