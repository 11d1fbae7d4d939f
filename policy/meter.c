// SPDX-License-Identifier: (GPL-2.0-only OR MIT)
#include <hostqos/bucket.h>

#include "compile.h"

#define TICKS_PER_SECOND (1000000000ULL << HQ_TICK_SHIFT)
#define BITS_PER_BYTE	 8

/*
 * Ticks per byte as mult / 2^shift, with all 32 bits of mult in use: the error
 * is below 2^-32, and hq_cost() cannot overflow with less than 2^31 bytes.
 */
void compile_meter(struct hq_meter *meter, uint64_t rate, uint32_t burst)
{
	const unsigned __int128 ticks = BITS_PER_BYTE * TICKS_PER_SECOND;
	unsigned int shift = 0;

	while ((ticks << (shift + 1)) / rate < UINT32_MAX)
		shift++;
	meter->rate = rate / BITS_PER_BYTE;
	meter->mult = ((ticks << shift) + rate / 2) / rate;
	meter->shift = shift;
	meter->burst = burst;
	meter->depth = hq_cost(meter, burst);
}
