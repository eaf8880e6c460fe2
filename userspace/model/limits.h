/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Every maximum for what a stranger can send, in one place. A limit that bites is reported to the
 * sender with its name and value, and counted.
 */
#pragma once

#define LIMIT_NAME 63          /* bytes of a name, namespace, port name or zone (RFC 1123 label) */
#define LIMIT_LABELS 64        /* labels of one object */
#define LIMIT_LABEL_VALUE 253  /* bytes of a label's value */
#define LIMIT_PORTS 32         /* ports of one service */
#define LIMIT_ADDRESSES 2      /* one per family */
#define LIMIT_ENDPOINTS 4096   /* endpoints of one service */
#define LIMIT_SERVICE_ZONES 64 /* different zones in one service */
#define LIMIT_SERVICE_NODES 1024 /* different nodes in one service */
#define LIMIT_SERVICE_SOURCES 32 /* different registries that name endpoints of one service */
#define LIMIT_SOURCE 127         /* bytes of a source's name */
#define LIMIT_NODE 253           /* bytes of a node's name (RFC 1123 subdomain) */
#define LIMIT_WEIGHT 65535
#define LIMIT_SERVICES 16383 /* datapath services: (address, port, protocol) */
#define LIMIT_BACKENDS 65535 /* over all services */
#define LIMIT_POLICIES 1023
#define LIMIT_REGISTRATIONS 4096
#define LIMIT_LISTENERS 32768   /* sockets known to listen; the programs' map has half of it */
#define LIMIT_CGROUPS 4096      /* cgroups whose path is remembered */
#define LIMIT_PODS 1024         /* pods of a node; a kubelet has 110 unless told otherwise */
#define LIMIT_POD_CONTAINERS 64 /* of one pod, with those that ran before */
#define LIMIT_POD_TEXT 16384    /* bytes of one pod's labels */
#define LIMIT_LABEL_KEY 317     /* bytes of a label's name in Kubernetes: 253 / 63 */
#define LIMIT_TAGS 32           /* of one registration */
#define LIMIT_UNIT 255          /* bytes of a unit's name, as of systemd */
#define LIMIT_CGROUP 1024       /* bytes of a pattern of cgroups' paths */
#define LIMIT_FALLBACK 8        /* services that one policy falls back to */
#define LIMIT_ZONES 1023
#define LIMIT_SOURCES 64
#define LIMIT_HOLDS 4096                  /* backends set aside by hand */
#define LIMIT_HOLD_REASON 200             /* characters of why */
#define LIMIT_BODY (32u << 20)            /* bytes of a request body */
#define LIMIT_BODIES (96u << 20)          /* bytes of all request bodies being received */
#define LIMIT_STATE (1u << 30)            /* bytes of a state file; all that fits is less */
#define LIMIT_MANIFEST (16u << 20)        /* bytes of a manifest file */
#define LIMIT_DOCUMENTS 20000             /* documents of one manifest */
#define LIMIT_NODES 1000000               /* values of one manifest, aliases written out */
#define LIMIT_KEYS 256                    /* keys of one YAML mapping */
#define LIMIT_ANCHORS 256                 /* anchors of one YAML document */
#define LIMIT_DEPTH 32                    /* nesting of YAML or JSON */
#define LIMIT_PROBLEMS 20                 /* errors told about one request; the rest is counted */
#define LIMIT_CLIENTS 64                  /* open connections per control socket */
#define LIMIT_SUBSCRIBERS 16              /* event streams */
#define LIMIT_RECENT 256                  /* events that the daemon remembers */
#define LIMIT_SUBSCRIBER_QUEUE (1u << 20) /* bytes buffered for one before it is cut */
#define LIMIT_REGISTRIES 32               /* registries that one agent follows */
#define LIMIT_MERGED 65536                /* objects of all registries of one agent */
#define LIMIT_GONE 16384                  /* names that an agent tells sinewd again to remove */
#define LIMIT_ANSWER (64u << 20)          /* bytes of one answer of a registry, unpacked */
#define LIMIT_INSTANCE_ID 1024            /* bytes of a registry's instance id */
#define LIMIT_FOUND_ENDPOINTS 1000000     /* endpoints in one answer, before any is believed */
#define LIMIT_INSTANCES 4096              /* instances that one agent registers */
