/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The pin folder: <bpffs>/v<ABI>/{maps,links}. Whoever changes anything below it holds the lock
 * on <bpffs>.
 */
#pragma once

/* Makes the folder if it is missing and locks it. fd of the lock; -EBUSY: another holds it;
 * -ENOTSUP: not on a bpffs. */
int pin_lock(const char *bpffs);
/* Makes v<ABI>/maps and v<ABI>/links; maps that no link uses are removed first. Path of v<ABI> in
 * *ret (caller frees). -EPROTO when pins of another ABI are there: its number in *ret_other. */
int pin_prepare(const char *bpffs, unsigned int abi, char **ret, int *ret_other);
/* Removes every v<N> folder with what is in it, then bpffs itself if it is empty and was ours. */
int pin_remove_all(const char *bpffs);
/* The pid noted in v<abi>/maps/sn_meta by the instance that tends it; 0: unknown. */
int pin_read_pid(const char *bpffs, unsigned int abi);
