"""Sessions: one exit for all requests of a name, whichever entrance and worker they come to.

Its keys in Redis stand here. KEY is the name of a caller's key, which may be empty:

=====================================  ====  ====================================================
``{PREFIX:sessions}:exit:RECORD``      hash  the exit of one session: ``proxy`` as the pool's sets
                                             spell it (a secret, if it has a password), ``moves``,
                                             ``failures`` in a row, ``works`` (it was reached once),
                                             ``lasts`` (it ends at its time, however it is used)
``{PREFIX:sessions}:exits``            zset  RECORD -> when it was asked for last, in ms
=====================================  ====  ====================================================

RECORD is ``session:ID:COUNTRY:KEY`` or ``target:[DOMAIN]:COUNTRY:KEY``. The braces are a hash tag:
on a Cluster all of it lies in one slot. Everything leaves by itself.
"""
