/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What passes an interface: the doors at which a SYN that its backend refused, or did not answer,
 * goes on to the next one, and the connection that came of it is translated. One pair of programs
 * for every interface; user space attaches them. Packets that are not ours, and those that are
 * done, pass on to other programs.
 *
 * A client is LOCAL (its packets leave by egress) or BEHIND the interface (they enter by ingress).
 *
 * What the socket must not hear of is dropped (TC_ACT_SHOT): a tcx hook knows no TC_ACT_STOLEN and
 * would let the packet pass.
 */
#include "stage/failover.h"
#include "ctx.bpf.h"
#include "read.bpf.h"
#include "rewrite.bpf.h"
#include "stage/reborn.h"
#include "way.bpf.h"

#define SN_NOT_HERE (-2) /* beside TC_ACT_*: nothing is known of this packet */

#define SN_FAILED (-3)

/* skb->tc_index of a packet to a client that was translated on its way here: by the port of a
 * bridge, or by what a VLAN is on. */
#define SN_TRANSLATED 0x534e

#define SN_PACKET_HOST 0 /* include/uapi/linux/if_packet.h: for this very device */

/* The kernel's own wait for the answer to a first SYN (RFC 6298). */
#define SN_PATIENCE_FIRST_NS 1000000000ULL

/* A packet on its way through this interface. */
struct sn_passage {
	struct sn_packet packet;
	__u64 now;
	__u32 ifindex;
	__u32 is_ingress;
	__u32 found;  /* an entry's index + 1 */
	__u32 reason; /* why the connect would fail */
	__u8 state;   /* of the entry, before it became ours */
	__u8 is_partial;
	__u16 pad[3];
};
_Static_assert(sizeof(struct sn_passage) <= sizeof(struct sn_room), "no room for a passage");

/* The side of a client whose own packet, or whose answer, passes in this direction. */
static __always_inline __u8 sn_side_out(const struct sn_passage *at)
{
	return at->is_ingress ? SN_SIDE_BEHIND : SN_SIDE_LOCAL;
}

static __always_inline __u8 sn_side_in(const struct sn_passage *at)
{
	return at->is_ingress ? SN_SIDE_LOCAL : SN_SIDE_BEHIND;
}

/* Is it translated here? A local socket's packets may change their interface with the routes. */
static __always_inline int sn_is_here(const struct sn_passage *at, const struct sn_syn *syn,
				      __u8 side)
{
	return syn->side == side && (side == SN_SIDE_LOCAL || syn->ifindex == at->ifindex);
}

static __always_inline int sn_is_home(const struct sn_passage *at, const struct sn_syn *syn,
				      __u8 side)
{
	return syn->side == side && syn->ifindex == at->ifindex;
}

/* Is the connection's backend settled, or its attempt under way, elsewhere than the socket thinks?
 */
static __always_inline int sn_translates(const struct sn_syn *syn)
{
	return syn->moves && (syn->state == SN_SYN_MOVED || syn->state == SN_SYN_ANSWERED ||
			      syn->state == SN_SYN_CLOSED);
}

/* What came by the port of a bridge looks as if it were from the first backend. */
static __always_inline int sn_is_from_now(struct __sk_buff *skb, const struct sn_passage *at,
					  const struct sn_syn *syn, const struct sn_addr *peer,
					  __be16 port_be)
{
	return sn_syn_matches(syn, peer, port_be, SN_MATCH_NOW) ||
	       (at->is_ingress && skb->tc_index == SN_TRANSLATED);
}

static __always_inline int sn_is_open(const struct sn_syn *syn)
{
	return syn->state == SN_SYN_SAVED || syn->state == SN_SYN_MOVED;
}

/* The packet has a new destination; it may need another neighbour. */
static __always_inline int sn_send_out(struct __sk_buff *skb, const struct sn_passage *at,
				       const struct sn_syn *syn)
{
	if (at->is_ingress || at->ifindex == SN_LO || !at->packet.l3)
		return TC_ACT_UNSPEC;
	return sn_way_send(skb, at->ifindex, &syn->client, &syn->now);
}

/* Sends the SYN that the packet has become. */
static __always_inline int sn_send_syn(struct __sk_buff *skb, const struct sn_passage *at,
				       const struct sn_syn *syn)
{
	if (syn->side == SN_SIDE_BEHIND) {
		sn_rewrite_turn(skb, at->packet.l3);
		return bpf_redirect(at->ifindex, BPF_F_INGRESS);
	}
	if (at->ifindex == SN_LO || !at->packet.l3)
		return bpf_redirect(at->ifindex, 0);
	return sn_way_send(skb, at->ifindex, &syn->client, &syn->now);
}

/* Finds the next backend, moves the flow there, and writes it down. The entry is ours (busy).
 * Returns its port; 0: there is none, or the connect has ended. */
SN_ONCE int sn_go_on(struct __sk_buff *skb, const struct sn_passage *at)
{
	struct sn_addr target = {};
	__u32 next = SN_NONE;
	struct sn_syn *syn;
	__be16 port = 0;

	syn = at ? sn_syn_at(at->found - 1) : NULL;
	if (!syn)
		return 0;
#pragma clang loop unroll(disable)
	for (int i = 0; i < SN_TRIES; i++) {
		next = sn_failover_pick(syn, at->now);
		if (!next)
			return 0;
		if (sn_failover_target(syn, next, &target, &port) &&
		    sn_way_leads(skb, syn, &target, port) &&
		    !sn_way_is_taken(skb, syn, &target, port))
			break;
		sn_failover_unpick(next);
		sn_count_node(SN_R_NO_WAY);
		next = SN_NONE;
	}
	if (!next || !sn_failover_move(syn, next, at->reason, at->now))
		return 0;
	syn->now = target;
	syn->sent_ns = at->now;
	if (!syn->moves)
		sn_moved_add(1);
	syn->moves++;
	return port;
}

/* Is it the SYN that was kept, a quote of it or an answer to it? */
static __always_inline int sn_is_about(const struct sn_packet *p, const struct sn_syn *syn)
{
	if (p->quote || !(p->flags & SN_TCP_ACK))
		return p->seq_be == syn->isn_be;
	return bpf_ntohl(p->ack_be) == bpf_ntohl(syn->isn_be) + 1;
}

/* Makes the entry ours. 0: it is not in its SYN phase, or another connect's since it was found. */
static __always_inline __u8 sn_seize(const struct sn_passage *at, struct sn_syn *syn)
{
	__u8 state = sn_syn_move(syn, SN_SYN_SAVED, SN_SYN_BUSY)   ? SN_SYN_SAVED
		     : sn_syn_move(syn, SN_SYN_MOVED, SN_SYN_BUSY) ? SN_SYN_MOVED
								   : 0;

	if (!state || sn_is_about(&at->packet, syn))
		return state;
	sn_syn_show(syn, syn->now_port_be, state, at->now);
	return 0;
}

/* The backend failed, and the packet says so. 1: the entry is ours now, and another backend may be
 * tried; 0: the socket has to hear of it. */
SN_ONCE int sn_failure_begin(struct __sk_buff *skb, struct sn_passage *at)
{
	const struct sn_policy *policy;
	struct sn_syn *syn;

	syn = at ? sn_syn_at(at->found - 1) : NULL;
	if (!syn)
		return 0;
	policy = sn_failover_policy(syn);
	if (!policy || !sn_failover_wants(policy, at->reason))
		return 0;
	at->is_partial = sn_rewrite_is_partial(
		skb, at->packet.l4 + (at->packet.quote ? SN_ICMP_SUM : SN_TCP_SUM));
	if (at->is_partial && at->packet.quote)
		return 0;
	at->state = sn_seize(at, syn);
	return !!at->state;
}

/* The entry is done with. `port`: of the backend that it went on to; 0: of the same. */
static __always_inline void sn_went_on(const struct sn_passage *at, struct sn_syn *syn, int port)
{
	if (port)
		sn_syn_show(syn, port, SN_SYN_MOVED, at->now);
	else
		sn_syn_show(syn, syn->now_port_be, at->state, at->now);
}

/* Makes the packet the next backend's SYN, or leaves it to the socket. */
SN_ONCE int sn_failure_end(struct __sk_buff *skb, const struct sn_passage *at, int port)
{
	struct sn_syn *syn;
	int pseudo, is_syn;

	syn = at ? sn_syn_at(at->found - 1) : NULL;
	if (!syn)
		return TC_ACT_UNSPEC;
	if (!port) {
		sn_count_service(syn->service, SN_R_FAILOVER_MISSED);
		sn_went_on(at, syn, 0);
		return TC_ACT_UNSPEC;
	}
	pseudo = sn_reborn(syn, port);
	is_syn = sn_rewrite_syn(skb, syn, at->packet.l3, at->is_partial ? pseudo : -1);
	sn_went_on(at, syn, port);
	return is_syn ? sn_send_syn(skb, at, syn) : TC_ACT_SHOT;
}

/* Two tests instead of one for the range, from which the verifier of Linux 6.1 learns nothing. */
static __always_inline int sn_keep_headers(struct __sk_buff *skb, __u32 l3, struct sn_syn *syn,
					   __u64 length)
{
	if (length > SN_SYN_MAX)
		return 0;
	asm volatile("" : "+r"(length));
	return length >= SN_IP4_BYTES + SN_TCP_BYTES &&
	       !bpf_skb_load_bytes(skb, l3, syn->headers, length);
}

/* What a SYN is kept by; 0 with the reason counted: not one that may be sent anew. */
static __always_inline int sn_keep(struct __sk_buff *skb, const struct sn_passage *at,
				   struct sn_syn *syn)
{
	__u32 length = at->packet.l4 - at->packet.l3 + at->packet.header;

	if (at->packet.bytes > length) {
		sn_count_node(SN_R_SYN_DATA);
		return 0;
	}
	if (at->packet.l4 - at->packet.l3 != (at->packet.is_v6 ? SN_IP6_BYTES : SN_IP4_BYTES) ||
	    at->packet.bytes < length || !sn_keep_headers(skb, at->packet.l3, syn, length)) {
		sn_count_node(SN_R_SYN_ODD);
		return 0;
	}
	syn->length = length;
	return 1;
}

static __always_inline int sn_is_mac(const __u8 *a, const __u8 *b)
{
	int same = 1;

#pragma unroll
	for (int i = 0; i < ETH_ALEN; i++)
		same &= a[i] == b[i];
	return same;
}

/* Does this host route what comes from behind the interface? A bridge may also carry it to a
 * backend beside the client, by the link-layer address of that one: no other can be sent there. */
static __always_inline int sn_is_routed(struct __sk_buff *skb, const struct sn_passage *at)
{
	struct sn_route route = {};
	__u8 to[ETH_ALEN] = {};

	if (!at->is_ingress || skb->pkt_type == SN_PACKET_HOST)
		return 1;
	sn_route_find(skb, at->ifindex, &at->packet.dst, &at->packet.src, &route);
	return at->packet.l3 && !bpf_skb_load_bytes(skb, 0, to, sizeof(to)) &&
	       sn_is_mac(to, route.fib.smac);
}

/* The first SYN of a claimed connect: what passes here first is its home. */
SN_ONCE int sn_on_first(struct __sk_buff *skb, const struct sn_passage *at, struct sn_syn *syn)
{
	__u64 cookie;
	int kept;

	if (!at || !syn)
		return TC_ACT_UNSPEC;
	cookie = bpf_get_socket_cookie(skb); /* 0 where the socket is no longer known */
	if ((cookie && cookie != syn->cookie) || !sn_syn_move(syn, SN_SYN_CLAIMED, SN_SYN_BUSY))
		return TC_ACT_UNSPEC;
	kept = sn_keep(skb, at, syn);
	if (kept && !sn_is_routed(skb, at)) {
		sn_count_node(SN_R_NO_WAY);
		kept = 0;
	}
	syn->isn_be = at->packet.seq_be;
	syn->ifindex = at->ifindex;
	syn->sent_ns = at->now;
	syn->side = sn_side_out(at);
	sn_syn_show(syn, syn->now_port_be, kept ? SN_SYN_SAVED : SN_SYN_ANSWERED, at->now);
	return TC_ACT_UNSPEC;
}

/* The socket sends its SYN again: the backend is silent. 1: the entry is ours now. */
static __always_inline int sn_silence_begin(struct sn_passage *at, struct sn_syn *syn)
{
	const struct sn_policy *policy = sn_failover_policy(syn);
	__u64 wait;

	if (!policy || !sn_failover_wants(policy, SN_R_TIMEOUT))
		return 0;
	wait = policy->attempt_ns ?: SN_PATIENCE_FIRST_NS;
	if (at->now < syn->sent_ns + wait / 10 * 9)
		return 0;
	at->reason = SN_R_TIMEOUT;
	at->state = sn_seize(at, syn);
	return !!at->state;
}

/* A SYN that was seen before goes to whom it is for by now. */
SN_ONCE int sn_again(struct __sk_buff *skb, const struct sn_passage *at)
{
	struct sn_syn *syn;

	syn = at ? sn_syn_at(at->found - 1) : NULL;
	if (!syn || !sn_translates(syn) || !sn_is_here(at, syn, sn_side_out(at)))
		return TC_ACT_UNSPEC;
	sn_rewrite_end(skb, &at->packet, SN_END_DEST, &syn->now, syn->now_port_be);
	return sn_send_out(skb, at, syn);
}

SN_ONCE int sn_silence_end(const struct sn_passage *at, int port)
{
	struct sn_syn *syn = at ? sn_syn_at(at->found - 1) : NULL;

	if (syn)
		sn_went_on(at, syn, port);
	return 0;
}

SN_ONCE int sn_on_syn(struct __sk_buff *skb, struct sn_passage *at)
{
	struct sn_syn *syn;

	if (!at)
		return TC_ACT_UNSPEC;
	at->found = sn_syn_find(&at->packet.src, &at->packet.dst, sn_packet_ports(&at->packet),
				SN_MATCH_FIRST);
	syn = at->found ? sn_syn_at(at->found - 1) : NULL;
	if (!syn)
		return TC_ACT_UNSPEC;
	if (syn->state == SN_SYN_CLAIMED)
		return sn_on_first(skb, at, syn);
	if (syn->isn_be != at->packet.seq_be)
		return TC_ACT_UNSPEC;
	if (sn_is_home(at, syn, sn_side_out(at)) && sn_is_open(syn) && sn_silence_begin(at, syn))
		return SN_FAILED;
	return SN_NOT_HERE;
}

static __always_inline int sn_pass_syn(struct __sk_buff *skb, struct sn_passage *at)
{
	int r = sn_on_syn(skb, at);

	if (r != SN_FAILED && r != SN_NOT_HERE)
		return r;
	if (r == SN_FAILED)
		sn_silence_end(at, sn_go_on(skb, at));
	return sn_again(skb, at);
}

/* A packet of a client, to the backend that its socket thinks of. */
SN_ONCE int sn_on_way_out(struct __sk_buff *skb, const struct sn_passage *at)
{
	struct sn_syn *syn;
	__u32 found;

	if (!at)
		return SN_NOT_HERE;
	found = sn_syn_find(&at->packet.src, &at->packet.dst, sn_packet_ports(&at->packet),
			    SN_MATCH_FIRST);
	syn = found ? sn_syn_at(found - 1) : NULL;
	if (!syn || !sn_translates(syn) || !sn_is_here(at, syn, sn_side_out(at)))
		return SN_NOT_HERE;
	if (sn_syn_is_past(syn, at->now)) {
		sn_syn_drop(syn);
		return SN_NOT_HERE;
	}
	sn_rewrite_end(skb, &at->packet, SN_END_DEST, &syn->now, syn->now_port_be);
	return sn_send_out(skb, at, syn);
}

/* Does it answer the SYN that was kept? Before that was, anything may be of another connection
 * between the same ends, where the socket has none. */
static __always_inline int sn_is_answer(const struct sn_packet *p, const struct sn_syn *syn)
{
	if (p->flags & (SN_TCP_SYN | SN_TCP_RST) && p->flags & SN_TCP_ACK &&
	    bpf_ntohl(p->ack_be) == bpf_ntohl(syn->isn_be) + 1)
		return 1;
	if (p->flags & SN_TCP_RST)
		sn_count_node(SN_R_FORGED);
	return 0;
}

/* An answer from the backend that is being tried. Returns why the connect would fail by it; 0: it
 * does not. */
static __always_inline __u32 sn_on_answer(const struct sn_passage *at, struct sn_syn *syn)
{
	const struct sn_packet *p = &at->packet;

	if (p->flags & SN_TCP_RST)
		return sn_is_home(at, syn, sn_side_in(at)) ? SN_R_REFUSED : 0;
	if (!sn_syn_move(syn, SN_SYN_SAVED, SN_SYN_ANSWERED))
		sn_syn_move(syn, SN_SYN_MOVED, SN_SYN_ANSWERED);
	return 0;
}

/* Translates a packet to a client, once. */
static __always_inline void sn_give(struct __sk_buff *skb, const struct sn_passage *at,
				    const struct sn_syn *syn)
{
	if (at->is_ingress && skb->tc_index == SN_TRANSLATED)
		return;
	if (at->packet.quote)
		sn_rewrite_quote(skb, &at->packet, &syn->first, syn->first_port_be);
	else
		sn_rewrite_end(skb, &at->packet, SN_END_SOURCE, &syn->first, syn->first_port_be);
	if (at->is_ingress)
		skb->tc_index = SN_TRANSLATED;
}

/* A packet to a client: from the backend that it has, or late from one that it had first. */
SN_ONCE int sn_on_way_in(struct __sk_buff *skb, struct sn_passage *at)
{
	struct sn_syn *syn;

	if (!at)
		return TC_ACT_UNSPEC;
	at->found = sn_syn_find(&at->packet.dst, &at->packet.src, sn_packet_ports_back(&at->packet),
				SN_MATCH_FIRST | SN_MATCH_NOW);
	syn = at->found ? sn_syn_at(at->found - 1) : NULL;
	if (!syn || !sn_is_here(at, syn, sn_side_in(at)))
		return TC_ACT_UNSPEC;
	if (syn->state == SN_SYN_BUSY)
		return TC_ACT_SHOT;
	if (!sn_is_from_now(skb, at, syn, &at->packet.src, at->packet.src_port_be))
		return sn_translates(syn) ? TC_ACT_SHOT : TC_ACT_UNSPEC;
	if (sn_is_open(syn)) {
		if (!sn_is_answer(&at->packet, syn))
			return TC_ACT_UNSPEC;
		at->reason = sn_on_answer(at, syn);
	}
	if (at->reason)
		return SN_FAILED;
	if (sn_syn_is_past(syn, at->now))
		sn_syn_drop(syn);
	else if (sn_translates(syn))
		sn_give(skb, at, syn);
	return TC_ACT_UNSPEC;
}

/* An ICMP error about a client's packet. One that a connect would end by must quote our SYN. */
SN_ONCE int sn_on_error(struct __sk_buff *skb, struct sn_passage *at)
{
	struct sn_syn *syn;

	if (!at)
		return TC_ACT_UNSPEC;
	at->found = sn_syn_find(&at->packet.src, &at->packet.dst, sn_packet_ports(&at->packet),
				SN_MATCH_FIRST | SN_MATCH_NOW);
	syn = at->found ? sn_syn_at(at->found - 1) : NULL;
	if (!syn || !sn_is_here(at, syn, sn_side_in(at)))
		return TC_ACT_UNSPEC;
	if (syn->state == SN_SYN_BUSY)
		return TC_ACT_SHOT;
	if (!sn_is_from_now(skb, at, syn, &at->packet.dst, at->packet.dst_port_be))
		return sn_translates(syn) ? TC_ACT_SHOT : TC_ACT_UNSPEC;
	if (at->packet.reason && sn_is_open(syn)) {
		at->reason = at->packet.reason;
		if (at->packet.seq_be == syn->isn_be)
			return sn_is_home(at, syn, sn_side_in(at)) ? SN_FAILED : TC_ACT_UNSPEC;
		sn_count_node(SN_R_FORGED);
	}
	if (sn_translates(syn))
		sn_give(skb, at, syn);
	return TC_ACT_UNSPEC;
}

/* The socket has to hear of it after all, from the backend that it thinks of. */
SN_ONCE int sn_tell(struct __sk_buff *skb, const struct sn_passage *at)
{
	struct sn_syn *syn;

	if (!at)
		return TC_ACT_UNSPEC;
	syn = sn_syn_at(at->found - 1);
	if (syn && sn_translates(syn))
		sn_give(skb, at, syn);
	return TC_ACT_UNSPEC;
}

static __always_inline int sn_pass_in(struct __sk_buff *skb, struct sn_passage *at)
{
	int r = at->packet.quote ? sn_on_error(skb, at) : sn_on_way_in(skb, at);

	if (r != SN_FAILED)
		return r;
	r = TC_ACT_UNSPEC;
	if (sn_failure_begin(skb, at))
		r = sn_failure_end(skb, at, sn_go_on(skb, at));
	return r == TC_ACT_UNSPEC ? sn_tell(skb, at) : r;
}

static __always_inline struct sn_passage *sn_passage_room(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&sn_rooms, &zero);
}

/* A packet between two ends that is no SYN: a client's own, or one to a client. On the loopback
 * device the direction tells which. */
static __always_inline int sn_pass_other(struct __sk_buff *skb, struct sn_passage *at,
					 int translates)
{
	int r = SN_NOT_HERE;

	if (translates && (at->ifindex != SN_LO || !at->is_ingress))
		r = sn_on_way_out(skb, at);
	if (r != SN_NOT_HERE)
		return r;
	return at->ifindex == SN_LO && !at->is_ingress ? TC_ACT_UNSPEC : sn_pass_in(skb, at);
}

static __always_inline int sn_pass(struct __sk_buff *skb, __u32 is_ingress)
{
	__u64 *moved = sn_moved_count();
	int translates = moved && *moved;
	struct sn_passage *at;

	if (!translates && sn_packet_is_plain(skb, is_ingress))
		return TC_ACT_UNSPEC;
	at = sn_passage_room();
	if (!at || !sn_packet_read(skb, &at->packet, translates))
		return TC_ACT_UNSPEC;
	at->now = bpf_ktime_get_ns();
	at->ifindex = skb->ifindex;
	at->is_ingress = is_ingress;
	at->reason = 0;
	if (at->packet.quote)
		return sn_pass_in(skb, at);
	if ((at->packet.flags & (SN_TCP_SYN | SN_TCP_ACK)) != SN_TCP_SYN)
		return sn_pass_other(skb, at, translates);
	if (sn_packet_is_twin(at->ifindex, is_ingress, SN_TCP_SYN))
		return TC_ACT_UNSPEC;
	if (translates)
		sn_syn_forget(&at->packet.src, &at->packet.dst, sn_packet_ports(&at->packet));
	return sn_pass_syn(skb, at);
}

SEC("tc")
int sn_tc_ingress(struct __sk_buff *skb)
{
	return sn_pass(skb, 1);
}

SEC("tc")
int sn_tc_egress(struct __sk_buff *skb)
{
	return sn_pass(skb, 0);
}

char _license[] SEC("license") __weak = "Dual BSD/GPL";
