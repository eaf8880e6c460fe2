/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Bytes as each of etcd's answers: refused with a sentence, or keys that are whole; and what is put
 * into a table twice and deleted again leaves nothing.
 */
#include <errno.h>

#include "fuzz/require.h"
#include "registry/etcd_table.h"

static bool is_selected(const void *arg, const char *name)
{
	return true;
}

static void check_kvs(struct etcd_table *t, const struct etcd_kv *kvs, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		size_t before = etcd_table_count(t), after;

		REQUIRE(kvs[i].key_length && !kvs[i].key[kvs[i].key_length]);
		REQUIRE(!kvs[i].value[kvs[i].value_length]);
		REQUIRE(etcd_table_put(t, &kvs[i]) == 0);
		after = etcd_table_count(t);
		REQUIRE(after == before || after == before + 1);
		REQUIRE(etcd_table_put(t, &kvs[i]) == 0 && etcd_table_count(t) == after);
	}
}

static void say_all(struct etcd_table *t)
{
	struct etcd_change change;

	while (etcd_table_next(t, &change) > 0) {
		if (change.service)
			REQUIRE(change.service->n_ports == 1 && change.service->n_endpoints);
		service_unref(change.service);
	}
	REQUIRE(etcd_table_next(t, &change) == 0);
}

static void use(const struct etcd_kv *kvs, size_t n)
{
	static const struct etcd_settings settings = {.prefix = "services/",
						      .namespace = "default",
						      .tag = "etcd/e",
						      .is_selected = is_selected};
	_cleanup_(etcd_table_freep) struct etcd_table *t = NULL;
	const char *text;

	REQUIRE(etcd_table_new(&settings, &t) == 0);
	etcd_table_begin(t);
	check_kvs(t, kvs, n);
	etcd_table_end(t);
	say_all(t);
	for (size_t i = 0; i < n; i++)
		etcd_table_delete(t, &kvs[i]);
	REQUIRE(etcd_table_count(t) == 0 && etcd_table_left_out(t, &text) == 0);
	say_all(t);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = require_text(data, size), error[JSON_ERROR] = "", *token;
	struct etcd_endpoint endpoint;
	struct etcd_refusal refusal;
	struct etcd_notice notice;
	struct etcd_range range;
	int r = etcd_decode_range(text, size, &range, error);

	REQUIRE(r == 0 || (r == -EBADMSG && *error));
	if (r == 0) {
		use(range.kvs, range.n);
		etcd_range_done(&range);
	}
	*error = '\0';
	r = etcd_decode_notice(text, size, &notice, error);
	REQUIRE(r == 0 || (r == -EBADMSG && *error));
	if (r == 0) {
		use(notice.kvs, notice.n);
		etcd_notice_done(&notice);
	}
	if (etcd_decode_token(text, size, &token, error) == 0) {
		REQUIRE(*token && !strpbrk(token, " \r\n"));
		free(token);
	}
	etcd_decode_refusal(text, size, &refusal);
	REQUIRE(refusal.code <= 16 && strnlen(refusal.text, sizeof(refusal.text)) < 160);
	if (etcd_decode_endpoint(text, size, &endpoint) == 0)
		REQUIRE(strnlen(endpoint.zone, sizeof(endpoint.zone)) <= LIMIT_NAME);
	free(text);
	return 0;
}
