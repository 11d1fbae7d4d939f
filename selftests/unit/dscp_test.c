/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/*
 * The DS field, judged by the headers as the C library lays them out.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>

#include <hostqos/dscp.h>

/* RFC 2474, 2597, 3246 and 8622, as the octets that are on the wire. */
static void test_known_code_points(void **state)
{
	static const struct {
		uint8_t dscp, octet;
	} known[] = {{0, IPTOS_CLASS_CS0},  {8, IPTOS_CLASS_CS1},  {10, IPTOS_DSCP_AF11},
		     {22, IPTOS_DSCP_AF23}, {34, IPTOS_DSCP_AF41}, {46, IPTOS_DSCP_EF},
		     {48, IPTOS_CLASS_CS6}, {56, IPTOS_CLASS_CS7}, {1, 0x04},
		     {HQ_DSCP_MAX, 0xfc}};

	(void)state;
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		assert_int_equal(hq_dsfield(0, known[i].dscp), known[i].octet);
		assert_int_equal(hq_dscp(known[i].octet), known[i].dscp);
	}
}

static void test_every_dscp_keeps_ecn(void **state)
{
	(void)state;
	for (unsigned int old = 0; old <= 0xff; old++) {
		for (unsigned int dscp = 0; dscp <= HQ_DSCP_MAX; dscp++) {
			uint8_t field = hq_dsfield((uint8_t)old, (uint8_t)dscp);

			assert_int_equal(field & IPTOS_ECN_MASK, old & IPTOS_ECN_MASK);
			assert_int_equal(hq_dscp(field), dscp);
		}
	}
}

/* RFC 8200, section 3: version 4 bits, traffic class 8, flow label 20. */
static void ip6_head(uint8_t head[4], uint32_t traffic_class, uint32_t label)
{
	struct ip6_hdr header = {.ip6_flow = htonl(6U << 28 | traffic_class << 20 | label)};

	memcpy(head, &header, 4);
}

static void test_ip6_reads_every_traffic_class(void **state)
{
	static const uint32_t labels[] = {0, 0xfffff, 0x80001, 0x5a5a5};
	uint8_t head[4];

	(void)state;
	for (uint32_t tc = 0; tc <= 0xff; tc++) {
		for (size_t i = 0; i < sizeof(labels) / sizeof(labels[0]); i++) {
			ip6_head(head, tc, labels[i]);
			assert_int_equal(hq_ip6_get_dsfield(head), tc);
		}
	}
}

static void test_ip6_writes_only_the_traffic_class(void **state)
{
	static const uint32_t labels[] = {0, 0xfffff, 0x80001, 0x5a5a5};
	uint8_t head[4], expected[4];

	(void)state;
	for (uint32_t old = 0; old <= 0xff; old++) {
		for (uint32_t tc = 0; tc <= 0xff; tc++) {
			for (size_t i = 0; i < sizeof(labels) / sizeof(labels[0]); i++) {
				ip6_head(head, old, labels[i]);
				ip6_head(expected, tc, labels[i]);
				hq_ip6_set_dsfield(head, (uint8_t)tc);
				assert_memory_equal(head, expected, sizeof(head));
			}
		}
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_known_code_points),
		cmocka_unit_test(test_every_dscp_keeps_ecn),
		cmocka_unit_test(test_ip6_reads_every_traffic_class),
		cmocka_unit_test(test_ip6_writes_only_the_traffic_class),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
