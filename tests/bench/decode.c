/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How fast what a Kubernetes API server says is read: JSON alone, as the agent has it parsed, and
 * until there are objects. Each FILE is one page of a list, of EndpointSlices if its name
 * begins with "slice", else of Services.
 *
 * Before it: registries.py has saved the pages of a real server. After it: one line of JSON. It
 * must never time the reading of a file.
 */
#include <yyjson.h>

#include "base/file.h"
#include "bench.h"
#include "registry/kubernetes_decode.h"

#define PAGES_MAX 256
#define PAGE_BYTES (64u << 20)
#define LEAST_NS 300000000u /* of each way */

struct page {
	enum kubernetes_kind kind;
	char *text;
	size_t length;
};

static struct page pages[PAGES_MAX];
static size_t n_pages, n_bytes;

static int parse(const struct page *p)
{
	yyjson_doc *doc = yyjson_read_opts(p->text, p->length, 0, NULL, NULL);
	int r = doc ? 0 : -EBADMSG;

	yyjson_doc_free(doc);
	return r;
}

static int decode(const struct page *p)
{
	struct kubernetes_list list;
	int r = kubernetes_decode_list(p->text, p->length, p->kind, &list);

	if (r >= 0)
		kubernetes_list_done(&list);
	return r;
}

/* Of this thread alone: whoever else runs here does not count. */
static uint64_t cpu_ns(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* ns a byte, of all pages in turn until it took long enough; negative: -errno. */
static double measure(int (*way)(const struct page *))
{
	uint64_t begin = cpu_ns(), now = begin;
	size_t rounds = 0;

	for (; now - begin < LEAST_NS; rounds++, now = cpu_ns())
		for (size_t i = 0; i < n_pages; i++) {
			int r = way(&pages[i]);

			if (r < 0)
				return r;
		}
	return (double)(now - begin) / (double)(rounds * n_bytes);
}

int main(int argc, char **argv)
{
	double parsed, decoded;

	if (argc < 2 || argc > PAGES_MAX) {
		(void)fprintf(stderr, "usage: decode FILE...\n");
		return 2;
	}
	for (int i = 1; i < argc; i++, n_pages++) {
		const char *name = strrchr(argv[i], '/');
		struct page *p = &pages[n_pages];
		int r = file_read(argv[i], PAGE_BYTES, &p->text, &p->length, NULL);

		if (r < 0) {
			(void)fprintf(stderr, "%s: %s\n", argv[i], strerror(-r));
			return 1;
		}
		p->kind = strncmp(name ? name + 1 : argv[i], "slice", 5) ? KUBERNETES_SERVICE
									 : KUBERNETES_SLICE;
		n_bytes += p->length;
	}
	parsed = measure(parse);
	decoded = measure(decode);
	for (size_t i = 0; i < n_pages; i++)
		free(pages[i].text);
	if (parsed < 0 || decoded < 0) {
		(void)fprintf(stderr, "a page is no list of its kind\n");
		return 1;
	}
	(void)printf("{\"bytes\": %zu, \"parsed_ns\": %.4f, \"decoded_ns\": %.4f}\n", n_bytes,
		     parsed, decoded);
	return 0;
}
