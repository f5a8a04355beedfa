"""Where proxies come from: lists that are fetched, plug-ins, and the operator's own."""
