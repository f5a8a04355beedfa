"""The proxies of `pool` routes: who is taken, what is under way, what traffic shows of them."""
