/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A folder of manifests, and what each of its files last said. Blocks on the disk, so files.c scans
 * in a thread; nobody looks into it meanwhile. A file that cannot be used keeps its last word, and
 * a folder that cannot be read changes nothing.
 */
#pragma once

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

#include "model/codec.h"

#define FILES_MAX 4096          /* files of one folder */
#define FILES_BYTES (64u << 20) /* of all its files together */
#define FILES_QUIET_MS 20 /* a file that changed less long ago may be half of what it will be */

/* Two stamps that are equal are of the same bytes, but see FILES_QUIET_MS. */
struct files_stamp {
	dev_t device;
	ino_t inode;
	off_t size;
	struct timespec changed;
};

struct files_file {
	char *name;
	struct files_stamp stamp; /* of the last reading, good or not */
	struct object *objects;   /* its last word; owned */
	size_t n;
	char *why;     /* its last reading was of no use: file:line:column: what is wrong */
	bool was_read; /* stamp is of something */
	bool has_word;
	bool is_missing; /* at the last look: an editor may be about to put it back */
};

struct files_folder {
	char *path;
	const char *tag, *zone;   /* of its objects; zone of endpoints that say none, or NULL */
	struct files_file *files; /* by name */
	size_t n;
	/* What the last scan found. */
	struct {
		bool changed;        /* some word is another */
		bool unsettled;      /* a file is being written: look again after FILES_QUIET_MS */
		size_t broken;       /* files that are of no use as they are */
		size_t wordless;     /* of those, the ones without an earlier word */
		size_t newly_broken; /* of those, the ones that were read now */
		const char *text;    /* what is wrong with the last of the broken; NULL: none */
	} found;
};

/*
 * Reads what is new, and forgets what is gone: regular files, or links to such, that end in .yaml,
 * .yml or .json and do not begin with a dot. `open_names` are files that somebody is writing, which
 * are left as they were. 0; -errno of the folder (-ENOENT, -ENOTDIR, -EACCES, ...), -E2BIG: more
 * than FILES_MAX; -ENOMEM. Without success nothing has changed.
 */
int files_scan(struct files_folder *f, const char *const *open_names, size_t n_open);
/* A word of all files; the first of equal names in order of the files stays, `ret_text` tells of a
 * second. Free with object_free_list(). -E2BIG: more than LIMIT_MERGED; -ENOMEM. */
int files_gather(const struct files_folder *f, struct object **ret, size_t *ret_n,
		 char ret_text[static 200]);
/* By kind, namespace and name; the order of files_gather(). */
int files_compare(const struct object *a, const struct object *b);
/* Everything but the struct itself. */
void files_folder_done(struct files_folder *f);
