"""What outlives the process: the journal, the ledger, blobs and snapshots, all under one home.

    HOME/lock        held by the one writer
    HOME/ingest.db   the journal: every entry, acknowledged only once it is durable
    HOME/state.db    the ledger: steps, cursor, provenance of memory, snapshots, events, audit
    HOME/blobs/      tensors of snapshots, named by the hash of their content

Learning is a fold over the journal: the ledger holds nothing that a replay could not derive again, so
it may lag behind the journal and is caught up at the next start. Torch is imported only where a blob
becomes a tensor; every byte is written through SQLite or through `disk`.
"""
