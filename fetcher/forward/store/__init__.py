"""The forward proxy in Redis: its keys and its Lua. Nothing here decides who may what.

All its keys stand here. KEY is the name of a caller's key, which may be empty:

=====================================  ====  ====================================================
``{PREFIX:forward}:connections``       hash  WORKER -> when it wrote this, and its open connections
                                             by KEY
``{PREFIX:forward}:spent:DAY``         hash  ``requests:KEY``, ``bytes:KEY``: of this day, by all
=====================================  ====  ====================================================

and two kinds of channels, on which nothing stays:

``{PREFIX:forward}:roster``            who asks all workers for their tunnels
``{PREFIX:forward}:roster:WORKER``     the answers for one, and who wants a tunnel of his closed

The braces are a hash tag: on a Cluster all of it lies in one slot. Everything leaves by itself.
"""
