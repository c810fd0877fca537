#!/bin/sh
# Collects every WGSL source that the kernel tests and the op table's test emit and compiles each with Tint. Says so and ends
# well where that cannot be done. Arguments are passed to cargo.
set -eu

here=$(cd "$(dirname "$0")" && pwd)

skip() {
	echo "skipped: $1"
	exit 0
}

command -v node >/dev/null || skip "no node"
[ -d "$here/../web/node_modules/playwright-core" ] || skip "no playwright-core, npm ci in tests/web installs it"
node "$here/check.mjs" --probe || {
	status=$?
	[ $status -eq 2 ] && exit 0
	exit $status
}

sources=${CARGO_TARGET_DIR:-$PWD/target}/wgsl
case $sources in /*) ;; *) sources=$PWD/$sources ;; esac
rm -rf "$sources"
mkdir -p "$sources"
# The whole workspace, so that what is built is what `make unit` runs.
COREAI_WGSL_DUMP=$sources cargo test --release --workspace --lib "$@" -- gpu::kernels ops::cases::support >"$sources/tests.log" || {
	cat "$sources/tests.log"
	exit 1
}
exec node "$here/check.mjs" "$sources"
