#!/bin/sh
# Installs what is missing to build and to run; with `test` to test, with `web` to build for the web. Prints one command and stops
# where it may not. A GPU driver that is there is never touched: Mesa's software Vulkan is installed
# only where no Vulkan driver is.
set -eu

RUST=1.95
packages=

say() { printf '%s\n' "$*"; }
stop() {
	say "" "$@" >&2
	exit 1
}

need() { packages="$packages $1"; }

# Folders in which the Vulkan loader looks for drivers.
vulkan_driver() {
	[ -n "${VK_DRIVER_FILES:-}${VK_ICD_FILENAMES:-}" ] && return 0
	for folder in /etc /usr/share /usr/local/etc /usr/local/share "${XDG_DATA_HOME:-${HOME:-/root}/.local/share}"; do
		for file in "$folder"/vulkan/icd.d/*.json; do
			[ -e "$file" ] && return 0
		done
	done
	return 1
}

vulkan_loader() {
	{ ldconfig -p || /sbin/ldconfig -p; } 2>/dev/null | grep -q 'libvulkan\.so\.1' && return 0
	ls /usr/lib/libvulkan.so.1 /usr/lib64/libvulkan.so.1 /usr/lib/*/libvulkan.so.1 /usr/local/lib/libvulkan.so.1 \
		2>/dev/null | grep -q .
}

install_packages() {
	[ -n "$packages" ] || return 0
	if ! command -v apt-get >/dev/null; then
		stop "Missing:$packages (names of Debian packages)." \
			"Install what your system calls them with its package manager, then run make again."
	fi
	command="apt-get update && apt-get install -y --no-install-recommends$packages"
	if [ "$(id -u)" = 0 ]; then
		as_root=
	elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
		as_root="sudo -n"
	elif command -v sudo >/dev/null; then
		stop "Missing:$packages. Type this, then run make again:" "" "    sudo sh -c '$command'"
	else
		stop "Missing:$packages. Type this as root, then run make again:" "" "    sh -c '$command'"
	fi
	say "installing$packages"
	$as_root env DEBIAN_FRONTEND=noninteractive sh -c "$command" >/tmp/coreai-apt.$$ 2>&1 || {
		cat /tmp/coreai-apt.$$ >&2
		rm -f /tmp/coreai-apt.$$
		stop "apt-get failed; type this as root, then run make again:" "" "    sh -c '$command'"
	}
	rm -f /tmp/coreai-apt.$$
}

# $1 is at least $2, as MAJOR.MINOR.
at_least() {
	[ "${1%%.*}" -gt "${2%%.*}" ] && return 0
	[ "${1%%.*}" -eq "${2%%.*}" ] || return 1
	minor=${1#*.}
	[ "${minor%%.*}" -ge "${2#*.}" ]
}

rust() {
	if ! command -v cargo >/dev/null; then
		[ -x "${HOME:-/root}/.cargo/bin/cargo" ] &&
			stop "cargo is installed but not on PATH. Type:" "" "    . \"\$HOME/.cargo/env\""
		stop "Rust $RUST or newer is needed. Type this, open a new shell, then run make again:" "" \
			"    curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- -y"
	fi
	version=$(rustc --version | cut -d' ' -f2)
	at_least "$version" "$RUST" && return 0
	if command -v rustup >/dev/null; then
		stop "Rust $RUST or newer is needed; this is $version. Type this, then run make again:" "" \
			"    rustup update stable && rustup default stable"
	fi
	stop "Rust $RUST or newer is needed; this is $version. Update it the way it was installed."
}

# rustfmt and clippy; the std of other targets is added by targets.sh.
components() {
	for component in rustfmt clippy; do
		cargo "$(echo $component | sed s/rustfmt/fmt/)" --version >/dev/null 2>&1 && continue
		command -v rustup >/dev/null || stop "$component is missing; install it the way Rust was installed."
		rustup component add "$component"
	done
}

# node and npm: what the package, the page and their tests are built with.
node() {
	command -v npm >/dev/null && return 0
	[ "${1:-}" = needed ] || return 1
	stop "node 20 or newer with npm is needed for the web; install it (https://nodejs.org), then run make again."
}

# The browser that the tests drive. They say that they are skipped where it cannot be had.
browser() {
	node || return 0
	if ! [ -x /usr/bin/chromium ] && [ -z "${CHROMIUM:-}" ] && command -v apt-get >/dev/null; then
		as_root=
		[ "$(id -u)" = 0 ] || as_root="sudo -n"
		say "installing chromium"
		$as_root env DEBIAN_FRONTEND=noninteractive sh -c \
			"apt-get update && apt-get install -y --no-install-recommends chromium" >/dev/null 2>&1 ||
			say "chromium could not be installed"
	fi
	(
		cd "$(dirname "$0")/../web"
		[ node_modules/.package-lock.json -nt package-lock.json ] ||
			npm ci --no-audit --no-fund --silent || say "npm ci failed in tests/web"
	)
}

[ "$(uname -s)" = Linux ] && {
	command -v cc >/dev/null || { need gcc; need libc6-dev; }
	vulkan_loader || need libvulkan1
	vulkan_driver || need mesa-vulkan-drivers
}
install_packages
rust
case ${1:-} in
test)
	components
	browser
	;;
web) node needed ;;
esac
