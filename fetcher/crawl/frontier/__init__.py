"""The frontier of a crawl in Redis: what is queued, leased, seen and done, and how it stands.

All keys of a crawl share the hash tag ``{PREFIX:crawl:NAME}``, so that a Cluster keeps them in one
slot and every step is one script:

=========================  ======  ================================================================
``:meta``                  hash    options, state, revision, when it began, whether sources are read
``:hosts``                 zset    host -> when it is next due (ms), of hosts that may be asked
``:h``                     hash    host -> its record, of hosts that are open: see `scripts`
``:q:DEPTH:HOST``          list    items of an open host, in the order of their arrival
``:b:DEPTH``               list    the backlog: ``HOST\\nITEM`` of hosts that are not open
``:leases:WORKER``         hash    lease -> ``DEPTH\\nHOST\\nITEM``, of what WORKER has taken
``:workers``               zset    worker -> when its leases run out (ms)
``:batches``               hash    worker -> the last batch of outcomes that was applied
``:seen:N`` ``:done:N``    set     63-bit hashes of URLs, in buckets that are kept below 512
``:parts``                 hash    part of an output -> its mark
``:counts`` ``:tally``     hash    numbers, of the crawl and of its pages
``:budget``                hash    host -> pages that it has given, if there is a limit
``:down``                  hash    host -> when it was given up (s)
``:delays``                hash    host -> seconds that its robots.txt asks for
``:scopes``                set     what sources, and where they redirect to, put in scope
``:robots``                hash    host -> digest and text of its robots.txt, for the audit
``:lives`` ``:skips``      hash    id of a URL -> what became of it, and why
``:seeder``                string  the worker that reads the sources
=========================  ======  ================================================================

Beside them ``PREFIX:crawls`` is the set of their names.
"""
