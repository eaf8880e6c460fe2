/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The verbs, one file each (verb_get.c has verb_get_run). Each takes the struct ctl and returns 0,
 * or < 0 after it has told why; see ctl.h.
 */
#pragma once

int verb_get_run(void *ctl);
int verb_describe_run(void *ctl);
int verb_apply_run(void *ctl);
int verb_delete_run(void *ctl);
int verb_backend_run(void *ctl);
int verb_confirm_run(void *ctl);
int verb_explain_run(void *ctl);
int verb_events_run(void *ctl);
int verb_status_run(void *ctl);
int verb_doctor_run(void *ctl);
int verb_config_run(void *ctl);
int verb_version_run(void *ctl);
int verb_uninstall_run(void *ctl);
int verb_completion_run(void *ctl);
int verb_help_run(void *ctl);
