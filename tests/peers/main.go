// SPDX-License-Identifier: GPL-2.0-or-later
//
// Requests of Go's net/http, and questions of its resolver. Started by test_http.py and test_dns.py.
//
//	main http URL TIMES            prints "ANSWER PEER" for each
//	main dns SERVER:PORT NAME TIMES
package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"os"
	"strconv"
)

func die(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func get(client *http.Client, url string) {
	peer := "-"
	trace := &httptrace.ClientTrace{GotConn: func(info httptrace.GotConnInfo) {
		peer = info.Conn.RemoteAddr().String()
	}}
	ctx := httptrace.WithClientTrace(context.Background(), trace)
	request, err := http.NewRequestWithContext(ctx, "GET", url, nil)
	die(err)
	answer, err := client.Do(request)
	die(err)
	body, err := io.ReadAll(answer.Body)
	die(err)
	answer.Body.Close()
	fmt.Println(string(body), peer)
}

func ask(server, name string) {
	peer := "-"
	resolver := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		var dialer net.Dialer
		conn, err := dialer.DialContext(ctx, "udp", server)
		if err == nil {
			peer = conn.RemoteAddr().String()
		}
		return conn, err
	}}
	answers, err := resolver.LookupIP(context.Background(), "ip4", name)
	die(err)
	fmt.Println(answers[0], peer)
}

func main() {
	times, err := strconv.Atoi(os.Args[len(os.Args)-1])
	die(err)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for i := 0; i < times; i++ {
		if os.Args[1] == "dns" {
			ask(os.Args[2], os.Args[3])
		} else {
			get(client, os.Args[2])
		}
	}
}
