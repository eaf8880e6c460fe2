/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Requests to an API server with our credentials, and what is said when it will not have them.
 * Before: kubernetes_config.c found them. After: whoever asked gets the answer. It must never keep
 * a token longer than a request takes, but for those that a plugin gave.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "registry/kubernetes_watch.h"

#define MARGIN_MS 60000 /* before its end a credential is not used any more */
#define LEAST_MS 10000  /* but a new one is, for so long */
#define RETRY_AFTER_MAX_S 60

static uint64_t now_ms(const struct kubernetes *k)
{
	return uv_now(k->r->loop);
}

/* --- a plugin's credentials ------------------------------------------------------------------ */

static void on_again(uv_timer_t *timer)
{
	kubernetes_go(timer->data);
}

/* Loop time until which it is used. */
static uint64_t usable_until(const struct kubernetes *k, uint64_t expires_ms)
{
	struct timespec t;
	uint64_t now;

	if (!expires_ms)
		return UINT64_MAX;
	(void)clock_gettime(CLOCK_REALTIME, &t);
	now = (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000 + MARGIN_MS;
	return now_ms(k) + (expires_ms > now + LEAST_MS ? expires_ms - now : LEAST_MS);
}

static int take_credential(struct kubernetes *k, const char *said, size_t length,
			   char text[static 200])
{
	struct kubernetes_credential c = {};
	int r = kubernetes_credential_decode(said, length, k->access.plugin->version, &c, text);

	if (r >= 0) {
		r = kubernetes_config_take(&k->access, &c);
		if (r >= 0)
			k->usable_ms = usable_until(k, c.expires_ms);
		else
			(void)snprintf(text, 200, "%s", strerror(-r));
	}
	kubernetes_credential_done(&c);
	return r;
}

static void say_plugin(struct kubernetes *k, const char *text)
{
	const struct kubernetes_plugin *p = k->access.plugin;
	char hint[200];

	if (p->hint)
		(void)snprintf(hint, sizeof(hint), "%s", p->hint);
	else
		(void)snprintf(hint, sizeof(hint), "run %.120s as the agent's user to see why",
			       p->args[0]);
	registry_say_error(k->r, REGISTRY_UNAUTHORIZED, hint, "credential plugin %.80s: %s",
			   p->args[0], text);
}

static void on_credential(void *arg, int error, const char *said, size_t length, const char *text)
{
	struct kubernetes *k = arg;
	char why[200];

	k->exec = NULL;
	if (!error) {
		error = take_credential(k, said, length, why);
		text = why;
	}
	if (error) {
		say_plugin(k, text);
		(void)uv_timer_start(&k->again, on_again, registry_backoff(k->r, 1000), 0);
		return;
	}
	k->credential_ms = now_ms(k);
	kubernetes_go(k);
}

/* 0: there is what we need; -EAGAIN: soon there may be. */
static int need_credential(struct kubernetes *k)
{
	int r;

	if (!k->access.plugin || now_ms(k) < k->usable_ms)
		return 0;
	if (k->exec || uv_is_active((uv_handle_t *)&k->again))
		return -EAGAIN;
	r = kubernetes_exec_begin(k->r->loop, k->access.plugin, on_credential, k, &k->exec);
	if (r < 0) {
		say_plugin(k, strerror(-r));
		(void)uv_timer_start(&k->again, on_again, registry_backoff(k->r, 1000), 0);
	}
	return -EAGAIN;
}

/* A kubeconfig may have been written anew; token files are read each time anyway. */
void kubernetes_distrust(struct kubernetes *k, uint64_t elapsed_us)
{
	struct kubernetes_access access;
	char text[200];

	if (k->exec || now_ms(k) - elapsed_us / 1000 < k->credential_ms ||
	    kubernetes_config_read(k->r->config, &access, text) < 0)
		return;
	kubernetes_config_done(&k->older);
	k->older = k->access;
	k->access = access;
	k->credential_ms = now_ms(k);
	k->usable_ms = 0;
}

void kubernetes_access_stop(struct kubernetes *k)
{
	k->exec = kubernetes_exec_cancel(k->exec);
}

/* --- requests -------------------------------------------------------------------------------- */

/* "Authorization: Bearer ..."; *ret NULL: no token is known, a certificate must do. */
static int make_authorization(struct kubernetes *k, char **ret)
{
	const struct kubernetes_access *a = &k->access;
	char *token = NULL;
	int r = 0;

	*ret = NULL;
	if (a->token_file)
		r = registry_read_secret(a->token_file, &token);
	if (r < 0) {
		registry_say_error(k->r, REGISTRY_UNAUTHORIZED,
				   "the agent's user must be able to read the token's file",
				   "%s: %s", a->token_file, strerror(-r));
		return r;
	}
	if (!token && !a->token)
		return 0;
	*ret = registry_authorization(NULL, token ? token : a->token);
	registry_forget(token);
	return *ret ? 0 : -ENOMEM;
}

/* As kubectl does, credentials are shown over TLS alone; but a proxy on this host may see them. */
static bool is_bare(const char *url)
{
	static const char plain[] = "http://";
	struct in_addr address;
	char host[64];
	size_t n;

	if (strncasecmp(url, plain, strlen(plain)) != 0)
		return strncasecmp(url, "https://", 8) != 0;
	url += strlen(plain);
	n = *url == '[' ? strcspn(url, "]") + 1 : strcspn(url, ":/?#");
	if (n >= sizeof(host))
		return true;
	memcpy(host, url, n);
	host[n] = '\0';
	if (!strcasecmp(host, "localhost") || !strcmp(host, "[::1]"))
		return false;
	return inet_pton(AF_INET, host, &address) != 1 || ntohl(address.s_addr) >> 24 != 127;
}

int kubernetes_ask(struct kubernetes *k, struct fetch_request *request, struct fetch **ret)
{
	const struct kubernetes_access *a = &k->access;
	const char *headers[] = {"Accept: application/json", NULL, NULL};
	char *authorization = NULL, *url = NULL;
	bool ours = *request->url == '/';
	bool bare = ours ? is_bare(a->server) : strncmp(request->url, "https://", 8) != 0;
	int r = bare ? 0 : need_credential(k);

	if (r >= 0 && !bare)
		r = make_authorization(k, &authorization);
	if (r < 0)
		return r;
	if (asprintf(&url, "%s%s", ours ? a->server : "", request->url) < 0)
		url = NULL;
	headers[1] = authorization;
	request->url = url;
	request->headers = headers;
	request->tls =
		(struct fetch_tls){.ca_file = a->ca, .cert_file = a->cert, .key_file = a->key};
	r = url ? fetch_begin(k->r->fetcher, request, ret) : -ENOMEM;
	if (r == -EINVAL)
		registry_say_error(k->r, REGISTRY_GARBAGE, "the server begins with https://",
				   "%s is no address of a server", url);
	registry_forget(authorization);
	free(url);
	return r;
}

/* --- failures -------------------------------------------------------------------------------- */

void kubernetes_hint(const struct kubernetes *k, const struct kubernetes_failure *f,
		     char ret[static 200])
{
	const char *only = k->r->config->remote_namespace;

	*ret = '\0';
	if (f->error == REGISTRY_FORBIDDEN)
		(void)snprintf(
			ret, 200,
			"kubectl create %s sinew-%.*s%s%s --verb=get,list,watch --resource=%s, and bind it to the agent's user",
			only ? "role" : "clusterrole", (int)strcspn(f->resource, "/"), f->resource,
			only ? " --namespace=" : "", only ? only : "", f->resource);
	else if (f->error == REGISTRY_UNAUTHORIZED && is_bare(k->access.server))
		(void)snprintf(ret, 200,
			       "no token is shown over http://: the server begins with https://");
	else if (f->error == REGISTRY_UNAUTHORIZED)
		(void)snprintf(ret, 200,
			       "the server does not know the token or certificate: renew it");
	else if (f->error == REGISTRY_TLS)
		(void)snprintf(ret, 200, "check certificate-authority, or caFile");
}

uint64_t kubernetes_say_failure(struct kubernetes *k, const struct kubernetes_failure *f)
{
	const struct fetch_result *result = f->result;
	uint64_t after = registry_retry_after(result) / 1000;
	struct kubernetes_refusal why;
	char hint[200];

	kubernetes_hint(k, f, hint);
	kubernetes_decode_refusal(result->body, result->length, &why);
	if (result->error)
		registry_say_error(k->r, f->error, hint, "%s %s: %s", f->verb, f->resource,
				   result->error_text);
	else
		registry_say_error(k->r, f->error, hint, "%u on %s %s: %s", result->status, f->verb,
				   f->resource, why.text);
	if (after < why.retry_after_s)
		after = why.retry_after_s;
	return (after > RETRY_AFTER_MAX_S ? RETRY_AFTER_MAX_S : after) * 1000;
}
