/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The credential plugin of a kubeconfig (client.authentication.k8s.io): what is to be run, and what
 * its answer means. Pure; kubernetes_exec.c runs it.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <yyjson.h>

#include "base/cleanup.h"

struct kubernetes_plugin {
	char **args;   /* the command first; ended by NULL */
	char **env;    /* "NAME=value", what the kubeconfig gives it, and KUBERNETES_EXEC_INFO */
	char *version; /* of its API, which its answer must have, too */
	char *hint;    /* how to install it; NULL: nobody says */
};

/* A user's "exec"; `cluster` is told to a plugin that asks for it; `folder` is where a relative
 * command begins. -EBADMSG or -ENOTSUP with ret_text, -ENOMEM. */
int kubernetes_plugin_read(yyjson_val *exec, yyjson_val *cluster, const char *folder,
			   struct kubernetes_plugin **ret, char ret_text[static 200]);
struct kubernetes_plugin *kubernetes_plugin_free(struct kubernetes_plugin *p); /* returns NULL */
DEFINE_CLEANUP(struct kubernetes_plugin *, kubernetes_plugin_free);

struct kubernetes_credential {
	char *token;         /* NULL: none */
	char *cert, *key;    /* PEM; both or neither */
	uint64_t expires_ms; /* CLOCK_REALTIME; 0: it does not say */
};

/* What a plugin said, an ExecCredential. -EBADMSG with ret_text, which holds nothing of it;
 * -ENOMEM. */
int kubernetes_credential_decode(const char *text, size_t length, const char *version,
				 struct kubernetes_credential *ret, char ret_text[static 200]);
void kubernetes_credential_done(struct kubernetes_credential *c); /* wipes */
