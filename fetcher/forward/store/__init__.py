"""The forward proxy in Redis: its keys and its Lua. Nothing here decides who may what.

All its keys stand here. KEY is the name of a caller's key, which may be empty:

=====================================  ====  ====================================================
``{PREFIX:forward}:exit:RECORD``       hash  the exit of one session: ``proxy`` as the pool's sets
                                             spell it (a secret, if it has a password), ``moves``,
                                             ``failures`` in a row, ``works`` (it was reached once),
                                             ``lasts`` (it ends at its time, however it is used)
``{PREFIX:forward}:exits``             zset  RECORD -> when it was asked for last, in ms
``{PREFIX:forward}:connections``       hash  WORKER -> when it wrote this, and its open connections
                                             by KEY
``{PREFIX:forward}:spent:DAY``         hash  ``requests:KEY``, ``bytes:KEY``: of this day, by all
=====================================  ====  ====================================================

and two kinds of channels, on which nothing stays:

``{PREFIX:forward}:roster``            who asks all workers for their tunnels
``{PREFIX:forward}:roster:WORKER``     the answers for one, and who wants a tunnel of his closed

RECORD is ``session:ID:COUNTRY:KEY`` or ``target:[DOMAIN]:COUNTRY:KEY``. The braces are a hash tag:
on a Cluster all of it lies in one slot. Everything leaves by itself.
"""
