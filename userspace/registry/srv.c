/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The DNS as a registry: SRV records of the names that "names" lists, asked for again as their time
 * to live ends, and addresses of their targets where the resolver did not add them.
 *
 *   SRV -> A (-> AAAA) of each target without an address -> say -> wait -> SRV
 *
 * An answer that fails at any of these changes nothing. That a name is not there at all (NXDOMAIN)
 * is what a resolver says of the wrong side of a firewall, too: it is told, and believed after a
 * minute of nothing else.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "dns/forward.h"
#include "model/address.h"
#include "registry/registry.h"
#include "registry/srv_service.h"

#define NAMES_MAX 1024
#define LEAST_MS 1000 /* between two questions about a name, whatever its time to live */
#define MOST_MS 60000
#define MISSING_MS 60000 /* then NXDOMAIN is believed */
#define RETRY_MS 1000
#define RESOLV_CONF "/etc/resolv.conf"
#define RESOLV_CONF_BYTES (64u << 10)

struct srv_name {
	struct srv *srv;
	struct srv_naming naming;
	uv_timer_t timer;
	struct dns_asked *asked;
	enum srv_type type;       /* of what is being asked */
	struct srv_answer answer; /* to SRV; addresses of targets are added to it */
	size_t target;            /* of its records, the one whose address is asked for */
	char asked_for[DNS_NAME];
	uint64_t asked_us;
	struct service *word; /* the last one */
	enum registry_error error;
	char text[160];
	uint64_t wait_ms;    /* after a failure */
	uint64_t missing_ms; /* loop time of the first NXDOMAIN in a row; 0: none */
	uint64_t cached_ms;  /* until then an answer may be a copy of the last word's */
	bool again;          /* the next one that is none is said, new or not */
};

struct srv {
	struct registry *r;
	struct dns_forward *forward;
	struct timespec conf_changed; /* of RESOLV_CONF; 0: "address" names resolvers */
	struct draft_service *draft;
	struct srv_name *names;
	size_t n, open;
	bool over_tcp;
	bool told; /* a snapshot was said */
};

static void on_timer(uv_timer_t *timer);
static void on_answer(void *arg, const struct dns_upstream *u, uint8_t *answer, size_t n);

static void ask_in(struct srv_name *name, uint64_t ms)
{
	(void)uv_timer_start(&name->timer, on_timer, ms, 0);
}

/* --- resolvers -------------------------------------------------------------------------------- */

struct resolvers {
	struct dns_resolver items[DNS_RESOLVERS];
	size_t n;
};

static int add_resolver(struct resolvers *to, const char *text)
{
	struct dns_resolver *at = &to->items[to->n];

	if (to->n == DNS_RESOLVERS)
		return -E2BIG;
	if (address_parse(text, &at->addr) >= 0)
		at->port = 53;
	else if (address_parse_port(text, &at->addr, &at->port) < 0)
		return -EINVAL;
	if (!at->port)
		at->port = 53;
	to->n += address_is_target(&at->addr);
	return address_is_target(&at->addr) ? 0 : -EINVAL;
}

/* "dns://10.0.0.2,[fd00::2]:5353", "dns+tcp://..." */
static int parse_resolvers(struct srv *s, const char *address, struct resolvers *ret)
{
	_cleanup_free_ char *copy = NULL;
	char *rest, *at;
	int r = 0;

	s->over_tcp = !strncmp(address, "dns+tcp://", 10);
	if (!s->over_tcp && strncmp(address, "dns://", 6) != 0)
		return -EINVAL;
	copy = rest = strdup(strstr(address, "://") + 3);
	if (!copy)
		return -ENOMEM;
	while (r >= 0 && (at = strsep(&rest, ",")))
		r = add_resolver(ret, at);
	return r;
}

/* What cannot be used in it is passed over: others read the file, too. */
static int read_conf(struct srv *s, struct resolvers *ret)
{
	_cleanup_free_ char *text = NULL;
	struct stat st;
	char *rest, *line;
	size_t n;
	int r;

	if (stat(RESOLV_CONF, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EINVAL;
	r = file_read(RESOLV_CONF, RESOLV_CONF_BYTES, &text, &n, NULL);
	if (r < 0)
		return r;
	rest = text;
	while ((line = strsep(&rest, "\n"))) {
		char word[32], value[64];

		if (sscanf(line, "%31s %63s", word, value) == 2 && !strcmp(word, "nameserver"))
			(void)add_resolver(ret, value);
	}
	s->conf_changed = st.st_mtim;
	return ret->n ? 0 : -ENOENT;
}

static int open_forward(struct srv *s, char *text, size_t size)
{
	const char *address = s->r->config->address;
	struct resolvers all = {};
	int r = address ? parse_resolvers(s, address, &all) : read_conf(s, &all);

	if (r >= 0)
		r = dns_forward_new(s->r->loop, all.items, all.n, &s->forward);
	if (r >= 0 || r == -ENOMEM)
		return r;
	if (address)
		(void)snprintf(
			text, size,
			"\"address\" is %.100s, not dns://ADDRESS:PORT or dns+tcp://, at most %d",
			address, DNS_RESOLVERS);
	else
		(void)snprintf(text, size, "no \"address\", and no nameserver in %s", RESOLV_CONF);
	return -EINVAL;
}

/* Nobody answers: the host may have come to another network. */
static void reread_conf(struct srv *s)
{
	struct dns_forward *old = s->forward;
	struct stat st;
	char text[200];

	if (s->r->config->address || stat(RESOLV_CONF, &st) < 0 ||
	    (st.st_mtim.tv_sec == s->conf_changed.tv_sec &&
	     st.st_mtim.tv_nsec == s->conf_changed.tv_nsec) ||
	    open_forward(s, text, sizeof(text)) < 0)
		return;
	for (size_t i = 0; i < s->n; i++) {
		if (!s->names[i].asked)
			continue;
		dns_forward_cancel(s->names[i].asked);
		s->names[i].asked = NULL;
		ask_in(&s->names[i], 0);
	}
	dns_forward_close(old);
}

/* --- what is said ----------------------------------------------------------------------------- */

static struct object object_of(const struct srv_name *name)
{
	return (struct object){.kind = OBJECT_SERVICE, .service = service_ref(name->word)};
}

static void say_all(struct srv *s)
{
	struct object *objects = calloc(s->n + 1, sizeof(*objects));
	size_t n = 0;

	if (!objects)
		return; /* the next word says it */
	for (size_t i = 0; i < s->n; i++)
		if (registry_is_selected(s->r, s->names[i].naming.service))
			objects[n++] = object_of(&s->names[i]);
	s->told = true;
	registry_say_snapshot(s->r, objects, n);
}

/* What it has is known when every name has been heard of; before, and after, one by one. */
static void say(struct srv_name *name)
{
	struct srv *s = name->srv;
	size_t known = 0;

	for (size_t i = 0; i < s->n; i++)
		known += s->names[i].word != NULL;
	if (!s->told && known == s->n) {
		say_all(s);
	} else if (registry_is_selected(s->r, name->naming.service)) {
		struct object o = object_of(name);

		registry_say_upsert(s->r, &o);
	}
}

/* Some name's error is the registry's, as long as there is one. */
static void say_state(struct srv_name *name, bool is_contact)
{
	struct srv *s = name->srv;
	const struct srv_name *worst = name->error ? name : NULL;
	const char *hint;

	for (size_t i = 0; !worst && i < s->n; i++)
		if (s->names[i].error)
			worst = &s->names[i];
	if (!worst) {
		registry_say_contact(s->r, uv_hrtime() / 1000 - name->asked_us + 1);
		return;
	}
	hint = worst->error == REGISTRY_MISSING     ? "is it the right resolver?"
	       : worst->error == REGISTRY_FORBIDDEN ? "the resolver does not answer this host"
						    : "";
	if (is_contact)
		registry_say_partly(s->r, worst->error, hint, "%s", worst->text);
	else
		registry_say_error(s->r, worst->error, hint, "%s", worst->text);
}

static uint64_t wait_of(const struct srv_name *name, uint32_t ttl_s)
{
	const struct registry_config *c = name->srv->r->config;
	uint64_t most = c->interval_ms && c->interval_ms < MOST_MS ? c->interval_ms : MOST_MS;
	uint64_t wait = (uint64_t)ttl_s * 1000;

	/* What is well must not look stale. */
	if (c->stale_ms && most > c->stale_ms / 2)
		most = c->stale_ms / 2;
	if (wait > most)
		wait = most;
	return wait < LEAST_MS ? LEAST_MS : wait;
}

static void fail(struct srv_name *name, enum registry_error error, const char *what)
{
	const struct registry_config *c = name->srv->r->config;
	uint64_t most = wait_of(name, UINT32_MAX);

	name->error = error;
	(void)snprintf(name->text, sizeof(name->text), "%.100s: %s", name->asked_for, what);
	srv_answer_done(&name->answer);
	name->wait_ms = name->wait_ms ? name->wait_ms * 2 : RETRY_MS;
	if (name->wait_ms > most / 2)
		name->wait_ms = most / 2;
	ask_in(name, name->wait_ms);
	if (error == REGISTRY_TIMED_OUT || error == REGISTRY_UNREACHABLE) {
		say_state(name, false);
		if (!c->address)
			reread_conf(name->srv);
	} else {
		say_state(name, true);
	}
}

/* A service as it is now; `found` may have no records at all. */
static void take(struct srv_name *name)
{
	struct srv *s = name->srv;
	struct srv_wish wish = {.draft = s->draft, .tag = s->r->tag, .zone = s->r->config->zone};
	const struct srv_answer *a = &name->answer;
	struct srv_found found = {a->records, a->n_records, a->addresses, a->n_addresses};
	struct service *word;
	uint64_t now = uv_now(s->r->loop);
	bool is_new, is_copy;
	int r = srv_service_make(&wish, &name->naming, &found, &word);

	if (r < 0) {
		fail(name, REGISTRY_GARBAGE,
		     r == -ENODATA ? "none of its targets has an address" : strerror(-r));
		return;
	}
	if (wish.left_out + a->skipped)
		registry_say_skipped(s->r, "%.80s: %zu targets without an address, or unusable",
				     name->naming.dns, wish.left_out + a->skipped);
	is_new = !name->word || !service_is_equal(name->word, word);
	is_copy = !is_new && now < name->cached_ms;
	if (!is_copy)
		name->cached_ms = now + (uint64_t)a->ttl_s * 1000;
	(void)service_unref(name->word);
	name->word = word;
	name->wait_ms = 0;
	ask_in(name, wait_of(name, a->ttl_s));
	srv_answer_done(&name->answer);
	say_state(name, true);
	if (is_new || (name->again && !is_copy)) {
		name->again = false;
		say(name);
	}
}

static void take_missing(struct srv_name *name, uint32_t ttl_s)
{
	uint64_t now = uv_now(name->srv->r->loop);

	if (!name->missing_ms)
		name->missing_ms = now ? now : 1;
	name->error = REGISTRY_MISSING;
	(void)snprintf(name->text, sizeof(name->text), "%.100s: no such name (NXDOMAIN)",
		       name->naming.dns);
	if (now - name->missing_ms >= MISSING_MS) {
		srv_answer_done(&name->answer);
		name->answer.ttl_s = ttl_s;
		take(name);
		return;
	}
	ask_in(name, wait_of(name, ttl_s < 10 ? ttl_s : 10));
	srv_answer_done(&name->answer);
	say_state(name, true);
}

/* --- questions -------------------------------------------------------------------------------- */

static void ask(struct srv_name *name, const char *dns, enum srv_type type)
{
	uint8_t query[DNS_UPSTREAM_QUERY];
	int n = srv_encode(dns, type, query), r;
	struct dns_question question = {.query = query, .on_done = on_answer, .arg = name};

	if (dns != name->asked_for)
		(void)snprintf(name->asked_for, sizeof(name->asked_for), "%s", dns);
	name->type = type;
	if (n < 0) {
		fail(name, REGISTRY_GARBAGE, "no name of the DNS");
		return;
	}
	question.length = (size_t)n;
	question.over_tcp = name->srv->over_tcp;
	r = dns_forward_begin(name->srv->forward, &question, &name->asked);
	if (r < 0) /* too many at once: a little later, from the beginning */
		ask_in(name, RETRY_MS);
}

static void on_timer(uv_timer_t *timer)
{
	struct srv_name *name = timer->data;

	srv_answer_done(&name->answer);
	name->target = 0;
	name->asked_us = uv_hrtime() / 1000;
	ask(name, name->naming.dns, SRV_SRV);
}

static bool has_address(const struct srv_answer *a, const char *target)
{
	for (size_t i = 0; i < a->n_addresses; i++)
		if (!strcmp(a->addresses[i].name, target))
			return true;
	return false;
}

/* The next target whose address is not known. */
static void ask_next(struct srv_name *name)
{
	const struct srv_answer *a = &name->answer;

	for (; name->target < a->n_records; name->target++) {
		const char *target = a->records[name->target].target;

		if (*target && !has_address(a, target)) {
			ask(name, target, SRV_A);
			return;
		}
	}
	name->error = REGISTRY_OK;
	name->missing_ms = 0;
	take(name);
}

/* Under the target's own name, whatever that stands for. */
static int add_addresses(struct srv_name *name, const struct srv_answer *from)
{
	struct srv_answer *a = &name->answer;
	size_t n = a->n_addresses + from->n_addresses;
	struct srv_address *grown;

	if (n > SRV_ADDRESSES)
		return 0;
	grown = reallocarray(a->addresses, n + 1, sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	a->addresses = grown;
	for (size_t i = 0; i < from->n_addresses; i++) {
		a->addresses[a->n_addresses] = from->addresses[i];
		memcpy(a->addresses[a->n_addresses++].name, name->asked_for,
		       sizeof(name->asked_for));
	}
	if (from->ttl_s && from->ttl_s < a->ttl_s)
		a->ttl_s = from->ttl_s;
	return 0;
}

/* Of a target. One without an address is left out; one that nobody could tell of is not. */
static void on_address(struct srv_name *name, struct srv_answer *a)
{
	int r = 0;

	if (a->word == SRV_GIVEN)
		r = add_addresses(name, a);
	if (r < 0) {
		fail(name, REGISTRY_GARBAGE, "out of memory");
	} else if (a->word == SRV_NOTHING && name->type == SRV_A) {
		ask(name, name->asked_for, SRV_AAAA);
	} else {
		name->target++;
		ask_next(name);
	}
}

static void on_srv(struct srv_name *name, struct srv_answer *a)
{
	name->answer = *a;
	*a = (struct srv_answer){};
	if (name->answer.word == SRV_NO_NAME)
		take_missing(name, name->answer.ttl_s);
	else
		ask_next(name);
}

static void on_answer(void *arg, const struct dns_upstream *u, uint8_t *answer, size_t n)
{
	struct srv_name *name = arg;
	uint64_t elapsed_us = uv_hrtime() / 1000 - name->asked_us;
	struct srv_answer a = {};
	char text[80];

	name->asked = NULL;
	if (!n) {
		fail(name, elapsed_us < 1000000 ? REGISTRY_UNREACHABLE : REGISTRY_TIMED_OUT,
		     "no resolver answers");
		return;
	}
	if (srv_decode(answer, n, name->asked_for, name->type, &a) < 0) {
		fail(name, REGISTRY_GARBAGE, "the answer cannot be read");
		return;
	}
	if (a.word == SRV_REFUSED || a.word == SRV_FAILED) {
		(void)snprintf(text, sizeof(text), "the resolver could not tell (%s)",
			       a.word == SRV_REFUSED ? "REFUSED"
			       : a.rcode == 2        ? "SERVFAIL"
						     : "an error of its own");
		fail(name, a.word == SRV_REFUSED ? REGISTRY_FORBIDDEN : REGISTRY_FAILED, text);
	} else if (name->type == SRV_SRV) {
		on_srv(name, &a);
	} else {
		on_address(name, &a);
	}
	srv_answer_done(&a);
}

/* --- life ------------------------------------------------------------------------------------- */

static void done(struct srv *s)
{
	for (size_t i = 0; s->names && i < s->n; i++) {
		(void)service_unref(s->names[i].word);
		srv_answer_done(&s->names[i].answer);
	}
	draft_free(s->draft);
	free(s->names);
	free(s);
}

static bool is_twice(const struct srv *s, const struct srv_naming *naming)
{
	for (size_t i = 0; i < s->n; i++)
		if (!strcmp(s->names[i].naming.namespace, naming->namespace) &&
		    !strcmp(s->names[i].naming.service, naming->service))
			return true;
	return false;
}

static int read_names(struct srv *s)
{
	const struct registry_config *c = s->r->config;
	char *text = s->r->status.text, why[160];

	if (!c->n_names || c->n_names > NAMES_MAX) {
		(void)snprintf(text, sizeof(s->r->status.text),
			       "\"names\" lists what is followed, up to %d, as "
			       "_http._tcp.payments.example",
			       NAMES_MAX);
		return -EINVAL;
	}
	s->names = calloc(c->n_names, sizeof(*s->names));
	if (!s->names)
		return -ENOMEM;
	for (size_t i = 0; i < c->n_names; i++) {
		struct srv_naming naming;

		if (srv_naming_parse(c->names[i], c->namespace ?: "default", &naming, why) < 0) {
			(void)snprintf(text, sizeof(s->r->status.text), "names: %s", why);
			return -EINVAL;
		}
		if (is_twice(s, &naming)) {
			(void)snprintf(
				text, sizeof(s->r->status.text),
				"names: %.50s is %.60s, as one before it: write SERVICE=NAME",
				c->names[i], naming.service);
			return -EINVAL;
		}
		s->names[s->n].srv = s;
		s->names[s->n++].naming = naming;
	}
	return 0;
}

static int start(struct registry *r)
{
	struct srv *s = calloc(1, sizeof(*s));
	int e;

	if (!s)
		return -ENOMEM;
	s->r = r;
	e = read_names(s);
	if (e >= 0)
		e = draft_new(&s->draft);
	if (e >= 0)
		e = open_forward(s, r->status.text, sizeof(r->status.text));
	if (e < 0) {
		done(s);
		return e;
	}
	r->source = s;
	for (size_t i = 0; i < s->n; i++) {
		(void)uv_timer_init(r->loop, &s->names[i].timer);
		s->names[i].timer.data = &s->names[i];
		ask_in(&s->names[i], i / 64 * 50); /* not more at once than may be asked */
	}
	return 0;
}

static void on_closed(uv_handle_t *handle)
{
	const struct srv_name *name = handle->data;
	struct srv *s = name->srv;
	struct registry *r = s->r;

	if (--s->open)
		return;
	done(s);
	registry_stopped(r);
}

static void stop(struct registry *r)
{
	struct srv *s = r->source;

	dns_forward_close(s->forward);
	s->open = s->n;
	for (size_t i = 0; i < s->n; i++)
		uv_close((uv_handle_t *)&s->names[i].timer, on_closed);
}

/*
 * A resolver repeats what is in its cache until its time to live has ended, and that is no second
 * word. After that it must have asked, too, and so is it asked here anyway: a look hurries nothing,
 * it only has what the first such answer says said again.
 */
static int look(struct registry *r, const char *namespace, const char *name)
{
	struct srv *s = r->source;

	for (size_t i = 0; i < s->n; i++) {
		const struct srv_naming *n = &s->names[i].naming;

		if (!name || (!strcmp(n->namespace, namespace) && !strcmp(n->service, name)))
			s->names[i].again = true;
	}
	return 0;
}

const struct registry_kind registry_srv = {
	.type = "srv",
	.start = start,
	.stop = stop,
	.look = look,
};
