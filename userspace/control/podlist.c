/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See podlist.h. Before: sinew-agent follows pods. After: view.c shows names beside uids. It must
 * never be what decides anything: whoever may write here may say any name.
 */
#include "control/podlist.h"

#include <errno.h>

#include "control/answer.h"
#include "control/body.h"
#include "control/handler.h"
#include "control/view.h"
#include "model/pod_codec.h"

void podlist_done(struct podlist *l)
{
	pod_free_list(l->items, l->n);
	*l = (struct podlist){};
}

void podlist_sweep(struct podlist *l, uint64_t now_ms)
{
	if (l->n && now_ms >= l->until_ms)
		podlist_done(l);
}

const struct pod *podlist_find(const struct podlist *l, const char *uid)
{
	return pod_find(l->items, l->n, uid);
}

int podlist_get(struct request *q)
{
	const struct podlist *l = &q->control->pods;
	yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
	yyjson_mut_val *root, *items;
	int r;

	if (!doc)
		return -ENOMEM;
	root = view_root(doc, "PodList");
	items = yyjson_mut_obj_add_arr(doc, root, "items");
	for (size_t i = 0; i < l->n; i++)
		(void)yyjson_mut_arr_append(items, pod_codec_encode(doc, l->items[i]));
	yyjson_mut_doc_set_root(doc, root);
	r = answer_json(q, 200, doc);
	yyjson_mut_doc_free(doc);
	return r;
}

/* All of it, or nothing: what was told before stays when this is refused. */
int podlist_put(struct request *q)
{
	struct control *c = q->control;
	struct problems problems = {};
	struct podlist fresh = {.until_ms = uv_now(c->loop) + c->pods_ms};
	int r = body_decode_pods(q->body.data, q->body.length, &problems, &fresh.items, &fresh.n);

	if (r < 0)
		return answer_bad_body(q, r, &problems);
	problems_done(&problems);
	podlist_done(&c->pods);
	c->pods = fresh;
	return answer_empty(q, 204);
}

int podlist_delete(struct request *q)
{
	podlist_done(&q->control->pods);
	return answer_empty(q, 204);
}
