/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Where an API server is and who we are to it: from the files of a pod, or a kubeconfig.
 * Credentials that a kubeconfig holds itself live in memory files, never in a file of the disk.
 */
#pragma once

#include "registry/kubernetes_plugin.h"
#include "registry/registry.h"

#define KUBERNETES_ACCESS_NONE                                                                     \
	(struct kubernetes_access)                                                                 \
	{                                                                                          \
		.files = {-1, -1, -1}, .older = { -1, -1 }                                         \
	}
struct kubernetes_access {
	char *server;             /* "https://10.0.0.1:6443", without a slash at the end */
	char *token, *token_file; /* at most one; the file is read anew for each request */
	char *ca, *cert, *key;    /* paths; NULL: none */
	int files[3];             /* what some of the paths lead to; -1: none */
	int older[2]; /* of before kubernetes_config_take(): who connects has their paths */
	struct kubernetes_plugin *plugin; /* gives token, or cert and key; NULL: none */
};

/*
 * By config->path: a kubeconfig; config->address: that one; neither: that of the pod we are in.
 * address, token_file and tls of the config win over what is found. -errno, with a text.
 */
int kubernetes_config_read(const struct registry_config *config, struct kubernetes_access *ret,
			   char ret_text[static 200]);
/* The parts that a kubeconfig's text gives; `folder` is where its relative paths begin. -EBADMSG,
 * -ENOTSUP (passwords, proxies, unverified TLS), -ENOMEM. For tests. */
int kubernetes_config_parse(const char *text, size_t length, const char *folder,
			    struct kubernetes_access *ret, char ret_text[static 200]);
/* What a plugin gave, in place of what it gave before. -ENOMEM, -errno of a memory file; nothing
 * has changed then. */
int kubernetes_config_take(struct kubernetes_access *a, const struct kubernetes_credential *c);
void kubernetes_config_done(struct kubernetes_access *a);
