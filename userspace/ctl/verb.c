/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The table of verbs: names, options and words of help. Parsing, help, the man page and completion
 * all come from it; what a verb does is in its own file.
 */
#include "ctl/verb.h"
#include "ctl/noun.h"

#define AT(member) .offset = offsetof(struct ctl_options, member)

static const char *const formats[] = {"table", "wide", "json", "yaml", "name", NULL};
static const char *const change_formats[] = {"table", "wide", "json", "yaml", "name", "diff", NULL};
static const char *const protocols[] = {"tcp", "udp", NULL};
static const char *const shells[] = {"bash", "zsh", "fish", NULL};
static const char *const holds[] = {"eject", "restore", "drain", NULL};
static const char *const show[] = {"show", NULL};
static const char *const confirmed[] = {"registry", NULL};

#define OPTION_OUTPUT                                                                              \
	{                                                                                          \
		"output", 'o', OPTION_CHOICE, "FORMAT", "form of the output", formats, AT(format)  \
	}
#define OPTION_NAMESPACE                                                                           \
	{                                                                                          \
		"namespace", 'n', OPTION_TEXT, "NAMESPACE", "only this namespace", AT(namespace)   \
	}
#define OPTION_FILES(help_)                                                                        \
	{                                                                                          \
		"filename", 'f', OPTION_LIST, "FILE", help_, AT(files)                             \
	}

static const struct option_item common[] = {
	{"socket", 's', OPTION_TEXT, "PATH",
	 "control socket (default $SINEW_SOCKET, else " CTL_SOCKET_DEFAULT ")", AT(socket)},
	{"agent-socket", 0, OPTION_TEXT, "PATH",
	 "socket of sinew-agent (default $SINEW_AGENT_SOCKET, else " CTL_AGENT_SOCKET_DEFAULT ")",
	 AT(agent_socket)},
	{"timeout", 't', OPTION_DURATION, "DURATION", "longest wait for an answer (default 10s)",
	 .minimum = 1, .maximum = 86400000, AT(timeout_ms)},
	{"help", 'h', OPTION_FLAG, NULL, "this help", AT(help)},
};

static const struct option_item get_items[] = {
	OPTION_NAMESPACE,
	{"all-namespaces", 'A', OPTION_FLAG, NULL, "every namespace (the default)",
	 AT(all_namespaces)},
	OPTION_OUTPUT,
	{"watch", 'w', OPTION_FLAG, NULL, "draw again and again, with rates", AT(watch)},
	{"interval", 'i', OPTION_DURATION, "DURATION", "between two looks of --watch (default 2s)",
	 .minimum = 100, .maximum = 3600000, AT(interval_ms)},
	{"limit", 'l', OPTION_NUMBER, "N", "flows: at most so many (default 1000)", .minimum = 1,
	 .maximum = 1000000, AT(limit)},
};

static const struct option_item describe_items[] = {OPTION_NAMESPACE, OPTION_OUTPUT};

static const struct option_item apply_items[] = {
	OPTION_FILES("manifest, folder of manifests, or - for standard input; may be repeated"),
	{"dry-run", 0, OPTION_FLAG, NULL, "say what would change, change nothing", AT(dry_run)},
	{"prune", 0, OPTION_FLAG, NULL, "remove what the source had and these files do not name",
	 AT(prune)},
	{"source", 0, OPTION_TEXT, "SOURCE", "who declares these objects (default manifest)",
	 AT(source)},
	{"output", 'o', OPTION_CHOICE, "FORMAT", "form of the output", change_formats, AT(format)},
};

static const struct option_item delete_items[] = {
	OPTION_FILES("delete the objects that these manifests name"),
	{"namespace", 'n', OPTION_TEXT, "NAMESPACE", "of names without one (default \"default\")",
	 AT(namespace)},
	{"dry-run", 0, OPTION_FLAG, NULL, "say what would change, change nothing", AT(dry_run)},
	{"ignore-not-found", 0, OPTION_FLAG, NULL, "what does not exist is no failure",
	 AT(ignore_missing)},
	{"source", 0, OPTION_TEXT, "SOURCE",
	 "with -f: who declared these objects (default manifest)", AT(source)},
	{"output", 'o', OPTION_CHOICE, "FORMAT", "form of the output", change_formats, AT(format)},
};

static const struct option_item backend_items[] = {
	{"namespace", 'n', OPTION_TEXT, "NAMESPACE",
	 "of a SERVICE without one (default \"default\")", AT(namespace)},
	{"for", 0, OPTION_TEXT, "DURATION",
	 "how long, 0 is until restored (default: eject 10m, drain 0)", AT(hold_for)},
	{"reason", 0, OPTION_TEXT, "TEXT", "why, for whoever looks later", AT(reason)},
	OPTION_OUTPUT,
};

static const struct option_item explain_items[] = {
	{"protocol", 'p', OPTION_TEXT, "PROTOCOL", "tcp or udp (default tcp)", protocols,
	 AT(protocol)},
	{"mark", 'm', OPTION_NUMBER, "MARK", "SO_MARK of the socket (default 0)",
	 .maximum = UINT32_MAX, AT(mark)},
	OPTION_OUTPUT,
};

static const struct option_item events_items[] = {
	OPTION_NAMESPACE,
	{"follow", 'f', OPTION_FLAG, NULL, "go on until interrupted (the default)", AT(follow)},
	{"recent", 'r', OPTION_NUMBER, "N", "only the last N that the daemon remembers, then end",
	 .minimum = 1, .maximum = 256, AT(recent)},
	{"for", 0, OPTION_DURATION, "DURATION", "end after so long", .minimum = 1, AT(duration_ms)},
	{"limit", 'l', OPTION_NUMBER, "N", "end after so many events", .minimum = 1, AT(count)},
	OPTION_OUTPUT,
};

static const struct option_item output_items[] = {OPTION_OUTPUT};

static const struct option_item config_items[] = {
	{"origin", 0, OPTION_FLAG, NULL, "also where each value came from", AT(origin)},
	OPTION_OUTPUT,
};

static const struct option_item uninstall_items[] = {
	{"yes", 'y', OPTION_FLAG, NULL, "do not ask", AT(yes)},
};

static const struct option_item help_items[] = {
	{"man", 0, OPTION_FLAG, NULL, "options and commands as text for a man page", AT(man)},
};

#define ITEMS(array) .options = {array, ARRAY_SIZE(array)}
#define COMPLETE_NAMES "sinewctl get \"$noun\" -o name 2>/dev/null | sed 's|^[^/]*/||'"

static const struct option_command verbs[] = {
	{.name = "get",
	 .aliases = "list ls",
	 .operands = "NOUN [[NAMESPACE/]NAME...]",
	 .summary = "list objects",
	 ITEMS(get_items),
	 .words = noun_words,
	 .complete = COMPLETE_NAMES,
	 .min_operands = 1,
	 .max_operands = -1,
	 .run = verb_get_run,
	 .description =
		 "Lists objects of one kind, all or those named. A NAME without a namespace "
		 "means that name in every namespace unless -n is given.\n\n"
		 "RATE is what came in during half a second (with --watch: since the last picture). "
		 "Counts and shares are of all connects since the kernel first saw the object.",
	 .examples = "sinewctl get services\nsinewctl get endpoints shop/payments -o wide\n"
		     "sinewctl get services --watch\nsinewctl get services -o json"},
	{.name = "describe",
	 .aliases = "show",
	 .operands = "NOUN [[NAMESPACE/]NAME...]",
	 .summary = "everything about one object",
	 ITEMS(describe_items),
	 .words = noun_words,
	 .complete = COMPLETE_NAMES,
	 .min_operands = 1,
	 .max_operands = -1,
	 .run = verb_describe_run,
	 .examples = "sinewctl describe service shop/payments"},
	{.name = "apply",
	 .operands = NULL,
	 .summary = "make manifests the desired state",
	 ITEMS(apply_items),
	 .complete = "FILE",
	 .run = verb_apply_run,
	 .description =
		 "Reads manifests (sinew.yaml(5)), checks all of them here, and sends them as "
		 "one change: all of it is applied or nothing. Objects that the files do not "
		 "name stay, unless --prune is given.",
	 .examples =
		 "sinewctl apply -f shop.yaml\nsinewctl apply -f shop/ --prune --dry-run -o diff\n"
		 "generate | sinewctl apply -f -"},
	{.name = "delete",
	 .aliases = "rm",
	 .operands = "NOUN [NAMESPACE/]NAME...",
	 .summary = "remove services or policies",
	 ITEMS(delete_items),
	 .words = noun_words,
	 .complete = COMPLETE_NAMES,
	 .max_operands = -1,
	 .run = verb_delete_run,
	 .examples = "sinewctl delete service shop/payments\nsinewctl delete -f shop.yaml"},
	{.name = "backend",
	 .operands = "eject|restore|drain [NAMESPACE/]SERVICE ADDRESS[:PORT]",
	 .summary = "set a backend aside by hand, or take it back",
	 ITEMS(backend_items),
	 .words = holds,
	 .min_operands = 3,
	 .max_operands = 3,
	 .run = verb_backend_run,
	 .description =
		 "A backend that is ejected gets no new connection, not even in panic; those that "
		 "it has stay. One that is drained is also left by datagram sockets. Both end by the "
		 "kernel's time, whether a daemon runs or not. restore ends them, and the "
		 "kernel's own ejection as well. Without a PORT it is every port of the endpoint.",
	 .examples =
		 "sinewctl backend eject shop/payments 10.0.0.5 --for 1h --reason \"leaks memory\"\n"
		 "sinewctl backend drain shop/payments 10.0.0.5:8080\n"
		 "sinewctl backend restore shop/payments 10.0.0.5"},
	{.name = "confirm",
	 .operands = "registry NAME",
	 .summary = "believe a registry that took endpoints back",
	 ITEMS(output_items),
	 .words = confirmed,
	 .complete = COMPLETE_NAMES,
	 .min_operands = 1,
	 .max_operands = 2,
	 .run = verb_confirm_run,
	 .description =
		 "When a registry takes many endpoints back at once, sinew-agent keeps them as "
		 "suspect, until the registry says it again or names them again. One that lost its "
		 "data is not believed however often it says so. This lets go what is held of it: "
		 "those endpoints leave their services at once.",
	 .examples = "sinewctl get registries\nsinewctl confirm registry dc1"},
	{.name = "explain",
	 .aliases = "why",
	 .operands = "[WORKLOAD] DESTINATION",
	 .summary = "which backend a connect would get, and why",
	 ITEMS(explain_items),
	 .min_operands = 1,
	 .max_operands = 2,
	 .run = verb_explain_run,
	 .description =
		 "Asks the kernel's own selection code what a connect to DESTINATION "
		 "(ADDRESS:PORT, or NAME.NAMESPACE:PORT) would do. WORKLOAD is a process id, a systemd unit, or the path "
		 "of a cgroup; without it a workload of no special treatment is assumed.",
	 .examples = "sinewctl why 10.96.0.10:80\nsinewctl why checkout.service payments.shop:80\n"
		     "sinewctl why 4711 10.96.0.53:53 --protocol udp"},
	{.name = "events",
	 .operands = "[[NAMESPACE/]SERVICE]",
	 .summary = "what the kernel and the daemon notice, as it happens",
	 ITEMS(events_items),
	 .max_operands = 1,
	 .run = verb_events_run,
	 .description =
		 "Prints one line for each failed connect, a sample of those that succeeded, "
		 "and what the daemon does. It begins now and goes on until interrupted; with "
		 "--recent it tells the last events instead.",
	 .examples =
		 "sinewctl events\nsinewctl events shop/payments --recent 20\nsinewctl events --for 30s\n"
		 "sinewctl events -o json | jq .reason"},
	{.name = "status",
	 .summary = "the daemon, the kernel programs and the traffic at a glance",
	 ITEMS(output_items),
	 .run = verb_status_run},
	{.name = "doctor",
	 .summary = "check this host, and say what to do",
	 ITEMS(output_items),
	 .run = verb_doctor_run,
	 .description =
		 "Prints one line for each check of the daemon, of sinew-agent and of each registry "
		 "that it follows, with what to do about those that need attention. Exits with 1 "
		 "when a check failed. No agent is a failure only where there is an agent.yaml."},
	{.name = "config",
	 .operands = "[show]",
	 .summary = "the daemon's settings in force",
	 ITEMS(config_items),
	 .words = show,
	 .max_operands = 1,
	 .run = verb_config_run,
	 .examples = "sinewctl config show --origin"},
	{.name = "version",
	 .summary = "versions of this program and of the daemon",
	 ITEMS(output_items),
	 .run = verb_version_run},
	{.name = "uninstall",
	 .summary = "detach, remove every trace from the kernel, end the daemon",
	 ITEMS(uninstall_items),
	 .run = verb_uninstall_run,
	 .description =
		 "The daemon detaches its programs, removes its pins and its state, and ends. "
		 "Connections that exist keep their backends; new ones go where the "
		 "application says, untranslated. When no daemon answers, \"sinewd "
		 "--uninstall\" is run instead."},
	{.name = "completion",
	 .operands = "SHELL",
	 .summary = "completion script for a shell",
	 .words = shells,
	 .min_operands = 1,
	 .max_operands = 1,
	 .run = verb_completion_run,
	 .examples = "source <(sinewctl completion bash)"},
	{.name = "help",
	 .operands = "[COMMAND]",
	 .summary = "help about a command",
	 ITEMS(help_items),
	 .max_operands = 1,
	 .run = verb_help_run},
};

static const struct option_program program = {
	.name = "sinewctl",
	.summary =
		"Looks at and changes the services that sinewd keeps in the kernel of this host.",
	.notes =
		"Nouns: services (svc), endpoints (ep), policies (pol), registries, registrations (reg), "
		"sources,\nworkloads, flows.\n"
		"Exit codes: 0 ok, 1 failed, 2 usage or manifest errors, 3 daemon unreachable, "
		"4 not found,\n5 not permitted, 6 timed out. NO_COLOR turns colour off.\n"
		"\"sinewctl help COMMAND\" says more.",
	.options = {common, ARRAY_SIZE(common)},
	.commands = verbs,
	.n_commands = ARRAY_SIZE(verbs),
};

const struct option_program *ctl_program(void)
{
	return &program;
}
