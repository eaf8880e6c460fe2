/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the files of this room share: the control, its two doors, and one request on its way from
 * bytes to an answer. Private to control/.
 */
#pragma once

#include <microhttpd.h>
#include <uv.h>
#include <yyjson.h>

#include "control/bytes.h"
#include "control/control.h"
#include "control/podlist.h"
#include "control/query.h"
#include "control/socket.h"

#define CHUNK (32u << 10)      /* bytes of an answer rendered before they are handed on */
#define STEP_NS 1000000u       /* time for one connection's chunk */
#define TURN_NS 3000000u       /* time for all chunks of one turn of the loop */
#define BODY_SMALL (64u << 10) /* such bodies have room whatever large ones take */
#define RECEIVE_MS 30000u   /* a request must be complete this long after its connection was free */
#define ANSWER_S 30u        /* an answer must make progress within */
#define HEARTBEAT_MS 15000u /* of an event stream */
#define PARAMS 3            /* of a path template */

struct route;
struct stream;
struct subscriber;
struct event_record;

struct control_counters {
	uint64_t answers[6];      /* by class: [2] is 2xx */
	uint64_t malformed;       /* not HTTP: answered by the HTTP library itself */
	uint64_t refused_clients; /* over LIMIT_CLIENTS */
	uint64_t slow_readers;
	uint64_t slow_senders;
};

/* One accepted connection. */
struct client {
	struct door *door;
	struct client *next, **link;
	int fd;           /* owned by the HTTP library */
	bool owes;        /* a request; false while it is being answered */
	uint64_t free_ms; /* loop time since when it owes one */
};

struct door {
	struct control *control;
	struct socket_file socket;
	struct MHD_Daemon *http;
	uv_poll_t accepts, events;
	uv_timer_t timer;
	struct client *clients;
	size_t n_clients;
	bool admin;
	bool due; /* the HTTP library has work in this turn */
};

struct control {
	uv_loop_t *loop;
	struct control_ops ops;
	uint64_t series_budget;
	bool backend_label;
	uint32_t receive_ms, answer_s, heartbeat_ms; /* RECEIVE_MS, ANSWER_S, HEARTBEAT_MS */
	uint32_t pods_ms;                            /* PODLIST_MS */
	struct door doors[2];
	uv_check_t turn;  /* after the loop has polled */
	uv_idle_t busy;   /* runs while there is more work, so that the loop does not sleep */
	uv_timer_t sweep; /* slow clients, heartbeats */
	uint64_t turn_end_ns;
	size_t body_bytes;       /* of all requests being received */
	struct request *waiting; /* suspended until their change is durable */
	struct subscriber *subscribers;
	size_t n_subscribers;
	/* Of single connects, and of all else: a flood of the former must not wash away the rest.
	 */
	struct event_ring {
		struct event_record *items; /* LIMIT_RECENT; NULL before the first */
		size_t n;                   /* ever */
	} recent[2];
	uint64_t n_told; /* events ever */
	struct podlist pods;
	struct control_counters counters;
	unsigned int n_handles;
	bool closing;
	void (*done)(void *arg);
	void *done_arg;
};

struct request {
	struct control *control;
	struct door *door;
	struct client *client;
	struct MHD_Connection *connection;
	struct control_caller caller;
	char *path; /* as sent, without the query */
	struct query query;
	const struct route *route;
	char *params[PARAMS]; /* decoded path parameters, in order */
	struct bytes body;
	bool begun, routed, answered;
	bool head;               /* a HEAD: the body is not sent */
	bool too_large, no_room; /* the body: over the limit; too many others */
	uint64_t discarded;
	struct request *next, **link; /* in control.waiting */
	bool suspended;
	bool inspected; /* the doctor has looked, or waits for it */
	int holding;    /* backends that it holds; waits for that to be on disk */
	int hold_result;
	struct MHD_Response *ready; /* the answer of a suspended request */
	unsigned int ready_status;
	char etag[48];
	char allow[64];
	bool retry;
	struct write *write; /* borrowed: the change that is being made durable */
};

int server_open(struct control *c, struct door *door, bool admin, const char *path);
/* Stops the HTTP library; every request of the door ends here. */
void server_stop(struct door *door);
void server_turn(struct door *door);
/* Slow clients of the door. */
void server_sweep(struct door *door, uint64_t now_ms);
/* A request waits for on_x; server_resume lets it go on. */
void server_suspend(struct request *q);
void server_resume(struct request *q);
/* There is work in the next turn. */
void control_wake(struct control *c, struct door *door);
/* Ends a client at once; its request is completed by the HTTP library later. */
void client_cut(struct client *client);
