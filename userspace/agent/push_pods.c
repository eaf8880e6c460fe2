/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See push_pods.h. Before: node_pods.c. After: sinewd's control socket. What a registry has not
 * told (yet) must never take names away that sinewd has.
 */
#include "agent/push_pods.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/node_pods.h"
#include "base/log.h"

#define URL "http://sinewd/v1/pods"
#define TIMEOUT_MS 10000u
#define COALESCE_MS 1000u /* between two requests: names are for people */
#define AGAIN_MS 10000u   /* a sinewd that was started anew knows none */
#define WAIT_MS 2000u     /* after a failure */

struct push_pods {
	struct agent *agent;
	uv_timer_t timer;
	struct fetch *fetch; /* under way */
	bool kicked;         /* meanwhile */
	bool told;           /* sinewd may have names of ours */
	char error[200];     /* the last that was logged; "": none */
	uint64_t quiet_ms;   /* loop time before which nothing is sent */
};

static void turn(struct push_pods *p);

static void on_timer(uv_timer_t *timer)
{
	turn(timer->data);
}

static void arm(struct push_pods *p, uint64_t ms)
{
	(void)uv_timer_start(&p->timer, on_timer, ms, 0);
}

static void complain(struct push_pods *p, const char *text)
{
	if (strcmp(p->error, text) != 0)
		log_warn("pods: sinewd does not have their names: %s; trying again", text);
	(void)snprintf(p->error, sizeof(p->error), "%s", text);
	arm(p, WAIT_MS);
}

static void succeed(struct push_pods *p)
{
	if (*p->error)
		log_notice("pods: sinewd has their names");
	p->error[0] = '\0';
	if (p->kicked)
		push_pods_kick(p);
	else
		arm(p, AGAIN_MS);
}

static void on_done(void *arg, const struct fetch_result *result)
{
	struct push_pods *p = arg;
	char text[200];

	p->fetch = NULL;
	if (result->error)
		(void)snprintf(text, sizeof(text), "%.150s",
			       result->error == -EACCES
				       ? "permission denied: the agent must be in group sinew"
				       : result->error_text);
	else if (result->status == 404 || result->status == 405)
		(void)snprintf(text, sizeof(text), "it does not take them: an older one?");
	else
		(void)snprintf(text, sizeof(text), "status %u", result->status);
	if (!result->error && result->status >= 200 && result->status < 300)
		succeed(p);
	else
		complain(p, text);
}

static void begin(struct push_pods *p, const char *method, const char *body, size_t length)
{
	static const char *const headers[] = {"Content-Type: application/json", NULL};
	const struct fetch_request request = {.method = method,
					      .url = URL,
					      .unix_socket = p->agent->config.control_socket,
					      .headers = headers,
					      .body = body,
					      .length = length,
					      .timeout_ms = TIMEOUT_MS,
					      .max_body = 1u << 20,
					      .on_done = on_done,
					      .arg = p};
	int r = fetch_begin(p->agent->fetcher, &request, &p->fetch);

	p->quiet_ms = uv_now(&p->agent->loop) + COALESCE_MS;
	if (r < 0)
		complain(p, strerror(-r));
}

static void tell(struct push_pods *p)
{
	_cleanup_free_ char *body = NULL;
	size_t length = 0;

	body = node_pods_encode(p->agent, &length);
	p->told = true;
	if (body)
		begin(p, "PUT", body, length);
	else
		complain(p, "no memory");
}

static void turn(struct push_pods *p)
{
	if (p->fetch)
		return;
	p->kicked = false;
	if (node_pods_is_wanted(p->agent)) {
		if (node_pods_is_known(p->agent))
			tell(p);
		return; /* else until we are kicked */
	}
	if (!p->told)
		return;
	p->told = false;
	begin(p, "DELETE", NULL, 0);
}

void push_pods_kick(struct push_pods *p)
{
	uint64_t now = uv_now(&p->agent->loop);

	p->kicked = true;
	if (!p->fetch)
		arm(p, p->quiet_ms > now ? p->quiet_ms - now : 0);
}

int push_pods_new(struct agent *a, struct push_pods **ret)
{
	struct push_pods *p = calloc(1, sizeof(*p));

	if (!p)
		return -ENOMEM;
	p->agent = a;
	(void)uv_timer_init(&a->loop, &p->timer); /* cannot fail */
	p->timer.data = p;
	*ret = p;
	return 0;
}

static void on_closed(uv_handle_t *handle)
{
	free(handle->data);
}

void push_pods_close(struct push_pods *p)
{
	if (!p)
		return;
	p->fetch = fetch_cancel(p->fetch);
	uv_close((uv_handle_t *)&p->timer, on_closed);
}
