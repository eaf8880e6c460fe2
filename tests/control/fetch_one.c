/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One exchange of net/fetch.h by itself, for tests: fetch_one [OPTION...] URL, several times with
 * --times. Prints one JSON line for each; ends when it is done, all handles closed.
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yyjson.h>

#include "net/fetch.h"

static struct fetch_request request;
static struct fetcher *fetcher;
static struct fetch *fetch;
static uv_loop_t loop;
static uv_timer_t later;
static const char *headers[17];
static const char *wanted; /* a header to show */
static size_t streamed, cancel_after, fail_after, n_headers;
static unsigned long times = 1, cancel_ms;
static bool close_within;

static void begin(void);

static void end(void)
{
	fetcher_close(fetcher);
	uv_close((uv_handle_t *)&later, NULL);
}

static void next(void)
{
	if (--times > 0)
		begin();
	else
		end();
}

static void on_done(void *arg, const struct fetch_result *result)
{
	yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
	yyjson_mut_val *root = yyjson_mut_obj(doc);
	const char *header = wanted ? fetch_header(result->fetch, wanted) : NULL;
	char *text;

	yyjson_mut_doc_set_root(doc, root);
	(void)yyjson_mut_obj_add_str(doc, root, "error",
				     result->error ? strerrorname_np(-result->error) : "");
	(void)yyjson_mut_obj_add_str(doc, root, "text", result->error_text);
	(void)yyjson_mut_obj_add_uint(doc, root, "status", result->status);
	(void)yyjson_mut_obj_add_uint(doc, root, "length", result->length);
	(void)yyjson_mut_obj_add_uint(doc, root, "streamed", streamed);
	(void)yyjson_mut_obj_add_uint(doc, root, "us", result->elapsed_us);
	if (result->length < 1000)
		(void)yyjson_mut_obj_add_str(doc, root, "body", result->body);
	if (header)
		(void)yyjson_mut_obj_add_str(doc, root, "header", header);
	text = yyjson_mut_write(doc, 0, NULL);
	(void)puts(text);
	free(text);
	yyjson_mut_doc_free(doc);
	fetch = NULL;
	next();
}

static int on_data(void *arg, const char *data, size_t length)
{
	streamed += length;
	if (fail_after && streamed >= fail_after)
		return -EBADMSG;
	if (cancel_after && streamed >= cancel_after) {
		cancel_after = 0;
		(void)printf("{\"cancelled\": %zu}\n", streamed);
		if (close_within) {
			end();
		} else {
			fetch = fetch_cancel(fetch);
			next();
		}
	}
	return 0;
}

static void on_later(uv_timer_t *timer)
{
	(void)printf("{\"cancelled\": %zu}\n", streamed);
	fetch = fetch_cancel(fetch);
	next();
}

static void begin(void)
{
	int r = fetch_begin(fetcher, &request, &fetch);

	streamed = 0;
	if (r < 0) {
		(void)printf("{\"refused\": \"%s\"}\n", strerrorname_np(-r));
		end();
	} else if (cancel_ms) {
		(void)uv_timer_start(&later, on_later, cancel_ms, 0);
	}
}

static const struct option options[] = {
	{"method", 1, NULL, 'm'},       {"unix", 1, NULL, 'u'},       {"header", 1, NULL, 'H'},
	{"body", 1, NULL, 'b'},         {"ca", 1, NULL, 'c'},         {"cert", 1, NULL, 'C'},
	{"key", 1, NULL, 'K'},          {"timeout", 1, NULL, 't'},    {"silence", 1, NULL, 's'},
	{"max", 1, NULL, 'M'},          {"stream", 0, NULL, 'S'},     {"show", 1, NULL, 'w'},
	{"cancel-after", 1, NULL, 'A'}, {"fail-after", 1, NULL, 'F'}, {"cancel-ms", 1, NULL, 'T'},
	{"times", 1, NULL, 'n'},        {"close", 0, NULL, 'x'},      {},
};

static void take_bound(int c, unsigned long number)
{
	if (c == 't')
		request.timeout_ms = number;
	else if (c == 's')
		request.silence_ms = number;
	else if (c == 'M')
		request.max_body = number;
	else if (c == 'A')
		cancel_after = number;
	else if (c == 'F')
		fail_after = number;
	else if (c == 'T')
		cancel_ms = number;
	else if (c == 'n')
		times = number;
	else
		exit(2);
}

static void take(int c)
{
	if (c == 'm')
		request.method = optarg;
	else if (c == 'u')
		request.unix_socket = optarg;
	else if (c == 'H' && n_headers < 16)
		headers[n_headers++] = optarg;
	else if (c == 'b')
		request.body = optarg;
	else if (c == 'c')
		request.tls.ca_file = optarg;
	else if (c == 'C')
		request.tls.cert_file = optarg;
	else if (c == 'K')
		request.tls.key_file = optarg;
	else if (c == 'S')
		request.on_data = on_data;
	else if (c == 'w')
		wanted = optarg;
	else if (c == 'x')
		close_within = true;
	else
		take_bound(c, optarg ? strtoul(optarg, NULL, 10) : 0);
}

int main(int argc, char **argv)
{
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1)
		take(c);
	if (optind + 1 != argc)
		return 2;
	request.url = argv[optind];
	request.headers = headers;
	request.length = request.body ? strlen(request.body) : 0;
	request.on_done = on_done;
	(void)setvbuf(stdout, NULL, _IOLBF, 0);
	if (uv_loop_init(&loop) < 0 || uv_timer_init(&loop, &later) < 0 ||
	    fetcher_new(&loop, &fetcher) < 0)
		return 1;
	begin();
	(void)uv_run(&loop, UV_RUN_DEFAULT);
	return uv_loop_close(&loop) < 0 ? 1 : 0;
}
