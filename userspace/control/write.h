/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A change on its way: asked for by a request, applied by the daemon, answered when it is durable.
 * Private to control/.
 */
#pragma once

struct write;

/* The request is gone before its change was durable: nobody is to be answered. */
void write_forget(struct write *w);
