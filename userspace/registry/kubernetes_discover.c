/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What an API server offers: which version of EndpointSlices, and lists as streams. A server that
 * will not say is taken for a usual one. It must never be asked in a storm.
 */
#include <errno.h>

#include "registry/kubernetes_watch.h"

#define ANSWER_MS 10000
#define ANSWER_MAX (1u << 20)
#define STREAMS_SINCE 32 /* 1.32: on where nobody turned it off */

static void ask(struct kubernetes *k);

static void on_again(uv_timer_t *timer)
{
	kubernetes_go(timer->data);
}

static void later(struct kubernetes *k, uint64_t at_least_ms)
{
	(void)uv_timer_start(&k->again, on_again, registry_backoff(k->r, at_least_ms), 0);
}

static void on_release(struct kubernetes *k, const struct fetch_result *result)
{
	struct kubernetes_release release;

	k->streams = result->status < 300 &&
		     kubernetes_decode_release(result->body, result->length, &release) >= 0 &&
		     (release.major > 1 || release.minor >= STREAMS_SINCE);
	k->knows_release = true;
	ask(k);
}

static void on_group(struct kubernetes *k, const struct fetch_result *result)
{
	const char *version = "v1";

	if (result->status < 300)
		(void)kubernetes_decode_group(result->body, result->length, &version);
	if (!version) {
		registry_say_error(k->r, REGISTRY_MISSING, "",
				   "the server has no EndpointSlices of a version that is known");
		later(k, 30000);
		return;
	}
	k->slices = version;
	k->discovered = true;
	k->knows_release = false; /* the next time it may be another one */
	kubernetes_go(k);
}

static void on_done(void *arg, const struct fetch_result *result)
{
	struct kubernetes *k = arg;
	enum registry_error error = registry_error_of(result);
	struct kubernetes_failure failure = {
		"get", k->knows_release ? "/apis/discovery.k8s.io" : "/version", error, result};

	k->discovery = NULL;
	if (result->error || error == REGISTRY_UNAUTHORIZED || error == REGISTRY_OVERLOADED ||
	    error == REGISTRY_FAILED) {
		if (error == REGISTRY_UNAUTHORIZED)
			kubernetes_distrust(k, result->elapsed_us);
		later(k, kubernetes_say_failure(k, &failure));
	} else if (k->knows_release) {
		on_group(k, result);
	} else {
		on_release(k, result);
	}
}

static void ask(struct kubernetes *k)
{
	struct fetch_request request = {
		.url = k->knows_release ? "/apis/discovery.k8s.io" : "/version",
		.timeout_ms = ANSWER_MS,
		.max_body = ANSWER_MAX,
		.on_done = on_done,
		.arg = k,
	};
	int r = kubernetes_ask(k, &request, &k->discovery);

	if (r < 0 && r != -EAGAIN)
		later(k, 1000);
}

void kubernetes_discover(struct kubernetes *k)
{
	if (!k->discovery && !uv_is_active((uv_handle_t *)&k->again))
		ask(k);
}
