/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * JSON answers to stdout in the formats that programs read (-o json, -o yaml). Tables are made by
 * the nouns; this room changes nothing about what the daemon said.
 */
#pragma once

#include <yyjson.h>

#include "ctl/ctl.h"

/* True for -o json and -o yaml. */
bool output_is_data(const struct ctl *c);
/* Writes a value in the asked format, with a line end. 0; -ENOMEM or -EIO, told. */
int output_value(const struct ctl *c, yyjson_val *value);
/* YAML in block style, strings quoted whenever a YAML 1.1 or 1.2 reader could take them for
 * something else. Never fails but by the stream. */
void output_yaml(FILE *f, yyjson_val *value);
