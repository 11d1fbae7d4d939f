/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
#ifndef HOSTQOS_LOADER_SERVICE_MANAGER_H
#define HOSTQOS_LOADER_SERVICE_MANAGER_H

/* Tell the service manager that started us, if one did: sd_notify(3) without its library. */
void manager_tell(const char *state);

#endif
