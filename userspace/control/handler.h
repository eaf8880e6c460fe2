/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The handlers that the routes table names. Each answers its request, suspends it, or gives -errno
 * that route.c answers. Private to control/.
 */
#pragma once

#include "control/server.h"

int show_services(struct request *q);
int show_service(struct request *q);
int show_policies(struct request *q);
int show_policy(struct request *q);
int show_registrations(struct request *q);
int show_registration(struct request *q);
int show_source(struct request *q);
int show_backends(struct request *q);
int show_flows(struct request *q);

int write_service(struct request *q);
int write_service_delete(struct request *q);
int write_policy(struct request *q);
int write_policy_delete(struct request *q);
int write_registration(struct request *q);
int write_registration_delete(struct request *q);
int write_source(struct request *q);
int write_source_delta(struct request *q);
int write_source_delete(struct request *q);

int status_get(struct request *q);
int status_health(struct request *q);
int status_doctor(struct request *q);
int status_config(struct request *q);
int status_sources(struct request *q);
int status_workloads(struct request *q);
int status_uninstall(struct request *q);

int backend_eject(struct request *q);
int backend_drain(struct request *q);
int backend_restore(struct request *q);

int explain_get(struct request *q);
int event_get(struct request *q);
int listener_get(struct request *q);
int podlist_get(struct request *q);
int podlist_put(struct request *q);
int podlist_delete(struct request *q);
int metrics_get(struct request *q);
int openapi_get(struct request *q);
