// Go's net/http client as a peer: go_client URL COUNT AT_ONCE prints a Sample as JSON.
//
// COUNT distinct pages, AT_ONCE goroutines; status, headers and whole body are looked at.
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

const warmUp = 500

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func fetch(client *http.Client, url string) {
	response, err := client.Get(url)
	check(err)
	body, err := io.ReadAll(response.Body)
	check(err)
	check(response.Body.Close())
	if response.StatusCode != 200 || len(response.Header) == 0 || len(body) != 1000 {
		check(fmt.Errorf("%d with %d bytes", response.StatusCode, len(body)))
	}
}

func fetchAll(client *http.Client, url string, count int64, atOnce int) {
	var taken int64
	var all sync.WaitGroup
	for i := 0; i < atOnce; i++ {
		all.Add(1)
		go func() {
			defer all.Done()
			for n := atomic.AddInt64(&taken, 1); n <= count; n = atomic.AddInt64(&taken, 1) {
				fetch(client, url+"/page?n="+strconv.FormatInt(n-1, 10))
			}
		}()
	}
	all.Wait()
}

func usage() (cpu float64, peak int64) {
	var used syscall.Rusage
	check(syscall.Getrusage(syscall.RUSAGE_SELF, &used))
	seconds := func(t syscall.Timeval) float64 { return float64(t.Sec) + float64(t.Usec)/1e6 }
	return seconds(used.Utime) + seconds(used.Stime), used.Maxrss * 1024
}

func main() {
	count, err := strconv.ParseInt(os.Args[2], 10, 64)
	check(err)
	atOnce, err := strconv.Atoi(os.Args[3])
	check(err)
	client := &http.Client{Transport: &http.Transport{
		MaxIdleConns: atOnce, MaxIdleConnsPerHost: atOnce, MaxConnsPerHost: atOnce,
	}}
	fetchAll(client, os.Args[1], warmUp, atOnce)
	before, _ := usage()
	began := time.Now()
	fetchAll(client, os.Args[1], count, atOnce)
	seconds := time.Since(began).Seconds()
	after, peak := usage()
	check(json.NewEncoder(os.Stdout).Encode(map[string]any{
		"done": count, "seconds": seconds, "cpu": after - before, "rss": peak,
	}))
}
