/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Logging at the edge. Human text on a terminal, "<n>" priority prefixes under journald, ECS JSON
 * lines when asked for. Pure code does not log; whoever decides logs once, and says what happens
 * next. Repeats of one message are rate-limited, with a count of what was swallowed; debug messages
 * are not.
 */
#pragma once

#include <stdbool.h>

enum log_level { LOG_ERROR = 3, LOG_WARNING = 4, LOG_NOTICE = 5, LOG_INFO = 6, LOG_DEBUG = 7 };
enum log_format { LOG_FORMAT_AUTO, LOG_FORMAT_TEXT, LOG_FORMAT_JSON };

void log_init(const char *program, enum log_level max, enum log_format format);
/* Keeps errno. */
__attribute__((format(printf, 2, 3))) void log_write(enum log_level level, const char *format, ...);
/* As log_write, with ": <strerror(-r)>" appended; returns r. */
__attribute__((format(printf, 3, 4))) int log_write_r(enum log_level level, int r,
						      const char *format, ...);

#define log_err(...) log_write(LOG_ERROR, __VA_ARGS__)
#define log_warn(...) log_write(LOG_WARNING, __VA_ARGS__)
#define log_notice(...) log_write(LOG_NOTICE, __VA_ARGS__)
#define log_info(...) log_write(LOG_INFO, __VA_ARGS__)
#define log_debug(...) log_write(LOG_DEBUG, __VA_ARGS__)
#define log_err_r(r, ...) log_write_r(LOG_ERROR, r, __VA_ARGS__)
#define log_warn_r(r, ...) log_write_r(LOG_WARNING, r, __VA_ARGS__)
