# SPDX-License-Identifier: (GPL-2.0-only OR MIT)
# make               build $(O)/hostqos             make test        all tests, after installing what they need
# make demo          the experiment, likewise       make test-unit   (-bpf, -net, -vm) one kind of tests
# make bench         costs per packet               make check, check-format, install, clean
# V=1 shows the commands; O=DIR builds elsewhere; KERNELS="6.1 6.12" chooses those of test-vm.
MAKEFLAGS += -rR
.DELETE_ON_ERROR:
.SECONDARY:

O	  ?= build
PREFIX	  ?= /usr/local
CC	  := $(if $(filter default undefined,$(origin CC)),gcc,$(CC))
CLANG	  ?= clang
PKG_CONFIG ?= pkg-config
KERNELS	  ?= 6.1 6.12
# Debian keeps bpftool where the PATH of users does not look; setup.sh unpacks nginx here.
export PATH := $(PATH):/usr/local/sbin:/usr/sbin:/sbin:$(abspath $(O))/unpacked/nginx/usr/sbin
export O
BPFTOOL	  ?= bpftool
# Asked for only where root is needed: what is built stays the user's.
export SUDO := $(if $(filter 0,$(shell id -u)),,sudo)

arch	  := $(shell uname -m)
bpf_arch  := $(or $(patsubst x86_64,x86,$(filter x86_64,$(arch))),$(patsubst aarch64,arm64,$(filter aarch64,$(arch))),\
	$(patsubst ppc64le,powerpc,$(filter ppc64le,$(arch))),$(patsubst riscv%,riscv,$(filter riscv%,$(arch))),\
	$(patsubst s390%,s390,$(filter s390%,$(arch))),$(arch))
pkgs	  := libbpf yaml-0.1 json-c libnl-route-3.0 libmd
pc	   = $(shell $(PKG_CONFIG) $(1) 2>/dev/null)

warnings  := -Wall -Wextra -Werror -Werror=unused-function
CFLAGS	  ?= -O2 -g
cflags	  := -std=gnu11 -D_GNU_SOURCE $(warnings) -Iinclude -Ipolicy -I$(O) $(call pc,--cflags $(pkgs))
libs	  := $(call pc,--libs $(pkgs))
test_libs := $(call pc,--libs cmocka libpcap) -lpthread
sanitize  := -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
bpf_flags := -O2 -g -target bpf -mcpu=v3 -D__TARGET_ARCH_$(bpf_arch) $(warnings) -Iinclude \
	-idirafter /usr/include/$(arch)-linux-gnu $(call pc,--cflags libbpf)

# Outputs mirror the sources' paths below $(O).
objs	   = $(patsubst %.c,$(O)/%.o,$(1))
bpf_src	  := $(wildcard bpf/*.bpf.c)
skel	  := $(if $(bpf_src),$(O)/hostqos.skel.h)
policy	  := $(call objs,$(wildcard policy/*.c))
loader	  := $(call objs,$(wildcard loader/*.c))
tests_of   = $(patsubst %.c,$(O)/%,$(wildcard selftests/$(1)/*_test.c))
support_of = $(call objs,$(filter-out %_test.c %.bpf.c,$(wildcard selftests/$(1)/*.c)))
oracle	  := $(call support_of,oracle)
unit	  := $(call tests_of,unit) $(call tests_of,golden)
bpf	  := $(call tests_of,bpf)
net	  := $(call tests_of,net)
demo	  := $(patsubst selftests/demo/%.c,$(O)/demo/%,$(wildcard selftests/demo/*.c))
bench	  := $(patsubst selftests/bench/%.c,$(O)/bench/%,$(wildcard selftests/bench/*.c))
test_skels := $(patsubst %.bpf.c,$(O)/%.skel.h,$(wildcard selftests/bpf/*.bpf.c))

# Recipes: $(call run,WORD,COMMAND) shows "  WORD  target", or the command under V=1.
run	   = $(if $(filter 1,$(V)),,@echo "  $(1)	$(patsubst $(O)/%,%,$@)"; )mkdir -p $(@D) && $(2)
compile	   = $(call run,CC,$(CC) $(cflags) $(CFLAGS) $(1) -MMD -MP -c -o $@ $<)
link	   = $(call run,LD,$(CC) $(CFLAGS) $(LDFLAGS) $(1) -o $@ $(filter %.o %.a,$^) $(2) $(libs))
archive	   = $(call run,AR,rm -f $@ && ar crs $@ $^)

all: $(O)/hostqos $(demo)
$(O)/hostqos: $(loader) $(O)/policy.a; $(call link)
$(O)/policy.a: $(policy); $(call archive)
$(O)/loader.a: $(filter-out $(O)/loader/main.o,$(loader)); $(call archive)
$(O)/oracle.a: $(oracle); $(call archive)
$(O)/asan/policy.a: $(policy:$(O)/%=$(O)/asan/%); $(call archive)
$(O)/asan/oracle.a: $(oracle:$(O)/%=$(O)/asan/%); $(call archive)

$(O)/%.o: %.c Makefile | tools-build; $(call compile)
$(O)/asan/%.o: %.c Makefile | tools-test; $(call compile,$(sanitize))
$(loader) $(call objs,$(wildcard selftests/bpf/*.c selftests/bench/*.c)): | $(skel)
$(O)/selftests/bpf/%.o $(O)/selftests/net/%.o: cflags += -I$(@D)
$(call objs,$(filter-out %.bpf.c,$(wildcard selftests/bpf/*.c))): | $(test_skels)
$(oracle) $(call objs,$(wildcard selftests/bpf/*.c selftests/net/*.c)): | tools-test

$(O)/%.bpf.o: %.bpf.c Makefile | tools-build; $(call run,BPF,$(CLANG) $(bpf_flags) -MMD -MP -c -o $@ $<)
$(O)/hostqos.bpf.o: $(bpf_src:%.c=$(O)/%.o); $(call run,BPFLINK,$(BPFTOOL) gen object $@ $^)
$(O)/hostqos.skel.h: $(O)/hostqos.bpf.o; $(call run,SKEL,$(BPFTOOL) gen skeleton $< name hostqos_bpf > $@)
# What the tests of single programs load: their entry points and the classifier behind them.
$(O)/selftests/bpf/%.linked.o: $(O)/selftests/bpf/%.bpf.o $(O)/bpf/classify.bpf.o $(O)/bpf/monitor.bpf.o; $(call run,BPFLINK,$(BPFTOOL) gen object $@ $^)
$(O)/selftests/bpf/%.skel.h: $(O)/selftests/bpf/%.linked.o; $(call run,SKEL,$(BPFTOOL) gen skeleton $< name $*_bpf > $@)

$(unit): $(O)/%: $(O)/asan/%.o $(O)/asan/oracle.a $(O)/asan/policy.a; $(call link,$(sanitize),$(test_libs))
$(bpf): $(O)/%: $(O)/%.o $(call support_of,bpf) $(O)/oracle.a $(O)/loader.a $(O)/policy.a; $(call link,,$(test_libs))
$(net): $(O)/%: $(O)/%.o $(call support_of,net); $(call link,,$(test_libs))
$(demo): $(O)/demo/%: $(O)/selftests/demo/%.o; $(call link,,$(call pc,--libs libpcap))
$(O)/bench/connections: $(call support_of,net)
$(filter-out %/connections,$(bench)): $(call support_of,bpf) $(O)/loader.a $(O)/policy.a
$(bench): $(O)/bench/%: $(O)/selftests/bench/%.o; $(call link,,$(test_libs))

# Names what is missing, with the package that brings it; setup-* installs it.
groups	  := build test demo vm bench check
$(groups:%=tools-%): tools-%:; @selftests/setup.sh --check $*
$(groups:%=setup-%): setup-%:; @selftests/setup.sh build $*

# A second make, so that pkg-config is asked again about what was just installed.
again	   = @+$(MAKE) --no-print-directory
export HOSTQOS := $(abspath $(O)/hostqos)
# No shell in between, so that what ends make ends the tests.
suite	   = @selftests/run.sh
test: setup-test; $(again) test-all
demo: setup-demo; $(again) demo-run
bench: setup-bench; $(again) bench-run
test-all: $(O)/hostqos $(unit) $(bpf) $(net); $(suite) $(unit) --root $(bpf) $(net)
test-unit: $(unit); $(suite) $^
test-bpf: $(O)/hostqos $(bpf); $(suite) --root $(bpf)
test-net: $(O)/hostqos $(net); $(suite) --root $(net)
test-vm: setup-vm; $(again) test-vm-run
test-vm-run: $(O)/hostqos $(bpf) $(net); @selftests/vm/test.sh "$(KERNELS)" $(bpf) $(net)
demo-run: $(O)/hostqos $(demo); @$(SUDO) env PATH="$(PATH)" selftests/demo/demo.sh $(O)/hostqos
bench-run: $(bench); @set -e; for b in $^; do $(SUDO) $$b; done

check: setup-check; @selftests/check/run.sh
check-format:; @clang-format --dry-run -Werror $$(git ls-files '*.c' '*.h')
install: $(O)/hostqos; install -D -m 755 $< $(DESTDIR)$(PREFIX)/sbin/hostqos
clean:; rm -rf $(O)

.PHONY: all test test-all test-unit test-bpf test-net test-vm test-vm-run demo demo-run bench bench-run \
	check check-format install clean $(groups:%=tools-%) $(groups:%=setup-%)
-include $(shell find $(O) \( -path $(O)/vm -o -path $(O)/unpacked \) -prune -o -type f -name '*.d' -print 2>/dev/null)
