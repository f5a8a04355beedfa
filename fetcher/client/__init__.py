"""What carries out one request: libcurl, files, ftp. Knows no task, no route and no queue."""
