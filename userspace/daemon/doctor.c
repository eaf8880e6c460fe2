/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Is everything as it should be, and what to do if not: one line per check. Only looks.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>

#include "base/cleanup.h"
#include "daemon/daemon.h"
#include "kernel/read.h"
#include "kernel/wants.h"

struct doctor {
	struct daemon *d;
	size_t n;
};

__attribute__((format(printf, 4, 5))) static struct control_check *
add(struct doctor *doctor, const char *name, int level, const char *format, ...)
{
	struct control_check *c = &doctor->d->checks[doctor->n];
	va_list args;

	if (doctor->n + 1 < DAEMON_CHECKS)
		doctor->n++;
	*c = (struct control_check){.name = name};
	c->level = level;
	va_start(args, format);
	(void)vsnprintf(c->text, sizeof(c->text), format, args);
	va_end(args);
	return c;
}

__attribute__((format(printf, 2, 3))) static void hint(struct control_check *c, const char *format,
						       ...)
{
	va_list args;

	va_start(args, format);
	(void)vsnprintf(c->hint, sizeof(c->hint), format, args);
	va_end(args);
}

static const char *datagram_hint(const struct daemon *d)
{
	if (d->evict_lost)
		return "the helper process that ends them is gone: restart sinewd to have it back";
	if (d->config.datagrams_end == EVICT_OFF)
		return "datagrams.end is off";
	return "needs bpf_sock_destroy (Linux 6.5) or CONFIG_INET_DIAG_DESTROY; until then "
	       "restart clients that keep a connected UDP socket";
}

static void check_kernel(struct doctor *doctor)
{
	struct utsname host;

	(void)uname(&host);
	if (evict_ends(&doctor->d->evict)) {
		(void)add(doctor, "kernel", CHECK_OK,
			  "%s: sock_addr, getpeername, sock_ops, sk_storage, ringbuf, %s",
			  host.release,
			  doctor->d->evict.method == EVICT_DIAG ? "sock_diag" : "bpf_sock_destroy");
		return;
	}
	hint(add(doctor, "kernel", CHECK_WARN, "%s: stale datagram sockets are not ended",
		 host.release),
	     "%s", datagram_hint(doctor->d));
}

static void check_cgroup(struct doctor *doctor)
{
	static const char *const canary[] = {
		[CANARY_UNKNOWN] = "attached (no connect could be tried there)",
		[CANARY_TRANSLATED] = "effective (a connect to a canary was translated)",
		[CANARY_MISSED] = "attached",
	};
	struct daemon *d = doctor->d;
	unsigned int n = kernel_attached(&d->kernel);

	if (n < _HOOK_MAX)
		hint(add(doctor, "cgroup", CHECK_FAIL, "%u of %d links are attached to %s", n,
			 _HOOK_MAX, d->cgroup),
		     "%s%stried again twice a second", d->kernel.trouble,
		     d->kernel.trouble[0] ? "; " : "");
	else if (d->inspect.canary == CANARY_MISSED)
		hint(add(doctor, "cgroup", CHECK_FAIL,
			 "our %u links are attached to %s, but a connect to a canary was not translated",
			 n, d->cgroup),
		     "another program rewrites or allows it before us (see order), or the cgroup is set to bypass");
	else
		(void)add(doctor, "cgroup", CHECK_OK, "v2 at %s, our %u links are %s", d->cgroup, n,
			  canary[d->inspect.canary]);
}

/* "someone_elses (12) connect4 before us in 2 cgroups (/tenant ...)" */
static int describe_owner(const struct inspect *i, size_t at, char *text, size_t size)
{
	const struct owner *o = &i->owners[at];
	char where[140] = "";

	if (o->cgroups)
		(void)snprintf(where, sizeof(where), " in %u cgroup%s (%.100s%s)", o->cgroups,
			       o->cgroups == 1 ? "" : "s", o->cgroup,
			       o->cgroups == 1 ? "" : " ...");
	return snprintf(text, size, "%s (%u) %s %s us%s",
			i->names[at][0] ? i->names[at] : "program", o->program,
			kernel_hook_name(o->hook) + 3, o->before ? "before" : "after", where);
}

/* Outcome hooks do not disturb each other, whoever is first. */
static bool is_hiding(const struct owner *o)
{
	return o->before && o->hook != HOOK_RELEASE && o->hook != HOOK_SOCKOPS;
}

/* As many as fit; those that may hide addresses first. */
static size_t list_owners(const struct inspect *i, bool hiding, char *text, size_t size)
{
	size_t used = strlen(text), count = 0;
	char one[256];

	for (size_t at = 0; at < i->n_owners; at++) {
		if (is_hiding(&i->owners[at]) != hiding)
			continue;
		count++;
		(void)describe_owner(i, at, one, sizeof(one));
		if (used + strlen(one) + 3 < size)
			used += (size_t)snprintf(text + used, size - used, "%s%s", used ? ", " : "",
						 one);
	}
	return count;
}

static void check_others(struct doctor *doctor)
{
	const struct inspect *i = &doctor->d->inspect;
	char text[sizeof(doctor->d->checks[0].text) - 8] = "";
	size_t hiding = list_owners(i, true, text, sizeof(text));

	(void)list_owners(i, false, text, sizeof(text));
	if (!i->n_owners)
		(void)add(doctor, "order", CHECK_OK, "no other programs on the same hooks");
	else if (!hiding)
		(void)add(doctor, "order", CHECK_OK, "%s", text);
	else
		hint(add(doctor, "order", CHECK_WARN, "%s", text),
		     "a program that rewrites addresses before us hides virtual addresses from us there; "
		     "bpftool prog show id N; sinewd(8), Other owners");
}

/* --- interfaces -------------------------------------------------------------------------------
 */

struct sentence {
	char text[200];
	size_t used, left_out;
};

/* Appends what fits, after `between` if it is not the first; counts the rest. */
__attribute__((format(printf, 3, 4))) static void say(struct sentence *s, const char *between,
						      const char *format, ...)
{
	char one[96];
	va_list args;

	va_start(args, format);
	(void)vsnprintf(one, sizeof(one), format, args);
	va_end(args);
	if (s->used + strlen(between) + strlen(one) + sizeof(", and 1234 more") > sizeof(s->text))
		s->left_out++;
	else
		s->used += (size_t)snprintf(s->text + s->used, sizeof(s->text) - s->used, "%s%s",
					    s->used ? between : "", one);
}

static void end_list(struct sentence *s)
{
	if (s->left_out)
		s->used += (size_t)snprintf(s->text + s->used, sizeof(s->text) - s->used,
					    " and %zu more", s->left_out);
	s->left_out = 0;
}

/* "not on tun0 (no link-layer header)"; how many of these are a reason to worry. */
static size_t say_without(struct sentence *s, const struct interfaces *all)
{
	size_t n = 0, bad = 0;

	for (size_t i = 0; i < all->n; i++) {
		const struct iface *one = &all->all[i];

		if (one->state == IFACE_CARRIES || one->state == IFACE_ADOPTED)
			continue;
		say(s, n++ ? ", " : "; not on ", "%s (%s)", one->what.name, interfaces_why(one));
		bad += one->state == IFACE_FAILED || one->state == IFACE_HEADERLESS;
	}
	end_list(s);
	return bad;
}

static void say_others(struct sentence *s, const struct daemon *d)
{
	const struct inspect *i = &d->inspect;

	for (size_t at = 0; at < i->n_others; at++) {
		const struct tc_other *o = &i->others[at];
		const char *where = "gone";

		for (size_t n = 0; n < d->interfaces.n; n++)
			if (d->interfaces.all[n].what.index == o->ifindex)
				where = d->interfaces.all[n].what.name;
		say(s, at ? ", " : "; beside us ", "%s (%u) %s us on %s",
		    o->name[0] ? o->name : "program", o->program, o->before ? "before" : "after",
		    where);
	}
	end_list(s);
}

/* Those that carry our programs, then those that do not, then whose programs are there as well. */
static void check_wanted_interfaces(struct doctor *doctor)
{
	struct daemon *d = doctor->d;
	const struct interfaces *all = &d->interfaces;
	struct sentence s = {};
	size_t bad, n = 0;

	for (size_t i = 0; i < all->n; i++) {
		const struct iface *one = &all->all[i];

		if (one->state != IFACE_CARRIES)
			continue;
		if (!n++)
			say(&s, "", "%s on %s", interfaces_why(one), one->what.name);
		else
			say(&s, ", ", "%s", one->what.name);
	}
	end_list(&s);
	if (!n)
		say(&s, "", "no interface carries our programs");
	bad = say_without(&s, all);
	say_others(&s, d);
	if (!bad && n)
		(void)add(doctor, "failover", CHECK_OK, "%s", s.text);
	else
		hint(add(doctor, "failover", CHECK_WARN, "%s", s.text),
		     "a connect whose packets pass none of our programs gets the first backend's "
		     "error, as without failover; sinewd(8), failover.interfaces");
}

static void check_failover(struct doctor *doctor)
{
	const struct interfaces *all = &doctor->d->interfaces;

	if (doctor->d->config.failover_off)
		(void)add(doctor, "failover", CHECK_OK,
			  "off (failover.interfaces): connects do not fail over");
	else if (all->fd < 0)
		hint(add(doctor, "failover", CHECK_WARN, "network interfaces cannot be followed"),
		     "connects do not fail over; restart sinewd");
	else if (!(all->wants & WANTS_FAILOVER))
		(void)add(doctor, "failover", CHECK_OK,
			  "no service's policy allows it; nothing is attached to %zu interfaces",
			  all->n);
	else
		check_wanted_interfaces(doctor);
}

static void check_maps(struct doctor *doctor)
{
	struct map_fill fills[8];
	size_t n = read_map_fills(doctor->d->publish, fills, ARRAY_SIZE(fills));
	const struct map_fill *fullest = &fills[0];

	for (size_t i = 1; i < n; i++)
		if (fills[i].used * fullest->max > fullest->used * fills[i].max)
			fullest = &fills[i];
	if (fullest->used * 10 < fullest->max * 9)
		(void)add(doctor, "maps", CHECK_OK, "fullest is %s, %lu%%", fullest->name,
			  (unsigned long)(fullest->used * 100 / fullest->max));
	else
		hint(add(doctor, "maps", CHECK_WARN, "%s is %lu%% full", fullest->name,
			 (unsigned long)(fullest->used * 100 / fullest->max)),
		     "services that do not fit will be refused whole");
}

static void check_counter(struct doctor *doctor, enum sn_reason reason, const char *name,
			  const char *text, const char *what_to_do)
{
	uint64_t n = read_node_count(&doctor->d->kernel, reason);

	if (!n)
		(void)add(doctor, name, CHECK_OK, "%s: 0", text);
	else
		hint(add(doctor, name, CHECK_WARN, "%s: %lu", text, (unsigned long)n), "%s",
		     what_to_do);
}

static void check_state(struct doctor *doctor)
{
	struct daemon *d = doctor->d;
	size_t aside = persist_aside(&d->persist);

	if (!d->persist.failing && aside)
		hint(add(doctor, "state", CHECK_WARN, "%zu state files below %s could not be read",
			 aside, d->config.state),
		     "they are kept as .bad; the kernel keeps what they declared until their source is declared again");
	else if (!d->persist.failing)
		(void)add(doctor, "state", CHECK_OK, "declared services are on disk below %s",
			  d->config.state);
	else
		hint(add(doctor, "state", CHECK_FAIL, "%lu writes below %s failed",
			 (unsigned long)d->persist.failures, d->config.state),
		     "is the disk full or read-only? the kernel keeps serving, a restart would forget");
}

/* " shop/payments, shop/mail ..." as many as fit */
static void name_service(char *text, size_t size, const struct service *s)
{
	size_t used = strlen(text);

	if (used + strlen(s->namespace) + strlen(s->name) + 8 < size)
		(void)snprintf(text + used, size - used, "%s%s/%s", used ? ", " : " ", s->namespace,
			       s->name);
}

struct ailing {
	size_t degraded, none, panics;
	char without[80], panicking[80];
};

static void look_at_service(const struct daemon *d, const struct service *s, struct ailing *a)
{
	struct service_state state = {};
	size_t usable = read_usable(d->publish, s), draining = 0;

	for (size_t i = 0; i < s->n_endpoints; i++)
		draining += s->endpoints[i].weight == 0;
	(void)read_state(d->publish, s, &state);
	a->degraded += usable + draining < s->n_endpoints || !usable || state.ejected || state.held;
	if (!usable && a->none++ < 3)
		name_service(a->without, sizeof(a->without), s);
	if (state.panic_ns && a->panics++ < 3)
		name_service(a->panicking, sizeof(a->panicking), s);
}

static void check_services(struct doctor *doctor)
{
	const struct daemon *d = doctor->d;
	struct ailing a = {};
	size_t n;
	struct service *const *all = store_services(d->store, &n);

	for (size_t i = 0; i < n; i++)
		look_at_service(d, all[i], &a);
	if (!a.panics && !a.none)
		(void)add(doctor, "services", CHECK_OK, "%zu, %zu of them degraded", n, a.degraded);
	else
		hint(add(doctor, "services", CHECK_WARN,
			 "%zu, %zu of them degraded; in panic %zu%s; without backend %zu%s", n,
			 a.degraded, a.panics, a.panicking, a.none, a.without),
		     "sinewctl describe service NAME tells which backends are missing, and why");
}

size_t doctor_run(struct daemon *d)
{
	struct doctor doctor = {.d = d};

	check_kernel(&doctor);
	check_cgroup(&doctor);
	check_others(&doctor);
	check_failover(&doctor);
	check_maps(&doctor);
	check_counter(
		&doctor, SN_R_EVENT_LOST, "events", "events that found the ring full",
		"counters are exact all the same; more than a burst means a flood of failures");
	check_counter(&doctor, SN_R_REVERSE_MISS, "datagrams",
		      "replies whose service was forgotten",
		      "sockets that talk to very many services at once crowd each other out");
	check_counter(&doctor, SN_R_BAD_MAP, "integrity", "map entries that led nowhere",
		      "please report this with the log");
	check_state(&doctor);
	check_services(&doctor);
	return doctor.n;
}
