/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See server.h. A datagram is answered within its callback; a stream is a queue of one: a client's
 * next query is taken when its answer was written, so that no client makes us hold more than one
 * answer, and nothing is read that there is no room for: those who ask much at once wait (RFC
 * 7766, 6.2.1.1). What a forward is asked waits in a list, which that bounds.
 */
#include "dns/server.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"

#define BATCH 16 /* datagrams of one recvmmsg */
#define HANDLES 2

/* Somebody else's name, asked of a resolver; for a stream, or for the sender of a datagram. */
struct pending {
	struct pending *next, **at;
	struct dns_server *server;
	struct dns_asked *asked;
	struct stream *stream; /* NULL: a datagram */
	uint64_t hash;         /* of the query, with its id */
	struct sockaddr_storage peer;
	struct dns_upstream_asker asker;
};

struct stream {
	struct stream *next, **at;
	struct dns_server *server;
	uv_tcp_t tcp;
	uv_timer_t idle;
	uv_write_t write;
	unsigned int open;  /* handles not yet closed */
	bool closing, busy; /* busy: an answer is awaited, or written */
	bool ended;         /* nothing more will come */
	struct pending *pending;
	size_t used;
	uint8_t in[2 + 4096]; /* a query is short; one that does not fit is none */
	uint8_t out[2 + DNS_MESSAGE];
};

struct dns_server {
	uv_loop_t *loop;
	uv_udp_t udp;
	uv_tcp_t tcp;
	struct dns_answerer *answerer;
	struct dns_table *table;
	struct dns_forward *forward;
	struct pending *pending;
	struct dns_counts counts;
	struct stream *streams;
	size_t n_streams;
	unsigned int open;
	uint16_t port;
	bool closing;
	void (*on_closed)(void *arg);
	void *closed_arg;
	char in[BATCH * (64 << 10)]; /* libuv cuts it in pieces of 64 KiB */
	uint8_t out[DNS_MESSAGE];
};

static void server_free_when_done(struct dns_server *s)
{
	void (*on_closed)(void *arg) = s->on_closed;
	void *arg = s->closed_arg;

	if (s->open || s->n_streams)
		return;
	dns_answerer_free(s->answerer);
	dns_table_free(s->table);
	free(s);
	if (on_closed)
		on_closed(arg);
}

static enum dns_verdict server_answer(struct dns_server *s, const struct dns_query *query,
				      uint8_t *out, struct dns_written *ret)
{
	enum dns_verdict verdict = dns_answer(s->answerer, s->table, query, out, ret);

	if (verdict == DNS_DROP)
		s->counts.dropped++;
	if (verdict != DNS_SEND)
		return verdict;
	s->counts.rcodes[ret->rcode % DNS_RCODES]++;
	s->counts.truncated += ret->truncated;
	return verdict;
}

/* --- names of others ---------------------------------------------------------------------- */

static void pending_free(struct pending *p)
{
	*p->at = p->next;
	if (p->next)
		p->next->at = p->at;
	if (p->stream)
		p->stream->pending = NULL;
	dns_forward_cancel(p->asked);
	free(p);
}

static void stream_send(struct stream *c, size_t length);
static void datagram_send(struct dns_server *s, const uint8_t *data, size_t n,
			  const struct sockaddr *peer);

static void on_forwarded(void *arg, const struct dns_upstream *u, uint8_t *answer, size_t n)
{
	struct pending *p = arg;
	struct dns_server *s = p->server;
	struct stream *c = p->stream;
	size_t length = n ? dns_upstream_finish(u, &p->asker, answer, n)
			  : dns_upstream_fail(u, p->asker.id, answer);

	p->asked = NULL;
	s->counts.forwarded++;
	s->counts.truncated += length < n;
	if (c)
		memcpy(c->out + 2, answer, length);
	else
		datagram_send(s, answer, length, (const struct sockaddr *)&p->peer);
	pending_free(p);
	if (c)
		stream_send(c, length);
}

static uint16_t id_of(const struct dns_query *query)
{
	return (uint16_t)(query->data[0] << 8 | query->data[1]);
}

/* Whoever did not wait asks again; one of each question is enough. Some ask all with one id. */
static bool is_asked(const struct dns_server *s, const struct sockaddr_storage *peer,
		     const struct dns_query *query)
{
	uint64_t hash = text_hash(query->data, query->length, 0);

	for (const struct pending *p = s->pending; p; p = p->next)
		if (!p->stream && p->hash == hash && !memcmp(&p->peer, peer, sizeof(*peer)))
			return true;
	return false;
}

static struct pending *pending_new(struct dns_server *s, const struct dns_query *query,
				   size_t limit)
{
	struct pending *p = calloc(1, sizeof(*p));

	if (!p)
		return NULL;
	p->server = s;
	p->asker = (struct dns_upstream_asker){id_of(query), limit};
	p->hash = text_hash(query->data, query->length, 0);
	p->next = s->pending;
	p->at = &s->pending;
	if (p->next)
		p->next->at = &p->next;
	s->pending = p;
	return p;
}

/* `out` holds what is to be asked. Not asked: it holds the answer that says so, of *ret_n bytes. */
static int pending_begin(struct pending *p, uint8_t *out, size_t n, size_t *ret_n)
{
	const struct dns_question question = {
		.query = out, .length = n, .on_done = on_forwarded, .arg = p};
	struct dns_server *s = p->server;
	struct dns_upstream u;
	int r = dns_forward_begin(s->forward, &question, &p->asked);

	if (r >= 0)
		return r;
	*ret_n = dns_upstream_make(out, n, 0, &u) < 0 ? 0 : dns_upstream_fail(&u, p->asker.id, out);
	pending_free(p);
	return r;
}

/* --- UDP ---------------------------------------------------------------------------------- */

static void on_udp_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *ret)
{
	struct dns_server *s = handle->data;

	*ret = uv_buf_init(s->in, sizeof(s->in));
}

static void datagram_send(struct dns_server *s, const uint8_t *data, size_t n,
			  const struct sockaddr *peer)
{
	uv_buf_t out = uv_buf_init((char *)data, (unsigned int)n);

	if (uv_udp_try_send(&s->udp, &out, 1, peer) < 0)
		s->counts.dropped++;
}

static void datagram_forward(struct dns_server *s, const struct dns_query *query,
			     const struct dns_written *w, const struct sockaddr *peer)
{
	struct sockaddr_storage name = {};
	struct pending *p;
	size_t n;

	memcpy(&name, peer,
	       peer->sa_family == AF_INET ? sizeof(struct sockaddr_in)
					  : sizeof(struct sockaddr_in6));
	if (is_asked(s, &name, query))
		return;
	p = pending_new(s, query, w->limit);
	if (!p) {
		s->counts.dropped++;
		return;
	}
	p->peer = name;
	if (pending_begin(p, s->out, w->length, &n) < 0 && n)
		datagram_send(s, s->out, n, peer);
}

static void on_udp(uv_udp_t *udp, ssize_t n, const uv_buf_t *buf, const struct sockaddr *peer,
		   unsigned int flags)
{
	struct dns_server *s = udp->data;
	struct dns_written written;
	struct dns_query query;

	if (n <= 0 || !peer)
		return;
	s->counts.queries_udp++;
	if (flags & UV_UDP_PARTIAL) {
		s->counts.dropped++;
		return;
	}
	query = (struct dns_query){(const uint8_t *)buf->base, (size_t)n, 512};
	switch (server_answer(s, &query, s->out, &written)) {
	case DNS_SEND:
		datagram_send(s, s->out, written.length, peer);
		break;
	case DNS_FORWARD:
		datagram_forward(s, &query, &written, peer);
		break;
	case DNS_DROP:
		break;
	}
}

/* --- TCP ---------------------------------------------------------------------------------- */

static void on_stream_closed(uv_handle_t *handle)
{
	struct stream *c = handle->data;
	struct dns_server *s = c->server;

	if (--c->open)
		return;
	*c->at = c->next;
	if (c->next)
		c->next->at = c->at;
	free(c);
	s->n_streams--;
	if (s->closing)
		server_free_when_done(s);
}

static void stream_close(struct stream *c)
{
	if (c->closing)
		return;
	c->closing = true;
	if (c->pending)
		pending_free(c->pending);
	uv_close((uv_handle_t *)&c->tcp, on_stream_closed);
	uv_close((uv_handle_t *)&c->idle, on_stream_closed);
}

static void on_idle(uv_timer_t *timer)
{
	stream_close(timer->data);
}

static void stream_next(struct stream *c);

static void on_written(uv_write_t *write, int status)
{
	struct stream *c = write->data;

	c->busy = false;
	if (c->closing)
		return;
	if (status < 0)
		stream_close(c);
	else
		stream_next(c);
}

static void stream_send(struct stream *c, size_t length)
{
	uv_buf_t buf = uv_buf_init((char *)c->out, (unsigned int)(2 + length));

	c->out[0] = (uint8_t)(length >> 8);
	c->out[1] = (uint8_t)length;
	c->write.data = c;
	c->busy = true;
	(void)uv_timer_again(&c->idle);
	if (uv_write(&c->write, (uv_stream_t *)&c->tcp, &buf, 1, on_written) < 0)
		stream_close(c);
}

/* What is to be asked stands where the answer will. */
static void stream_forward(struct stream *c, const struct dns_query *query, size_t length)
{
	struct dns_server *s = c->server;
	struct pending *p = pending_new(s, query, DNS_MESSAGE);
	size_t n;

	if (!p) {
		stream_close(c);
		return;
	}
	p->stream = c;
	c->pending = p;
	c->busy = true;
	if (pending_begin(p, c->out + 2, length, &n) >= 0)
		return;
	if (n)
		stream_send(c, n);
	else
		stream_close(c);
}

static void on_stream_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *ret);
static void on_stream(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf);

/* Reads on, unless it does. */
static void stream_read(struct stream *c)
{
	int r = c->ended ? 0 : uv_read_start((uv_stream_t *)&c->tcp, on_stream_alloc, on_stream);

	if (r < 0 && r != UV_EALREADY)
		stream_close(c);
}

/* Takes the next query that has arrived whole. */
static void stream_next(struct stream *c)
{
	struct dns_server *s = c->server;
	size_t want = c->used < 2 ? 0 : (size_t)c->in[0] << 8 | c->in[1];
	enum dns_verdict verdict;
	struct dns_written written;
	struct dns_query query;

	if (c->used < 2 || (want + 2 <= sizeof(c->in) && c->used < want + 2)) {
		if (c->ended)
			stream_close(c);
		return;
	}
	s->counts.queries_tcp++;
	if (want + 2 > sizeof(c->in)) {
		s->counts.dropped++;
		stream_close(c);
		return;
	}
	query = (struct dns_query){c->in + 2, want, DNS_MESSAGE};
	verdict = server_answer(s, &query, c->out + 2, &written);
	if (verdict == DNS_FORWARD)
		stream_forward(c, &query, written.length);
	c->used -= want + 2;
	memmove(c->in, c->in + want + 2, c->used);
	stream_read(c);
	if (c->closing)
		return;
	if (verdict == DNS_SEND)
		stream_send(c, written.length);
	else if (verdict == DNS_DROP)
		stream_close(c);
}

static void on_stream_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *ret)
{
	struct stream *c = handle->data;

	*ret = uv_buf_init((char *)c->in + c->used, (unsigned int)(sizeof(c->in) - c->used));
}

static void on_stream(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
	struct stream *c = stream->data;

	if (n < 0 && n != UV_EOF) {
		stream_close(c);
		return;
	}
	c->ended = n < 0; /* what was asked before is answered */
	c->used += n > 0 ? (size_t)n : 0;
	if (c->ended || c->used == sizeof(c->in))
		(void)uv_read_stop(stream);
	if (!c->busy)
		stream_next(c);
}

static void stream_start(struct dns_server *s, struct stream *c)
{
	c->next = s->streams;
	c->at = &s->streams;
	if (c->next)
		c->next->at = &c->next;
	s->streams = c;
	s->n_streams++;
	c->open = HANDLES;
	(void)uv_timer_init(s->loop, &c->idle);
	c->server = s;
	c->tcp.data = c->idle.data = c;
	if (s->n_streams > DNS_CONNECTIONS)
		s->counts.refused_connections++;
	if (uv_accept((uv_stream_t *)&s->tcp, (uv_stream_t *)&c->tcp) < 0 ||
	    s->n_streams > DNS_CONNECTIONS ||
	    uv_timer_start(&c->idle, on_idle, DNS_IDLE_MS, DNS_IDLE_MS) < 0)
		stream_close(c);
	else
		stream_read(c);
}

static void on_connection(uv_stream_t *listener, int status)
{
	struct dns_server *s = listener->data;
	struct stream *c = status < 0 ? NULL : calloc(1, sizeof(*c));

	if (c && uv_tcp_init(s->loop, &c->tcp) < 0) {
		free(c);
		return;
	}
	if (c)
		stream_start(s, c);
}

/* --- the server --------------------------------------------------------------------------- */

static void on_handle_closed(uv_handle_t *handle)
{
	struct dns_server *s = handle->data;

	s->open--;
	server_free_when_done(s);
}

void dns_server_close(struct dns_server *s, void (*on_closed)(void *arg), void *arg)
{
	if (!s || s->closing)
		return;
	s->closing = true;
	s->on_closed = on_closed;
	s->closed_arg = arg;
	for (struct stream *c = s->streams; c; c = c->next)
		stream_close(c);
	while (s->pending)
		pending_free(s->pending);
	uv_close((uv_handle_t *)&s->udp, on_handle_closed);
	uv_close((uv_handle_t *)&s->tcp, on_handle_closed);
}

/* Takes the door's sockets, one by one. */
static int server_listen(struct dns_server *s, struct dns_door *door)
{
	int r = uv_udp_open(&s->udp, door->udp);

	if (r < 0)
		return r;
	door->udp = -1;
	r = uv_tcp_open(&s->tcp, door->tcp);
	if (r < 0)
		return r;
	door->tcp = -1;
	r = uv_listen((uv_stream_t *)&s->tcp, DNS_CONNECTIONS, on_connection);
	return r < 0 ? r : uv_udp_recv_start(&s->udp, on_udp_alloc, on_udp);
}

static int server_init(struct dns_server *s)
{
	int r = uv_udp_init_ex(s->loop, &s->udp, AF_UNSPEC | UV_UDP_RECVMMSG);

	if (r < 0)
		return r;
	s->udp.data = s;
	s->open++;
	r = uv_tcp_init(s->loop, &s->tcp);
	if (r < 0)
		return r;
	s->tcp.data = s;
	s->open++;
	return 0;
}

static void server_undo(struct dns_server *s)
{
	s->closing = true;
	if (s->open == HANDLES)
		uv_close((uv_handle_t *)&s->tcp, on_handle_closed);
	if (s->open)
		uv_close((uv_handle_t *)&s->udp, on_handle_closed);
	else
		server_free_when_done(s);
}

int dns_server_open(uv_loop_t *loop, const struct dns_settings *settings, struct dns_door *door,
		    struct dns_forward *forward, struct dns_server **ret)
{
	struct dns_server *s = calloc(1, sizeof(*s));
	int r = s ? dns_answerer_new(settings, &s->answerer) : -ENOMEM;

	if (r >= 0) {
		s->loop = loop;
		s->port = door->port;
		s->forward = forward;
		r = server_init(s);
	}
	if (r >= 0)
		r = server_listen(s, door);
	dns_door_close(door);
	if (r < 0) {
		if (s)
			server_undo(s);
		return r;
	}
	*ret = s;
	return 0;
}

uint16_t dns_server_port(const struct dns_server *s)
{
	return s->port;
}

void dns_server_set_table(struct dns_server *s, struct dns_table *table)
{
	dns_table_free(s->table);
	s->table = table;
}

const struct dns_counts *dns_server_counts(const struct dns_server *s)
{
	return &s->counts;
}
