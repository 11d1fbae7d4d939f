# SPDX-License-Identifier: (GPL-2.0-only OR MIT)
# Adds up the lines "N passed, N failed[, N skipped]"; fails if a test failed or none passed.
/^[0-9]+ passed, [0-9]+ failed/ {
	passed += $1
	failed += $3
	skipped += $5
}
END {
	printf "%d passed, %d failed%s\n", passed, failed, skipped ? ", " skipped " skipped" : ""
	exit failed || !passed
}
