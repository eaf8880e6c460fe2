/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What fetch.c (one exchange: what is asked, what comes) and fetcher.c (the loop that they share)
 * know together; nobody else's.
 */
#pragma once

#include <curl/curl.h>
#include <stdbool.h>

#include "net/fetch.h"

struct fetcher {
	uv_loop_t *loop;
	CURLM *multi;
	uv_timer_t timer;
	struct fetch *first; /* all that were begun */
	unsigned int busy;   /* in libcurl, or in somebody's callback */
	unsigned int n_handles;
	bool closing, torn;
};

struct fetch {
	struct fetcher *fetcher;
	struct fetch *next, **link;
	CURL *easy;
	struct curl_slist *headers;
	uv_timer_t silence;
	uint64_t silence_ms, heard_ms; /* loop time */
	uint64_t begun_ns;
	bool added, cancelled, warned, is_secret;
	int error; /* why we ended it */
	size_t header_bytes, max_body;
	char *body;
	size_t length, room;
	int (*on_data)(void *arg, const char *data, size_t length);
	void (*on_done)(void *arg, const struct fetch_result *result);
	void *arg;
	char text[CURL_ERROR_SIZE];
};

/* Does what was only marked while the fetcher was busy. */
void fetcher_apply(struct fetcher *f);
/* Takes it over, and begins as soon as may be. */
void fetcher_add(struct fetcher *f, struct fetch *x);
/* What ended it, for the caller: by x->error, or libcurl's code. */
int fetch_error(const struct fetch *x, CURLcode code);
const char *fetch_error_text(struct fetch *x, int error, CURLcode code);
/* Frees what libcurl may be told to forget; the struct itself is the caller's. */
void fetch_release(struct fetch *x);
