"""Sources of proxies as data: what is declared, and how their bodies are read."""
