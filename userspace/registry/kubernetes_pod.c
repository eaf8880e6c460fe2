/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See kubernetes_pod.h. Before: JSON of an API server, or of a kubelet. After: registry/pods.h
 * keeps it. What does not fit is left out, and the pod says so: a label that is not kept may be
 * there.
 */
#include "registry/kubernetes_pod.h"

#include <errno.h>
#include <string.h>

#include "model/address.h"
#include "model/codec.h"
#include "model/limits.h"

/* What the kubelet notes on the API's picture of a pod that comes from a file: its real uid. */
#define HASH_ANNOTATION "kubernetes.io/config.hash"
#define MIRROR_ANNOTATION "kubernetes.io/config.mirror"
#define HASH_LENGTH 32

/* A pod while it is read; its texts belong to the document. */
struct reading {
	struct pod pod;
	struct label labels[LIMIT_LABELS];
	struct pod_container containers[LIMIT_POD_CONTAINERS];
	size_t bytes; /* of labels */
};

/* A text of 1 to `max` bytes without a NUL inside; NULL: it is none. */
static char *text_of(yyjson_val *value, size_t max)
{
	const char *text = yyjson_get_str(value);
	size_t n = yyjson_get_len(value);

	return text && n && n <= max && strlen(text) == n ? (char *)text : NULL;
}

static bool is_hash(const char *text)
{
	return strlen(text) == HASH_LENGTH && strspn(text, "0123456789abcdef") == HASH_LENGTH;
}

/* A pod of a file lives in a cgroup named by the hash of that file. Only what such a hash looks
 * like is believed: whoever may make a pod could write there the uid of another. */
static const char *uid_of(yyjson_val *meta)
{
	yyjson_val *notes = yyjson_obj_get(meta, "annotations");
	const char *mirror = text_of(yyjson_obj_get(notes, MIRROR_ANNOTATION), HASH_LENGTH),
		   *hash = text_of(yyjson_obj_get(notes, HASH_ANNOTATION), HASH_LENGTH);

	if (mirror && hash && is_hash(hash) && !strcmp(mirror, hash))
		return hash;
	return text_of(yyjson_obj_get(meta, "uid"), IDENTITY_POD);
}

static void read_labels(struct reading *d, yyjson_val *json)
{
	yyjson_val *key, *value;
	size_t i, max;

	if (!yyjson_is_obj(json))
		return;
	yyjson_obj_foreach (json, i, max, key, value) {
		char *name = text_of(key, LIMIT_LABEL_KEY),
		     *text = yyjson_get_len(value) ? text_of(value, LIMIT_LABEL_VALUE) : (char *)"";
		size_t bytes = yyjson_get_len(key) + yyjson_get_len(value);

		if (!name || !text || !yyjson_is_str(value) || d->pod.n_labels == LIMIT_LABELS ||
		    d->bytes + bytes > LIMIT_POD_TEXT) {
			d->pod.is_partial = true;
			continue;
		}
		d->bytes += bytes;
		d->labels[d->pod.n_labels++] = (struct label){name, text};
	}
}

/* "containerd://" and 64 hex digits. */
static bool read_id(yyjson_val *json, char ret[static IDENTITY_CONTAINER + 1])
{
	const char *text = yyjson_get_str(json), *id = text ? strstr(text, "://") : NULL;

	if (!id || strlen(id + 3) != IDENTITY_CONTAINER ||
	    strspn(id + 3, "0123456789abcdef") != IDENTITY_CONTAINER)
		return false;
	memcpy(ret, id + 3, IDENTITY_CONTAINER + 1);
	return true;
}

/* One that has not begun has no id yet. */
static void read_containers(struct reading *d, yyjson_val *json)
{
	yyjson_val *one;
	size_t i, max;

	if (!yyjson_is_arr(json))
		return;
	yyjson_arr_foreach (json, i, max, one) {
		struct pod_container c;

		c.name = text_of(yyjson_obj_get(one, "name"), LIMIT_NAME);
		if (c.name && codec_is_name(c.name) &&
		    read_id(yyjson_obj_get(one, "containerID"), c.id) &&
		    d->pod.n_containers < LIMIT_POD_CONTAINERS)
			d->containers[d->pod.n_containers++] = c;
	}
}

static void add_address(struct pod *p, yyjson_val *json)
{
	const char *text = yyjson_get_str(json);
	struct sn_addr addr;

	if (!text || p->n_addresses == LIMIT_ADDRESSES || address_parse(text, &addr) < 0 ||
	    !address_is_target(&addr) ||
	    (p->n_addresses && address_is_equal(&p->addresses[0], &addr)))
		return;
	p->addresses[p->n_addresses++] = addr;
}

static void read_addresses(struct pod *p, yyjson_val *status)
{
	yyjson_val *all = yyjson_obj_get(status, "podIPs"), *one;
	size_t i, max;

	add_address(p, yyjson_obj_get(status, "podIP"));
	if (yyjson_is_arr(all))
		yyjson_arr_foreach (all, i, max, one)
			add_address(p, yyjson_obj_get(one, "ip"));
}

int kubernetes_pod_read(yyjson_val *root, struct pod **ret)
{
	yyjson_val *meta = yyjson_obj_get(root, "metadata"),
		   *status = yyjson_obj_get(root, "status");
	const char *uid = uid_of(meta);
	struct reading d = {
		.pod = {.namespace = text_of(yyjson_obj_get(meta, "namespace"), LIMIT_NAME),
			.name = text_of(yyjson_obj_get(meta, "name"), LIMIT_NODE)}};

	if (!uid || !d.pod.namespace || !d.pod.name || !codec_is_name(d.pod.namespace) ||
	    !codec_is_host(d.pod.name))
		return -EINVAL;
	memcpy(d.pod.uid, uid, strlen(uid) + 1);
	read_labels(&d, yyjson_obj_get(meta, "labels"));
	read_containers(&d, yyjson_obj_get(status, "containerStatuses"));
	read_containers(&d, yyjson_obj_get(status, "initContainerStatuses"));
	read_containers(&d, yyjson_obj_get(status, "ephemeralContainerStatuses"));
	read_addresses(&d.pod, status);
	d.pod.labels = d.labels;
	d.pod.containers = d.containers;
	return pod_new(&d.pod, ret);
}
