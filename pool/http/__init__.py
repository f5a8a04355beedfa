"""The pool's routes: ProxyPool's, proxy_pool's and our own."""
