/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See etcd_decode.h. Before: etcd.c and etcd_watch.c have the bytes. After: etcd_table.c. It must
 * never take half of an answer, nor a key that is not exactly what the server has.
 */
#include "registry/etcd_decode.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/base64.h"
#include "base/text.h"
#include "model/address.h"

#define WEIGHT 100
#define OP_DELETE 1

DEFINE_CLEANUP(yyjson_doc *, yyjson_doc_free);

static int complain(char *ret_error, const char *what)
{
	(void)snprintf(ret_error, JSON_ERROR, "%s", what);
	return -EBADMSG;
}

static int parse(const char *text, size_t length, yyjson_doc **ret, char *ret_error)
{
	int r;

	if (length > LIMIT_ANSWER)
		return -E2BIG;
	r = json_parse(text, length, LIMIT_DEPTH, ret, ret_error);
	if (r < 0)
		return r;
	if (yyjson_is_obj(yyjson_doc_get_root(*ret)))
		return 0;
	yyjson_doc_free(*ret);
	*ret = NULL;
	return complain(ret_error, "it is no object");
}

/* --- values -------------------------------------------------------------------------------------
 */

/* A number or a text of one, as protobuf's JSON has it; 0 when it is absent. False: it is neither.
 */
static bool number_of(yyjson_val *object, const char *key, uint64_t *ret)
{
	yyjson_val *v = yyjson_obj_get(object, key);

	*ret = 0;
	return !v || yyjson_is_null(v) || json_read_uint(v, ret);
}

static int bytes_of(yyjson_val *object, const char *key, char **ret, size_t *ret_length)
{
	yyjson_val *v = yyjson_obj_get(object, key);

	if (!v || yyjson_is_null(v))
		return base64_decode("", 0, ret, ret_length);
	if (!yyjson_is_str(v))
		return -EBADMSG;
	return base64_decode(yyjson_get_str(v), yyjson_get_len(v), ret, ret_length);
}

static int read_header(yyjson_val *object, struct etcd_header *ret, char *ret_error)
{
	yyjson_val *h = yyjson_obj_get(object, "header");

	if (!yyjson_is_obj(h) || !number_of(h, "cluster_id", &ret->cluster) ||
	    !number_of(h, "revision", &ret->revision) || !number_of(h, "raft_term", &ret->term))
		return complain(ret_error, "it has no header of etcd");
	return 0;
}

static void kv_done(struct etcd_kv *kv)
{
	free(kv->key);
	free(kv->value);
	*kv = (struct etcd_kv){};
}

static int read_kv(yyjson_val *v, struct etcd_kv *ret, char *ret_error)
{
	struct etcd_kv kv = {};
	int r = -EBADMSG;

	if (yyjson_is_obj(v) && number_of(v, "mod_revision", &kv.revision))
		r = bytes_of(v, "key", &kv.key, &kv.key_length);
	if (r >= 0)
		r = bytes_of(v, "value", &kv.value, &kv.value_length);
	if (r >= 0 && !kv.key_length)
		r = -EBADMSG;
	if (r >= 0) {
		*ret = kv;
		return 0;
	}
	kv_done(&kv);
	return r == -ENOMEM ? r : complain(ret_error, "a key cannot be understood");
}

static void free_kvs(struct etcd_kv *kvs, size_t n)
{
	for (size_t i = 0; i < n; i++)
		kv_done(&kvs[i]);
	free(kvs);
}

void etcd_range_done(struct etcd_range *r)
{
	free_kvs(r->kvs, r->n);
	*r = (struct etcd_range){};
}

void etcd_notice_done(struct etcd_notice *n)
{
	free_kvs(n->kvs, n->n);
	*n = (struct etcd_notice){};
}

/* How many a list has; SIZE_MAX: it is none. */
static size_t count_of(yyjson_val *list)
{
	if (!list || yyjson_is_null(list))
		return 0;
	return yyjson_is_arr(list) ? yyjson_arr_size(list) : SIZE_MAX;
}

static int make_room(size_t n, struct etcd_kv **ret, char *ret_error)
{
	if (n == SIZE_MAX)
		return complain(ret_error, "its keys are no list");
	if (n > LIMIT_FOUND_ENDPOINTS)
		return -E2BIG;
	*ret = calloc(n + 1, sizeof(**ret));
	return *ret ? 0 : -ENOMEM;
}

/* --- answers ------------------------------------------------------------------------------------
 */

static int read_range(yyjson_val *root, struct etcd_range *a, char *ret_error)
{
	yyjson_val *list = yyjson_obj_get(root, "kvs"), *v = yyjson_arr_get_first(list);
	size_t n = count_of(list);
	int r = read_header(root, &a->header, ret_error);

	if (r >= 0 && !number_of(root, "count", &a->count))
		r = complain(ret_error, "its count is no number");
	if (r >= 0)
		r = make_room(n, &a->kvs, ret_error);
	for (size_t i = 0; r >= 0 && i < n; i++, v = unsafe_yyjson_get_next(v)) {
		r = read_kv(v, &a->kvs[i], ret_error);
		a->n += r >= 0;
	}
	a->more = yyjson_is_true(yyjson_obj_get(root, "more"));
	return r;
}

int etcd_decode_range(const char *text, size_t length, struct etcd_range *ret,
		      char ret_error[static JSON_ERROR])
{
	_cleanup_(yyjson_doc_freep) yyjson_doc *doc = NULL;
	struct etcd_range a = {};
	int r = parse(text, length, &doc, ret_error);

	if (r >= 0)
		r = read_range(yyjson_doc_get_root(doc), &a, ret_error);
	if (r < 0)
		etcd_range_done(&a);
	else
		*ret = a;
	return r;
}

static void copy_text(char *to, size_t size, const char *text)
{
	(void)snprintf(to, size, "%s", text);
	for (; *to; to++)
		if ((unsigned char)*to < ' ' || *to == 0x7f)
			*to = ' ';
}

static void read_refusal(yyjson_val *v, struct etcd_refusal *ret)
{
	/* by the gateway's age */
	static const char *const codes[] = {"code", "grpc_code"}, *const keys[] = {"message",
										   "error"};
	uint64_t code;

	*ret = (struct etcd_refusal){};
	for (size_t i = 0; i < ARRAY_SIZE(codes) && !ret->code; i++)
		if (number_of(v, codes[i], &code))
			ret->code = code <= 16 ? (unsigned int)code : 2;
	for (size_t i = 0; i < ARRAY_SIZE(keys) && !*ret->text; i++) {
		const char *text = yyjson_get_str(yyjson_obj_get(v, keys[i]));

		if (text)
			copy_text(ret->text, sizeof(ret->text), text);
	}
}

/* What is no JSON: the gateway's own word, a sentence; or somebody else's page. */
static void read_line(const char *text, size_t length, struct etcd_refusal *ret)
{
	size_t n = 0;

	while (n < length && n < sizeof(ret->text) - 1 && text[n] && text[n] != '\n')
		n++;
	if (n && *text != '<' && *text != '{')
		(void)snprintf(ret->text, sizeof(ret->text), "%.*s", (int)n, text);
	text_make_printable(ret->text);
}

void etcd_decode_refusal(const char *text, size_t length, struct etcd_refusal *ret)
{
	_cleanup_(yyjson_doc_freep) yyjson_doc *doc = NULL;
	char error[JSON_ERROR];

	*ret = (struct etcd_refusal){};
	if (parse(text, length, &doc, error) >= 0)
		read_refusal(yyjson_doc_get_root(doc), ret);
	else
		read_line(text, length, ret);
}

/* "rpc error: code = PermissionDenied desc = etcdserver: permission denied" */
static void read_reason(yyjson_val *v, struct etcd_refusal *ret)
{
	static const struct {
		const char *word;
		unsigned int code;
	} words[] = {{"Unauthenticated", 16}, {"PermissionDenied", 7}, {"InvalidArgument", 3},
		     {"Unavailable", 14},     {"OutOfRange", 11},      {"ResourceExhausted", 8}};
	const char *text = yyjson_get_str(yyjson_obj_get(v, "cancel_reason")), *description;

	*ret = (struct etcd_refusal){};
	if (!text)
		return;
	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		if (strstr(text, words[i].word))
			ret->code = words[i].code;
	description = strstr(text, "desc = ");
	copy_text(ret->text, sizeof(ret->text), description ? description + 7 : text);
}

static int read_events(yyjson_val *result, struct etcd_notice *a, char *ret_error)
{
	yyjson_val *list = yyjson_obj_get(result, "events"), *v = yyjson_arr_get_first(list);
	size_t n = count_of(list);
	int r = make_room(n, &a->kvs, ret_error);

	for (size_t i = 0; r >= 0 && i < n; i++, v = unsafe_yyjson_get_next(v)) {
		yyjson_val *type = yyjson_obj_get(v, "type");

		r = read_kv(yyjson_obj_get(v, "kv"), &a->kvs[i], ret_error);
		a->n += r >= 0;
		if (r < 0)
			break;
		a->kvs[i].deleted = yyjson_equals_str(type, "DELETE");
		if (type && !a->kvs[i].deleted && !yyjson_equals_str(type, "PUT"))
			r = complain(ret_error, "an event is neither PUT nor DELETE");
	}
	return r;
}

static int read_result(yyjson_val *result, struct etcd_notice *a, char *ret_error)
{
	int r = read_header(result, &a->header, ret_error);

	if (r >= 0 && !number_of(result, "compact_revision", &a->compacted))
		r = complain(ret_error, "its compact_revision is no number");
	a->created = yyjson_is_true(yyjson_obj_get(result, "created"));
	a->cancelled = yyjson_is_true(yyjson_obj_get(result, "canceled"));
	a->is_part = yyjson_is_true(yyjson_obj_get(result, "fragment"));
	a->has_refusal = a->cancelled;
	if (a->cancelled)
		read_reason(result, &a->refusal);
	return r < 0 ? r : read_events(result, a, ret_error);
}

int etcd_decode_notice(const char *text, size_t length, struct etcd_notice *ret,
		       char ret_error[static JSON_ERROR])
{
	_cleanup_(yyjson_doc_freep) yyjson_doc *doc = NULL;
	struct etcd_notice a = {};
	yyjson_val *root, *result, *error;
	int r = parse(text, length, &doc, ret_error);

	if (r < 0)
		return r;
	root = yyjson_doc_get_root(doc);
	result = yyjson_obj_get(root, "result");
	error = yyjson_obj_get(root, "error");
	if (yyjson_is_obj(result)) {
		r = read_result(result, &a, ret_error);
	} else if (yyjson_is_obj(error)) {
		a.has_refusal = true;
		read_refusal(error, &a.refusal);
	} else {
		r = complain(ret_error, "it is neither a result nor an error");
	}
	if (r < 0)
		etcd_notice_done(&a);
	else
		*ret = a;
	return r;
}

int etcd_decode_token(const char *text, size_t length, char **ret,
		      char ret_error[static JSON_ERROR])
{
	_cleanup_(yyjson_doc_freep) yyjson_doc *doc = NULL;
	yyjson_val *v;
	const char *token;
	int r = parse(text, length, &doc, ret_error);

	if (r < 0)
		return r;
	v = yyjson_obj_get(yyjson_doc_get_root(doc), "token");
	token = yyjson_get_str(v);
	if (!token || !*token || strlen(token) != yyjson_get_len(v))
		return complain(ret_error, "it has no token");
	for (const char *p = token; *p; p++) /* it becomes a header */
		if ((unsigned char)*p <= ' ' || (unsigned char)*p >= 0x7f)
			return complain(ret_error, "its token is no word");
	*ret = strdup(token);
	explicit_bzero((char *)token, strlen(token)); /* the document's own copy */
	return *ret ? 0 : -ENOMEM;
}

/* --- an endpoint --------------------------------------------------------------------------------
 */

/* Of Metadata, which may be anything at all. */
static void read_metadata(yyjson_val *metadata, struct etcd_endpoint *e)
{
	yyjson_val *zone = yyjson_obj_get(metadata, "zone"),
		   *v = yyjson_obj_get(metadata, "weight");
	uint64_t weight;

	if (v && !yyjson_is_null(v) && number_of(metadata, "weight", &weight))
		e->weight = weight < LIMIT_WEIGHT ? (uint16_t)weight : LIMIT_WEIGHT;
	if (yyjson_is_str(zone) && yyjson_get_len(zone) <= LIMIT_NAME)
		(void)snprintf(e->zone, sizeof(e->zone), "%s", yyjson_get_str(zone));
}

int etcd_decode_endpoint(const char *text, size_t length, struct etcd_endpoint *ret)
{
	_cleanup_(yyjson_doc_freep) yyjson_doc *doc = NULL;
	struct etcd_endpoint e = {.weight = WEIGHT};
	char error[JSON_ERROR];
	yyjson_val *root, *address;
	uint64_t op;
	int r = parse(text, length, &doc, error);

	if (r < 0)
		return r == -ENOMEM ? r : -EBADMSG;
	root = yyjson_doc_get_root(doc);
	address = yyjson_obj_get(root, "Addr");
	if (!yyjson_is_str(address) || yyjson_get_len(address) >= ADDRESS_TEXT ||
	    strlen(yyjson_get_str(address)) != yyjson_get_len(address) ||
	    !number_of(root, "Op", &op) || op == OP_DELETE)
		return -EBADMSG;
	if (address_parse_port(yyjson_get_str(address), &e.addr, &e.port) < 0 ||
	    !address_is_target(&e.addr))
		return -EBADMSG;
	read_metadata(yyjson_obj_get(root, "Metadata"), &e);
	*ret = e;
	return 0;
}
