"""A site's proxies in the memory of this process, found by what is asked of them."""
