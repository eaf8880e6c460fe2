/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See identity.h. Before: somebody read a cgroup's path. After: listeners and flows are shown with
 * it, and registrations are compared. Must never believe a name that a tenant could have made.
 */
#include "model/identity.h"

#include <ctype.h>
#include <string.h>

/* One component of the path. */
struct part {
	const char *text;
	size_t n;
};

/* What the way down has passed. */
enum place {
	PLACE_SLICES, /* systemd's own: only root makes cgroups here */
	PLACE_ENGINE, /* an engine's parent: its children are containers */
	PLACE_PODS,   /* the kubelet's: its children are classes, pods */
	PLACE_POD,    /* a pod: its children are containers */
	PLACE_END,    /* below a unit, a container or something unknown */
};

static bool starts(struct part p, const char *prefix)
{
	size_t n = strlen(prefix);

	return p.n >= n && !memcmp(p.text, prefix, n);
}

static bool ends(struct part p, const char *suffix)
{
	size_t n = strlen(suffix);

	return p.n > n && !memcmp(p.text + p.n - n, suffix, n);
}

static bool equals(struct part p, const char *text)
{
	return p.n == strlen(text) && starts(p, text);
}

static struct part cut(struct part p, size_t front, size_t back)
{
	return (struct part){p.text + front, p.n - front - back};
}

static bool take(struct part p, char *ret, size_t max)
{
	if (!p.n || p.n > max)
		return false;
	memcpy(ret, p.text, p.n);
	ret[p.n] = '\0';
	return true;
}

/* --- names -------------------------------------------------------------------------------- */

static bool is_hex(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
}

static bool is_container(struct part p)
{
	if (p.n != IDENTITY_CONTAINER)
		return false;
	for (size_t i = 0; i < p.n; i++)
		if (!is_hex(p.text[i]))
			return false;
	return true;
}

/* A UUID, its "-" written "_" in a slice's name; or, of a pod from a file, 32 hex digits. */
static bool take_pod(struct part p, char ret[static IDENTITY_POD + 1])
{
	if (p.n != IDENTITY_POD && p.n != 32)
		return false;
	for (size_t i = 0; i < p.n; i++) {
		bool dash = p.n == IDENTITY_POD && (i == 8 || i == 13 || i == 18 || i == 23);
		char c = p.text[i];

		if (dash ? c != '-' && c != '_' : !is_hex(c)) {
			ret[0] = '\0';
			return false;
		}
		ret[i] = dash ? '-' : c;
	}
	ret[p.n] = '\0';
	return true;
}

/* The id of an engine's container in a name with the engine's prefix; false: it is none. An engine
 * has scopes of its own, too, "libpod-conmon-...", which are no containers. */
static bool take_prefixed(struct part p, char *ret)
{
	static const char *const engines[] = {"docker-", "libpod-", "cri-containerd-", "crio-",
					      "nerdctl-"};

	for (size_t i = 0; i < sizeof(engines) / sizeof(engines[0]); i++) {
		size_t n = strlen(engines[i]);

		if (starts(p, engines[i]) && is_container(cut(p, n, 0)))
			return take(cut(p, n, 0), ret, IDENTITY_CONTAINER);
	}
	return false;
}

static bool take_container(struct part p, char *ret)
{
	return is_container(p) ? take(p, ret, IDENTITY_CONTAINER) : take_prefixed(p, ret);
}

/* A character that a unit's name may have, escaped ones (\x2d) included. */
static bool is_unit_name(struct part p)
{
	for (size_t i = 0; i < p.n; i++)
		if (!isalnum((unsigned char)p.text[i]) &&
		    (!p.text[i] || !strchr(":-_.\\@", p.text[i])))
			return false;
	return p.n > 0;
}

/* Where a name would be taken for one of the kernel's files, systemd puts "_" in front of it. */
static struct part unescape(struct part p)
{
	return p.n > 1 && p.text[0] == '_' ? cut(p, 1, 0) : p;
}

/* --- the way down ------------------------------------------------------------------------- */

static enum place on_unit(struct part p, struct identity *ret)
{
	bool scope = ends(p, ".scope");

	if (!is_unit_name(p) || !take(p, ret->unit, LIMIT_UNIT))
		return PLACE_END;
	if (scope)
		(void)take_prefixed(cut(p, 0, strlen(".scope")), ret->container);
	return PLACE_END;
}

/* "kubepods-burstable-pod0e6ec1f2_....slice", whatever slices it is in. */
static enum place on_slice(struct part p, struct identity *ret)
{
	struct part name = cut(p, 0, strlen(".slice"));
	bool pods = starts(name, "kubepods") || starts(name, "kubelet-kubepods");

	for (size_t i = 0; pods && i + 4 < name.n; i++)
		if (!memcmp(name.text + i, "-pod", 4) && take_pod(cut(name, i + 4, 0), ret->pod))
			return PLACE_SLICES;
	return PLACE_SLICES;
}

static enum place on_slices(struct part p, struct identity *ret)
{
	static const char *const engines[] = {"docker", "libpod_parent"};
	struct part name = unescape(p);

	if (ends(name, ".slice"))
		return on_slice(name, ret);
	if (ends(name, ".service") || ends(name, ".scope"))
		return on_unit(name, ret);
	for (size_t i = 0; i < sizeof(engines) / sizeof(engines[0]); i++)
		if (equals(p, engines[i]))
			return PLACE_ENGINE;
	return equals(p, "kubepods") ? PLACE_PODS : PLACE_END;
}

static enum place on_pods(struct part p, struct identity *ret)
{
	if (equals(p, "burstable") || equals(p, "besteffort") || equals(p, "guaranteed"))
		return PLACE_PODS;
	return starts(p, "pod") && take_pod(cut(p, 3, 0), ret->pod) ? PLACE_POD : PLACE_END;
}

static enum place step(enum place at, struct part p, struct identity *ret)
{
	switch (at) {
	case PLACE_SLICES:
		return on_slices(p, ret);
	case PLACE_PODS:
		return on_pods(p, ret);
	case PLACE_ENGINE:
	case PLACE_POD:
		(void)take_container(p, ret->container);
		return PLACE_END;
	default:
		return PLACE_END;
	}
}

void identity_parse(const char *path, struct identity *ret)
{
	enum place at = PLACE_SLICES;

	*ret = (struct identity){};
	while (*path == '/' && at != PLACE_END) {
		struct part p = {path + 1, strcspn(path + 1, "/")};

		if (!p.n)
			return;
		at = step(at, p, ret);
		path = p.text + p.n;
	}
}

bool identity_is_pod(const char *uid)
{
	char text[IDENTITY_POD + 1];

	return take_pod((struct part){uid, strlen(uid)}, text) && !strcmp(text, uid);
}

bool identity_is_equal(const struct identity *a, const struct identity *b)
{
	return !strcmp(a->unit, b->unit) && !strcmp(a->container, b->container) &&
	       !strcmp(a->pod, b->pod);
}
