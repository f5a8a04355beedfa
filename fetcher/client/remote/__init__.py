"""Renderers that run elsewhere: Splash, and those that speak pyspider's protocol.

One client for all of them; what is asked and what is answered are decisions.
"""
