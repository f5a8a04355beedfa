"""The forward proxy: any client's requests and tunnels, each through a proxy of the pool.

It knows of the pool only what `ProxyChooser` says. Nothing here reads or changes what passes
through a tunnel.
"""
