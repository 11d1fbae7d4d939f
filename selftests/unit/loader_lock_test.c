/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/*
 * The lock of an instance, on a directory of /tmp in bpffs's stead: flock(2)
 * is the same there.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "../../loader/instance.c"
#include "../../loader/lock.c"
#include "../../loader/log.c"
#include "../../loader/mounts.c"

/* tables.c needs a kernel; instance.c asks it for names only. */
const char *table_outer_name(enum table table)
{
	(void)table;
	return "";
}

struct fixture {
	char base[64];
	struct instance in;
};

static int make_fixture(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	strcpy(f->base, "/tmp/hostqos-lock-XXXXXX");
	if (!mkdtemp(f->base))
		return -1;
	f->in.name = "test";
	f->in.lock = -1;
	memset(f->in.map, -1, sizeof(f->in.map));
	memset(f->in.outer, -1, sizeof(f->in.outer));
	snprintf(f->in.dir, sizeof(f->in.dir), "%s/hostqos/test", f->base);
	*state = f;
	return join_path(f->in.links, f->in.dir, "links") ||
	       join_path(f->in.maps, f->in.dir, "maps");
}

static int drop_fixture(void **state)
{
	struct fixture *f = *state;

	remove_directory(f->in.links);
	instance_remove(&f->in);
	instance_close(&f->in);
	rmdir(f->base);
	free(f);
	return 0;
}

static void the_first_makes_the_directories(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(instance_lock_existing(&f->in), -ENOENT);
	assert_int_equal(instance_lock(&f->in), 0);
	assert_true(f->in.made);
	assert_int_equal(access(f->in.links, F_OK), 0);
	assert_int_equal(access(f->in.maps, F_OK), 0);
	instance_close(&f->in);
	assert_int_equal(instance_lock(&f->in), 0);
	assert_false(f->in.made);
}

/* Starts a process that takes the lock and tells so with a byte. */
static pid_t start_second(const struct fixture *f, int told)
{
	pid_t pid = fork();

	if (!pid) {
		struct instance second = f->in;

		/* The lock is the open directory's: this process has inherited it. */
		close(second.lock);
		second.lock = -1;
		_exit(instance_lock(&second) || write(told, "x", 1) != 1);
	}
	return pid;
}

/* Does the process wait in flock(2)? Then /proc/locks lists it behind an arrow. */
static bool waits_for_lock(pid_t pid)
{
	char line[256];
	int waiter;
	bool found = false;
	FILE *locks = fopen("/proc/locks", "re");

	while (fgets(line, sizeof(line), locks))
		if (sscanf(line, "%*d: -> FLOCK %*s %*s %d", &waiter) == 1 && waiter == pid)
			found = true;
	fclose(locks);
	return found;
}

static void assert_second_waits_for(struct fixture *f, void (*let_go)(struct fixture *f))
{
	int told[2], status;
	char byte;
	pid_t pid;

	assert_int_equal(pipe(told), 0);
	assert_int_equal(instance_lock(&f->in), 0);
	pid = start_second(f, told[1]);
	assert_true(pid > 0);
	close(told[1]);
	while (!waits_for_lock(pid))
		usleep(1000);
	let_go(f);
	assert_int_equal(read(told[0], &byte, 1), 1);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	close(told[0]);
}

static void unlock(struct fixture *f)
{
	instance_close(&f->in);
}

static void the_second_waits(void **state)
{
	assert_second_waits_for(*state, unlock);
}

/* What `detach` does: the directory that the second has open is gone when it gets the lock. */
static void remove_and_unlock(struct fixture *f)
{
	assert_int_equal(remove_directory(f->in.links), 0);
	assert_int_equal(instance_remove(&f->in), 0);
	assert_int_not_equal(access(f->in.dir, F_OK), 0);
	instance_close(&f->in);
}

static void the_second_makes_anew_what_the_first_removed(void **state)
{
	struct fixture *f = *state;

	assert_second_waits_for(f, remove_and_unlock);
	assert_int_equal(access(f->in.dir, F_OK), 0);
}

static void the_holder_is_named(void **state)
{
	struct fixture *f = *state;
	struct stat st;

	assert_int_equal(instance_lock(&f->in), 0);
	assert_int_equal(fstat(f->in.lock, &st), 0);
	assert_int_equal(lock_holder(&st), getpid());
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make_fixture, drop_fixture)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(the_first_makes_the_directories),
		TEST(the_second_waits),
		TEST(the_second_makes_anew_what_the_first_removed),
		TEST(the_holder_is_named),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
