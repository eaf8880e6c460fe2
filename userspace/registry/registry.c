/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See registry.h. Before: a source that decoded an answer. After: the host, which merges and sends
 * on. Here is only what every source would write again: the table of kinds, status, back-off,
 * secrets. Never blocks (a secret is a small local file), never logs, knows no protocol.
 */
#include "registry/registry.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/base64.h"
#include "base/cleanup.h"
#include "base/text.h"
#include "registry/registry_config.h"

#define BACKOFF_FIRST_MS 100
#define BACKOFF_MAX_MS 4000   /* one that is well again is followed again within that */
#define RETRY_AFTER_MAX_S 300 /* a server that asks for more gets asked all the same */
#define SECRET_MAX (64u << 10)

/* One line for each kind that there is. */
static const struct registry_kind *const kinds[] = {
	&registry_consul, &registry_files, &registry_eureka, &registry_kubernetes,
	&registry_docker, &registry_etcd,  &registry_srv,    NULL,
};

const struct registry_kind *registry_kind_find(const char *type)
{
	for (size_t i = 0; kinds[i]; i++)
		if (!strcmp(kinds[i]->type, type))
			return kinds[i];
	return NULL;
}

const char *registry_error_name(enum registry_error e)
{
	static const char *const names[_REGISTRY_ERROR_MAX] = {
		[REGISTRY_OK] = "ok",
		[REGISTRY_UNREACHABLE] = "unreachable",
		[REGISTRY_TIMED_OUT] = "timed_out",
		[REGISTRY_TLS] = "tls",
		[REGISTRY_UNAUTHORIZED] = "unauthorized",
		[REGISTRY_FORBIDDEN] = "forbidden",
		[REGISTRY_MISSING] = "missing",
		[REGISTRY_OVERLOADED] = "overloaded",
		[REGISTRY_FAILED] = "failed",
		[REGISTRY_GARBAGE] = "garbage",
	};

	return names[e];
}

const char *registry_state_name(enum registry_state s)
{
	static const char *const names[] = {
		[REGISTRY_CONNECTING] = "connecting",
		[REGISTRY_SYNCED] = "ok",
		[REGISTRY_STALE] = "stale",
	};

	return names[s];
}

/* --- life --------------------------------------------------------------------------------- */

int registry_open(struct registry_config *config, const struct registry_host *host,
		  struct fetcher *fetcher, struct registry **ret, char ret_text[static 200])
{
	_cleanup_free_ struct registry *r = NULL;
	const struct registry_kind *kind = registry_kind_find(config->type);
	int error;

	*ret_text = '\0';
	if (!kind) {
		(void)snprintf(ret_text, 200, "there is no type of registry \"%.60s\"",
			       config->type);
		return -EINVAL;
	}
	r = calloc(1, sizeof(*r));
	if (!r)
		return -ENOMEM;
	r->kind = kind;
	r->config = registry_config_ref(config);
	r->host = host;
	r->loop = host->loop;
	r->fetcher = fetcher;
	(void)snprintf(r->tag, sizeof(r->tag), "%.31s/%.63s", kind->type, config->name);
	error = kind->start(r);
	if (error < 0) {
		(void)snprintf(ret_text, 200, "%s", r->status.text);
		text_make_printable(ret_text);
		registry_config_unref(config);
		return error;
	}
	*ret = TAKE_PTR(r);
	return 0;
}

/* Whoever closed it may be gone, and wants no words of the old one beside those of a new one. */
static void drop_snapshot(void *arg, struct registry *r, struct object *objects, size_t n)
{
	(void)object_free_list(objects, n);
}

static void drop_object(void *arg, struct registry *r, struct object *object)
{
	object_done(object);
}

static void drop_name(void *arg, struct registry *r, enum object_kind kind, const char *namespace,
		      const char *name)
{
}

static void drop_status(void *arg, struct registry *r)
{
}

static const struct registry_host nobody = {.snapshot = drop_snapshot,
					    .upsert = drop_object,
					    .remove = drop_name,
					    .status = drop_status};

void registry_close(struct registry *r, void (*on_stopped)(void *arg, struct registry *r),
		    void *arg)
{
	r->on_stopped = on_stopped;
	r->stopped_arg = arg;
	r->host = &nobody;
	r->kind->stop(r);
}

void registry_stopped(struct registry *r)
{
	if (r->on_stopped)
		r->on_stopped(r->stopped_arg, r);
	registry_config_unref(r->config);
	free(r);
}

/* --- what sources say --------------------------------------------------------------------- */

static uint64_t now_ms(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_REALTIME, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* Of all that a snapshot says, whatever its order; never 0. */
static uint64_t snapshot_hash(const struct object *objects, size_t n)
{
	uint64_t sum = n;

	for (size_t i = 0; i < n; i++) {
		uint64_t etag = objects[i].kind == OBJECT_SERVICE ? objects[i].service->etag
								  : objects[i].policy->etag;

		sum += text_hash(&etag, sizeof(etag), objects[i].kind);
	}
	return sum ? sum : 1;
}

/* What is to be registered is declared on the node: a registry that could say it would make the
 * agent write into other registries. Returns how many are left. */
static size_t drop_registrations(struct registry *r, struct object *objects, size_t n)
{
	size_t kept = 0;

	for (size_t i = 0; i < n; i++) {
		if (objects[i].kind != OBJECT_REGISTRATION) {
			objects[kept++] = objects[i];
			continue;
		}
		registry_say_skipped(r, "registration %s/%s: a registry cannot declare one",
				     object_namespace(&objects[i]), object_name(&objects[i]));
		object_done(&objects[i]);
	}
	return kept;
}

void registry_say_snapshot(struct registry *r, struct object *objects, size_t n_said)
{
	size_t n = drop_registrations(r, objects, n_said);
	uint64_t hash = snapshot_hash(objects, n);
	bool told = r->status.state == REGISTRY_SYNCED;

	if (hash != r->said)
		r->status.changed_ms = now_ms();
	r->said = hash;
	r->status.state = REGISTRY_SYNCED;
	r->host->snapshot(r->host->arg, r, objects, n);
	if (!told)
		r->host->status(r->host->arg, r);
}

void registry_say_upsert(struct registry *r, struct object *object)
{
	if (!drop_registrations(r, object, 1))
		return;
	r->said = 0;
	r->status.changed_ms = now_ms();
	r->host->upsert(r->host->arg, r, object);
}

void registry_say_remove(struct registry *r, enum object_kind kind, const char *namespace,
			 const char *name)
{
	r->said = 0;
	r->status.changed_ms = now_ms();
	r->host->remove(r->host->arg, r, kind, namespace, name);
}

static void note_contact(struct registry *r)
{
	struct registry_status *s = &r->status;

	r->wait_ms = 0;
	s->contact_ms = now_ms();
	/* What it has is not known before its first snapshot. */
	if (s->state == REGISTRY_STALE)
		s->state = s->changed_ms ? REGISTRY_SYNCED : REGISTRY_CONNECTING;
}

void registry_say_contact(struct registry *r, uint64_t latency_us)
{
	struct registry_status *s = &r->status;
	bool told = s->error == REGISTRY_OK && s->state != REGISTRY_STALE;

	note_contact(r);
	if (latency_us)
		s->latency_us = latency_us;
	s->error = REGISTRY_OK;
	s->partly = false;
	s->text[0] = s->hint[0] = '\0';
	if (!told)
		r->host->status(r->host->arg, r);
}

void registry_say_heard(struct registry *r)
{
	r->status.contact_ms = now_ms();
}

static void note_error(struct registry *r, enum registry_error error, const char *hint)
{
	struct registry_status *s = &r->status;

	/* Either may hold what a server sent, whole or cut, and goes into JSON. */
	text_make_printable(s->text);
	(void)snprintf(s->hint, sizeof(s->hint), "%s", hint ? hint : "");
	text_make_printable(s->hint);
	s->error = error;
	s->errors[error]++;
	r->host->status(r->host->arg, r);
}

void registry_say_error(struct registry *r, enum registry_error error, const char *hint,
			const char *format, ...)
{
	va_list args;

	r->status.partly = false;
	va_start(args, format);
	(void)vsnprintf(r->status.text, sizeof(r->status.text), format, args);
	va_end(args);
	note_error(r, error, hint);
}

void registry_say_partly(struct registry *r, enum registry_error error, const char *hint,
			 const char *format, ...)
{
	va_list args;

	note_contact(r);
	r->status.partly = true;
	va_start(args, format);
	(void)vsnprintf(r->status.text, sizeof(r->status.text), format, args);
	va_end(args);
	note_error(r, error, hint);
}

void registry_say_skipped(struct registry *r, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	(void)vsnprintf(r->status.skipped_text, sizeof(r->status.skipped_text), format, args);
	va_end(args);
	text_make_printable(r->status.skipped_text);
	r->status.skipped++;
}

static enum registry_error error_of_status(unsigned int status)
{
	if (status >= 200 && status < 300)
		return REGISTRY_OK;
	switch (status) {
	case 401:
		return REGISTRY_UNAUTHORIZED;
	case 403:
		return REGISTRY_FORBIDDEN;
	case 404:
		return REGISTRY_MISSING;
	case 429:
	case 503:
		return REGISTRY_OVERLOADED;
	default:
		return status >= 500 && status < 600 ? REGISTRY_FAILED : REGISTRY_GARBAGE;
	}
}

enum registry_error registry_error_of(const struct fetch_result *result)
{
	switch (result->error) {
	case 0:
		return error_of_status(result->status);
	case -ETIMEDOUT:
		return REGISTRY_TIMED_OUT;
	case -EKEYREJECTED:
		return REGISTRY_TLS;
	case -EMSGSIZE:
	case -EPROTO:
		return REGISTRY_GARBAGE;
	default:
		return REGISTRY_UNREACHABLE;
	}
}

/* Servers also may name a date; from those that we know none does. */
uint64_t registry_retry_after(const struct fetch_result *result)
{
	const char *said = result->error ? NULL : fetch_header(result->fetch, "Retry-After");
	unsigned long s = said && isdigit((unsigned char)*said) ? strtoul(said, NULL, 10) : 0;

	return (s < RETRY_AFTER_MAX_S ? s : RETRY_AFTER_MAX_S) * 1000;
}

/* --- what sources need -------------------------------------------------------------------- */

/* 0..max. Only spreads load: a weak number is good enough when there is none better. */
static uint64_t random_up_to(uint64_t max)
{
	uint64_t number;

	if (getrandom(&number, sizeof(number), GRND_NONBLOCK) != sizeof(number))
		number = (uint64_t)clock();
	return number % (max + 1);
}

uint64_t registry_backoff_of(uint64_t *wait_ms, uint64_t retry_after_ms)
{
	uint64_t wait = *wait_ms ? *wait_ms * 2 : BACKOFF_FIRST_MS, least;

	*wait_ms = wait < BACKOFF_MAX_MS ? wait : BACKOFF_MAX_MS;
	least = *wait_ms / 2;
	if (retry_after_ms > RETRY_AFTER_MAX_S * 1000)
		retry_after_ms = RETRY_AFTER_MAX_S * 1000;
	return (retry_after_ms > least ? retry_after_ms : least) + random_up_to(*wait_ms / 2);
}

uint64_t registry_backoff(struct registry *r, uint64_t retry_after_ms)
{
	return registry_backoff_of(&r->wait_ms, retry_after_ms);
}

/* At most `max` bytes; -E2BIG for more. Returns how many. */
static ssize_t read_all(int fd, char *to, size_t max)
{
	size_t n = 0;

	for (;;) {
		ssize_t got = read(fd, to + n, max + 1 - n);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return -errno;
		n += (size_t)got;
		if (n > max)
			return -E2BIG;
		if (!got)
			return (ssize_t)n;
	}
}

/* The text without its line end, as a copy of its own. */
static int take_secret(char *text, size_t n, char **ret)
{
	if (n && text[n - 1] == '\n')
		n--;
	if (n && text[n - 1] == '\r')
		n--;
	for (size_t i = 0; i < n; i++)
		if ((unsigned char)text[i] < ' ' || text[i] == 0x7f)
			return -EINVAL;
	*ret = strndup(text, n);
	return *ret ? 0 : -ENOMEM;
}

int registry_read_secret(const char *path, char **ret)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	_cleanup_free_ char *text = NULL;
	struct stat st;
	ssize_t n;
	int r;

	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	/* A pipe or a device would block, or never end. */
	if (!S_ISREG(st.st_mode))
		return -EINVAL;
	text = malloc(SECRET_MAX + 1);
	if (!text)
		return -ENOMEM;
	n = read_all(fd, text, SECRET_MAX);
	r = n < 0 ? (int)n : take_secret(text, (size_t)n, ret);
	explicit_bzero(text, SECRET_MAX + 1);
	return r;
}

char *registry_forget(char *secret)
{
	if (secret)
		explicit_bzero(secret, strlen(secret));
	free(secret);
	return NULL;
}

char *registry_join(const char *before, const char *between, const char *secret)
{
	size_t a = strlen(before), b = strlen(between), c = strlen(secret);
	char *text = malloc(a + b + c + 1);

	if (!text)
		return NULL;
	memcpy(text, before, a);
	memcpy(text + a, between, b);
	memcpy(text + a + b, secret, c + 1);
	return text;
}

char *registry_authorization(const char *user, const char *secret)
{
	char *both, *encoded, *header;

	if (!user)
		return registry_join("Authorization: ", "Bearer ", secret);
	both = registry_join(user, ":", secret);
	encoded = both ? base64_encode(both, strlen(both)) : NULL;
	header = encoded ? registry_join("Authorization: ", "Basic ", encoded) : NULL;
	registry_forget(both);
	registry_forget(encoded);
	return header;
}

bool registry_is_selected(const struct registry *r, const char *name)
{
	for (size_t i = 0; i < r->config->n_select; i++)
		if (fnmatch(r->config->select[i], name, 0) == 0)
			return true;
	return !r->config->n_select;
}
