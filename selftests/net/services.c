/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
#include <unistd.h>

#include "services.h"

const struct service services[SERVICES] = {
	{NEAR4, NEAR4, FAR4, FAR4_B},
	{NEAR6, NEAR6, FAR6, FAR6_B},
	{"::", NEAR4, FAR4, FAR4_B},
	{"::", NEAR6, FAR6, FAR6_B},
};

int service_listen(const struct place *place, int service)
{
	return tcp_listener(place, services[service].listen, SERVICE_PORTS + service);
}

int visitor(const struct place *place, int service, const char *from, int dscp)
{
	const char *to = services[service].connect;
	int client = tcp_socket(place, to);

	if (address_family(to) == AF_INET)
		set_option(client, SOL_IP, IP_TOS, dscp << 2);
	else
		set_option(client, SOL_IPV6, IPV6_TCLASS, dscp << 2);
	bind_to(client, from, 0);
	return client;
}

int visit(struct testbed *tb, int listener, int service, const char *from, int dscp)
{
	const struct service *s = &services[service];
	struct place far = far_place(tb);
	int client = visitor(&far, service, from, dscp), server, port;

	connect_to(client, s->connect, SERVICE_PORTS + service);
	port = local_port(client);
	server = accept_from(listener);
	send_bytes(client, 1);
	receive_bytes(server, 1);
	send_bytes(server, 1);
	receive_bytes(client, 1);
	close(server);
	receive_end(client);
	close(client);
	return port;
}
