"""The fetcher's HTTP entrances, and what every handler of ours shares."""
