#!/bin/sh
# Type-checks for the systems that the libraries are meant for. No linker or C compiler is needed.
# Arguments are passed to cargo. Downloads are left out: their TLS has parts in C.
set -eu

native="aarch64-apple-darwin x86_64-pc-windows-msvc aarch64-apple-ios aarch64-linux-android"
libraries="-p coreai-asset -p coreai -p coreai-tasks"
sysroot=$(rustc --print sysroot)

# Whether the target's std is there, after adding it where that is possible.
has_std() {
	[ -d "$sysroot/lib/rustlib/$1/lib" ] && return 0
	if command -v rustup >/dev/null; then
		rustup target add "$1"
		return
	fi
	echo "$1: NOT CHECKED, its std is missing and there is no rustup to add it" >&2
	[ -z "${CI:-}" ] || exit 1
	return 1
}

check() {
	target=$1
	shift
	has_std "$target" || return 0
	start=$(date +%s)
	# shellcheck disable=SC2086
	cargo check --target "$target" "$@"
	echo "    $target: $(($(date +%s) - start)) s"
}

# What natively is an empty crate is looked at here.
has_std wasm32-unknown-unknown &&
	cargo clippy --target wasm32-unknown-unknown -p coreai-web --features language "$@" -- -D warnings
for target in $native; do
	# shellcheck disable=SC2086
	check "$target" $libraries -p coreai-convert -p coreai-cli --no-default-features "$@"
done
