/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See forward.h. Before: server.c was asked for somebody else's name. After: upstream.c judges what
 * comes back. A question is a chain of tries, one at a time: a resolver over UDP, the same over
 * TCP, the next one. Must never let an answer count that was not asked for.
 */
#include "dns/forward.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/cleanup.h"
#include "dns/door.h"

#define ROUNDS 2        /* how often each resolver is asked */
#define FOREIGN_MOST 16 /* datagrams that are no answer: then somebody is guessing */
#define DATAGRAM 65535

/* A socket's life, which may be longer than its question's: handles close later. */
struct
try {
	struct dns_asked *asked; /* NULL: nobody waits for it any more */
	struct dns_forward *forward;
	union {
		uv_handle_t handle;
		uv_udp_t udp;
		uv_tcp_t tcp;
	};
	uv_connect_t connect;
	uv_write_t write;
	unsigned int foreign;
	size_t used;
	uint8_t out[2 + DNS_UPSTREAM_QUERY];
	uint8_t *in; /* TCP: 2 + DATAGRAM bytes */
};

struct dns_asked {
	struct dns_asked *next, **at;
	struct dns_forward *forward;
	struct dns_question question;
	struct dns_upstream upstream;
	uv_timer_t timer;
	uint64_t until_ms; /* loop time */
	size_t first;      /* resolver */
	unsigned int tries;
	bool over_tcp;
	struct try *try; /* NULL: between two */
	uint8_t *kept;   /* of a resolver that could not tell: better than nothing */
	size_t n_kept;
};

struct dns_forward {
	uv_loop_t *loop;
	struct dns_resolver resolvers[DNS_RESOLVERS];
	size_t n, preferred;
	struct dns_asked *asked;
	size_t n_asked, open; /* questions; handles not yet closed */
	bool closing;
	struct dns_forward_counts counts;
	char in[DATAGRAM];
};

static void forward_free_when_done(struct dns_forward *f)
{
	if (f->closing && !f->open)
		free(f);
}

/* --- the end of a try, of a question ------------------------------------------------------- */

static void on_try_closed(uv_handle_t *handle)
{
	struct try *t = handle->data;
	struct dns_forward *f = t->forward;

	free(t->in);
	free(t);
	f->open--;
	forward_free_when_done(f);
}

static void try_end(struct dns_asked *a)
{
	struct try *t = TAKE_PTR(a->try);

	if (!t)
		return;
	t->asked = NULL;
	uv_close(&t->handle, on_try_closed);
}

static void on_timer_closed(uv_handle_t *handle)
{
	struct dns_asked *a = handle->data;
	struct dns_forward *f = a->forward;

	free(a->kept);
	free(a);
	f->open--;
	forward_free_when_done(f);
}

void dns_forward_cancel(struct dns_asked *a)
{
	if (!a)
		return;
	try_end(a);
	*a->at = a->next;
	if (a->next)
		a->next->at = a->at;
	a->forward->n_asked--;
	uv_close((uv_handle_t *)&a->timer, on_timer_closed);
}

static void finish(struct dns_asked *a, uint8_t *answer, size_t n)
{
	const struct dns_question question = a->question;
	uint8_t none[DNS_UPSTREAM_QUERY];

	if (n)
		a->forward->counts.answered++;
	else
		a->forward->counts.unanswered++;
	dns_forward_cancel(a); /* its memory, and the answer's, stays until the loop turns */
	question.on_done(question.arg, &a->upstream, n ? answer : none, n);
}

static void on_timer(uv_timer_t *timer);

/* The next resolver, from the loop. */
static void go_on(struct dns_asked *a)
{
	try_end(a);
	a->over_tcp = a->question.over_tcp;
	a->tries++;
	(void)uv_timer_start(&a->timer, on_timer, 0, 0);
}

static void go_on_over_tcp(struct dns_asked *a)
{
	try_end(a);
	a->over_tcp = true;
	a->forward->counts.over_tcp++;
	(void)uv_timer_start(&a->timer, on_timer, 0, 0);
}

/* --- what came back ------------------------------------------------------------------------ */

static void keep(struct dns_asked *a, const uint8_t *answer, size_t n)
{
	uint8_t *copy = malloc(n < DNS_UPSTREAM_QUERY ? DNS_UPSTREAM_QUERY : n);

	if (!copy)
		return;
	memcpy(copy, answer, n);
	free(a->kept);
	a->kept = copy;
	a->n_kept = n;
}

static void take(struct try *t, uint8_t *answer, size_t n)
{
	struct dns_asked *a = t->asked;
	enum dns_upstream_word word = dns_upstream_read(&a->upstream, answer, n);

	if (word == DNS_UPSTREAM_ANSWERED) {
		a->forward->preferred = (a->first + a->tries) % a->forward->n;
		finish(a, answer, n);
	} else if (word == DNS_UPSTREAM_TRUNCATED && !a->over_tcp) {
		go_on_over_tcp(a);
	} else if (word == DNS_UPSTREAM_FOREIGN && !a->over_tcp) {
		a->forward->counts.foreign++;
		if (++t->foreign == FOREIGN_MOST)
			go_on_over_tcp(a);
	} else {
		if (word == DNS_UPSTREAM_UNABLE)
			keep(a, answer, n);
		go_on(a);
	}
}

/* --- UDP ----------------------------------------------------------------------------------- */

static void on_udp_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *ret)
{
	struct try *t = handle->data;

	*ret = uv_buf_init(t->forward->in, sizeof(t->forward->in));
}

static void on_udp(uv_udp_t *udp, ssize_t n, const uv_buf_t *buf, const struct sockaddr *peer,
		   unsigned int flags)
{
	struct try *t = udp->data;

	if (!t->asked || (!n && !peer))
		return;
	if (n < 0) /* nobody is there: the kernel heard so */
		go_on(t->asked);
	else if (!(flags & UV_UDP_PARTIAL))
		take(t, (uint8_t *)buf->base, (size_t)n);
}

/* The kernel chooses the port, by chance, and passes on datagrams of the resolver alone. */
static int udp_start(struct try *t, const struct sockaddr_storage *to)
{
	const struct dns_upstream *u = &t->asked->upstream;
	uv_buf_t out = uv_buf_init((char *)u->data, (unsigned int)u->length);
	int r = uv_udp_connect(&t->udp, (const struct sockaddr *)to);

	if (r >= 0)
		r = uv_udp_recv_start(&t->udp, on_udp_alloc, on_udp);
	return r < 0 ? r : uv_udp_try_send(&t->udp, &out, 1, NULL);
}

/* --- TCP ----------------------------------------------------------------------------------- */

static void on_tcp_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *ret)
{
	struct try *t = handle->data;

	*ret = uv_buf_init((char *)t->in + t->used, (unsigned int)(2 + DATAGRAM - t->used));
}

static void on_tcp(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
	struct try *t = stream->data;
	size_t want;

	if (!t->asked)
		return;
	if (n < 0) {
		go_on(t->asked);
		return;
	}
	t->used += (size_t)n;
	want = t->used < 2 ? DATAGRAM : (size_t)t->in[0] << 8 | t->in[1];
	if (t->used >= 2 + want)
		take(t, t->in + 2, want);
}

static void on_written(uv_write_t *write, int status)
{
	struct try *t = write->data;

	if (status < 0 && t->asked)
		go_on(t->asked);
}

static void on_connected(uv_connect_t *connect, int status)
{
	struct try *t = connect->data;
	size_t n;
	uv_buf_t out;

	if (!t->asked)
		return;
	n = t->asked->upstream.length;
	t->out[0] = (uint8_t)(n >> 8);
	t->out[1] = (uint8_t)n;
	memcpy(t->out + 2, t->asked->upstream.data, n);
	out = uv_buf_init((char *)t->out, (unsigned int)(2 + n));
	t->write.data = t;
	if (status < 0 || uv_read_start((uv_stream_t *)&t->tcp, on_tcp_alloc, on_tcp) < 0 ||
	    uv_write(&t->write, (uv_stream_t *)&t->tcp, &out, 1, on_written) < 0)
		go_on(t->asked);
}

static int tcp_start(struct try *t, const struct sockaddr_storage *to)
{
	t->in = malloc(2 + DATAGRAM);
	if (!t->in)
		return -ENOMEM;
	t->connect.data = t;
	return uv_tcp_connect(&t->connect, &t->tcp, (const struct sockaddr *)to, on_connected);
}

/* --- one try ------------------------------------------------------------------------------- */

/* An id for each try: a late answer to the one before is none to this. */
static int renew_id(struct dns_asked *a)
{
	uint8_t id[2];

	if (getrandom(id, sizeof(id), 0) != sizeof(id))
		return -EIO;
	memcpy(a->upstream.data, id, sizeof(id));
	return 0;
}

static int try_begin(struct dns_asked *a)
{
	struct dns_forward *f = a->forward;
	const struct dns_resolver *to = &f->resolvers[(a->first + a->tries) % f->n];
	struct try *t = calloc(1, sizeof(*t));
	struct sockaddr_storage name;
	int r;

	if (!t)
		return -ENOMEM;
	r = a->over_tcp ? uv_tcp_init(f->loop, &t->tcp) : uv_udp_init(f->loop, &t->udp);
	if (r < 0) {
		free(t);
		return r;
	}
	f->open++;
	t->forward = f;
	t->asked = a;
	t->handle.data = t;
	a->try = t;
	r = renew_id(a);
	dns_door_sockaddr(&to->addr, to->port, &name);
	if (r >= 0)
		r = a->over_tcp ? tcp_start(t, &name) : udp_start(t, &name);
	return r;
}

static void on_timer(uv_timer_t *timer)
{
	struct dns_asked *a = timer->data;
	struct dns_forward *f = a->forward;
	uint64_t now = uv_now(f->loop), wait;

	if (a->try) { /* it was given its time */
		try_end(a);
		a->over_tcp = a->question.over_tcp;
		a->tries++;
	}
	if (a->tries >= ROUNDS * f->n || now >= a->until_ms) {
		finish(a, a->kept, a->n_kept);
		return;
	}
	wait = a->until_ms - now < DNS_TRY_MS ? a->until_ms - now : DNS_TRY_MS;
	if (try_begin(a) < 0)
		go_on(a);
	else
		(void)uv_timer_start(&a->timer, on_timer, wait, 0);
}

int dns_forward_begin(struct dns_forward *f, const struct dns_question *question,
		      struct dns_asked **ret)
{
	struct dns_asked *a;
	int r;

	if (f->n_asked >= DNS_PENDING) {
		f->counts.refused++;
		return -EBUSY;
	}
	a = calloc(1, sizeof(*a));
	if (!a)
		return -ENOMEM;
	r = dns_upstream_make(question->query, question->length, 0, &a->upstream);
	if (r < 0) {
		free(a);
		return r;
	}
	a->forward = f;
	a->question = *question;
	a->over_tcp = question->over_tcp;
	a->until_ms = uv_now(f->loop) + DNS_PATIENCE_MS;
	a->first = f->preferred;
	(void)uv_timer_init(f->loop, &a->timer); /* cannot fail */
	(void)uv_timer_start(&a->timer, on_timer, 0, 0);
	a->timer.data = a;
	f->open++;
	f->n_asked++;
	f->counts.asked++;
	a->next = f->asked;
	a->at = &f->asked;
	if (a->next)
		a->next->at = &a->next;
	f->asked = a;
	*ret = a;
	return 0;
}

/* --- all of it ----------------------------------------------------------------------------- */

int dns_forward_new(uv_loop_t *loop, const struct dns_resolver *resolvers, size_t n,
		    struct dns_forward **ret)
{
	struct dns_forward *f;

	if (!n || n > DNS_RESOLVERS)
		return -EINVAL;
	f = calloc(1, sizeof(*f));
	if (!f)
		return -ENOMEM;
	f->loop = loop;
	f->n = n;
	memcpy(f->resolvers, resolvers, n * sizeof(*resolvers));
	*ret = f;
	return 0;
}

void dns_forward_close(struct dns_forward *f)
{
	if (!f)
		return;
	f->closing = true;
	while (f->asked)
		dns_forward_cancel(f->asked);
	forward_free_when_done(f);
}

const struct dns_forward_counts *dns_forward_counts(const struct dns_forward *f)
{
	return &f->counts;
}
