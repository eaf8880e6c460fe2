/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A scenario as text: one step a line, # begins a comment. script.c has the list of steps.
 */
#pragma once

/* Runs it in a world of its own; a step that does not come out as it says fails the test. */
void script_run(const char *name, char *text);
