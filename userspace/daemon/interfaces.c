/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See interfaces.h. After kernel/interface (news) and kernel/wants (policies); before kernel/tc,
 * which attaches. Programs are attached where they are needed only, as they cost each packet a
 * little; they are taken away only when no connection lives by them.
 */
#include "daemon/interfaces.h"

#include <errno.h>
#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "daemon/daemon.h"
#include "kernel/tidy.h"
#include "kernel/wants.h"

#define RECEIVES_PER_TURN 64
#define LOOKS_PER_TICK 16
#define TIDY_TICKS 5 /* between two looks for what may be forgotten */

const char *interfaces_why(const struct iface *i)
{
	switch (i->state) {
	case IFACE_CARRIES:
		return i->how == TC_CLSACT ? "clsact" : "tcx";
	case IFACE_UNLISTED:
		return "not one of failover.interfaces";
	case IFACE_HEADERLESS:
		return "no link-layer header";
	case IFACE_FAILED:
		return strerror(-i->error);
	case IFACE_IDLE:
	case IFACE_ADOPTED:
		break;
	}
	return "no policy allows failover";
}

/* --- one interface ----------------------------------------------------------------------------
 */

static bool is_listed(const struct daemon *d, const char *name)
{
	bool listed = !d->config.n_failover;

	for (size_t i = 0; i < d->config.n_failover && !listed; i++)
		listed = fnmatch(d->config.failover[i], name, 0) == 0;
	return listed;
}

static enum interface_state state_wanted(const struct daemon *d, const struct iface *i)
{
	if (d->config.failover_off || !is_listed(d, i->what.name))
		return IFACE_UNLISTED;
	if (!interface_has_header(&i->what))
		return IFACE_HEADERLESS;
	return d->interfaces.wants & WANTS_FAILOVER ? IFACE_CARRIES : IFACE_IDLE;
}

static void attach(struct daemon *d, struct iface *i)
{
	int r = tc_attach(&d->kernel, i->what.index, &i->how);

	if (r >= 0)
		log_debug("interface %s carries our programs by %s", i->what.name,
			  i->how == TC_CLSACT ? "clsact" : "tcx");
	else if (r != -ENODEV && (i->state != IFACE_FAILED || i->error != r))
		(void)log_warn_r(
			r, "interface %s: cannot attach; connects through it do not fail over",
			i->what.name);
	i->state = r < 0 ? IFACE_FAILED : IFACE_CARRIES;
	i->error = r;
}

static void detach(struct daemon *d, uint32_t ifindex)
{
	_cleanup_free_ char *links = tc_folder(&d->kernel);

	if (links)
		(void)tc_detach(links, ifindex);
}

/* Brings one to what is wanted of it. Connections that were moved to another backend live by the
 * programs: while there is one, they stay. */
static void consider(struct daemon *d, struct iface *i)
{
	enum interface_state wanted = state_wanted(d, i);

	if (wanted == IFACE_CARRIES) {
		if (i->state != IFACE_CARRIES && i->state != IFACE_FAILED)
			attach(d, i);
		return;
	}
	if (i->state == IFACE_CARRIES || i->state == IFACE_ADOPTED) {
		if (wants_moved(&d->kernel))
			return;
		detach(d, i->what.index);
	}
	i->state = wanted;
}

/* --- all of them ------------------------------------------------------------------------------
 */

static struct iface *find(struct interfaces *s, uint32_t index)
{
	for (size_t i = 0; i < s->n; i++)
		if (s->all[i].what.index == index)
			return &s->all[i];
	return NULL;
}

static struct iface *add(struct interfaces *s, uint32_t index)
{
	struct iface *i = find(s, index);

	if (i)
		return i;
	if (s->n == INTERFACES_MAX) {
		if (!s->full)
			log_warn("more than %d interfaces: the others carry no programs",
				 INTERFACES_MAX);
		s->full = true;
		return NULL;
	}
	i = &s->all[s->n++];
	*i = (struct iface){.state = IFACE_IDLE};
	return i;
}

static void drop(struct daemon *d, struct iface *i)
{
	struct interfaces *s = &d->interfaces;

	detach(d, i->what.index); /* its pins; the kernel has removed the rest */
	*i = s->all[--s->n];
	s->full = false;
}

/* What was not told of in this round has gone unheard. Pins of interfaces that went while nobody
 * looked are cleared away. */
static void finish_round(struct daemon *d)
{
	_cleanup_free_ uint32_t *pinned = calloc(INTERFACES_MAX, sizeof(*pinned));
	_cleanup_free_ char *links = tc_folder(&d->kernel);
	struct interfaces *s = &d->interfaces;
	size_t n;

	for (size_t i = 0; i < s->n;)
		if (s->all[i].round != s->round)
			drop(d, &s->all[i]);
		else
			i++;
	n = pinned && links ? tc_list(links, pinned, INTERFACES_MAX) : 0;
	for (size_t i = 0; i < n; i++)
		if (!find(s, pinned[i]))
			(void)tc_detach(links, pinned[i]);
}

static void on_news(void *arg, enum interface_news news, const struct interface *what)
{
	struct daemon *d = arg;
	struct iface *i;

	if (news == INTERFACE_ALL) {
		finish_round(d);
		return;
	}
	if (news == INTERFACE_WENT) {
		i = find(&d->interfaces, what->index);
		if (i)
			drop(d, i);
		return;
	}
	i = add(&d->interfaces, what->index);
	if (!i)
		return;
	i->what = *what; /* it may have been renamed */
	i->round = d->interfaces.round;
	consider(d, i);
}

static void ask(struct daemon *d)
{
	d->interfaces.round++;
	if (interface_ask(d->interfaces.fd) < 0)
		log_warn("cannot ask for the network interfaces; new ones are still noticed");
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
	struct daemon *d = poll->data;
	int r = 0;

	if (status < 0) /* libuv has let go of a socket with an error; ours is one to go on from */
		(void)uv_poll_start(poll, UV_READABLE, on_readable);
	for (int i = 0; r == 0 && i < RECEIVES_PER_TURN; i++)
		r = interface_receive(d->interfaces.fd, d->interfaces.buffer, on_news, d);
	if (r == -ENOBUFS) /* more came than there was room for */
		ask(d);
}

/* --- the daemon's side ------------------------------------------------------------------------
 */

/* What an earlier run has left attached, until the kernel tells of the interfaces. */
static void adopt(struct daemon *d)
{
	_cleanup_free_ uint32_t *pinned = calloc(INTERFACES_MAX, sizeof(*pinned));
	_cleanup_free_ char *links = tc_folder(&d->kernel);
	size_t n = pinned && links ? tc_list(links, pinned, INTERFACES_MAX) : 0;

	for (size_t i = 0; i < n; i++) {
		struct iface *one = add(&d->interfaces, pinned[i]);

		if (!one)
			continue;
		one->what.index = pinned[i];
		one->state = IFACE_ADOPTED;
	}
}

static int open_news(struct daemon *d)
{
	struct interfaces *s = &d->interfaces;
	int r;

	s->fd = interface_open();
	if (s->fd < 0)
		return s->fd;
	r = uv_poll_init(&d->loop, &s->poll, s->fd);
	if (r < 0)
		return r;
	s->poll.data = d;
	s->open = true;
	r = uv_poll_start(&s->poll, UV_READABLE, on_readable);
	if (r >= 0)
		ask(d);
	return r;
}

int interfaces_start(struct daemon *d)
{
	struct interfaces *s = &d->interfaces;
	int r;

	s->fd = -1;
	s->all = calloc(INTERFACES_MAX, sizeof(*s->all));
	s->buffer = malloc(INTERFACE_BYTES);
	if (!s->all || !s->buffer)
		return -ENOMEM;
	adopt(d);
	interfaces_refresh(d);
	r = open_news(d);
	if (r < 0)
		(void)log_warn_r(r, "cannot follow network interfaces; connects do not fail over");
	return 0;
}

void interfaces_done(struct daemon *d)
{
	free(d->interfaces.all);
	free(d->interfaces.buffer);
	if (d->interfaces.fd > 0)
		(void)close(d->interfaces.fd);
	d->interfaces = (struct interfaces){.fd = -1};
}

void interfaces_refresh(struct daemon *d)
{
	struct interfaces *s = &d->interfaces;
	unsigned int old = s->wants;

	s->wants = wants_read(&d->kernel);
	for (size_t i = 0; i < s->n; i++)
		if (s->all[i].round)
			consider(d, &s->all[i]);
	if ((old ^ s->wants) & WANTS_TIMEOUTS)
		(void)daemon_swap(d); /* told there; the next change tries again */
}

static void look_after(struct daemon *d, struct iface *i)
{
	if (i->state == IFACE_FAILED) {
		attach(d, i);
	} else if (i->state == IFACE_CARRIES && !tc_is_live(&d->kernel, i->what.index)) {
		log_warn("interface %s had lost our programs; they are attached again",
			 i->what.name);
		attach(d, i);
	}
}

/* What was moved, and has closed long ago, is forgotten, or no interface were ever let go of. */
static void tidy(struct daemon *d)
{
	struct interfaces *s = &d->interfaces;

	if (++s->ticks % TIDY_TICKS == 0 && wants_moved(&d->kernel) > 0)
		(void)tidy_moved(&d->kernel); /* the next round tries again */
}

void interfaces_tick(struct daemon *d)
{
	struct interfaces *s = &d->interfaces;

	tidy(d);
	interfaces_refresh(d);
	for (int i = 0; i < LOOKS_PER_TICK && (size_t)i < s->n; i++)
		look_after(d, &s->all[s->next++ % s->n]);
}
