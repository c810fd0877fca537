#!/bin/sh
# Builds the npm package: both WebAssembly modules (web/wasm), the JavaScript (web/dist) and the tarball.
# Arguments are passed to cargo. What did not change is not built again.
set -eu

web=$(cd "$(dirname "$0")" && pwd)
cd "$web/.."
target=${CARGO_TARGET_DIR:-target}
# The CPU unit wants vectors, which every browser has had since 2023; deeply nested programs want stack.
export CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUSTFLAGS="-Ctarget-feature=+simd128 -Clink-arg=-zstack-size=8388608"

if [ ! -d "$(rustc --print sysroot)/lib/rustlib/wasm32-unknown-unknown/lib" ]; then
	rustup target add wasm32-unknown-unknown
fi
[ "$web/node_modules/.package-lock.json" -nt "$web/package-lock.json" ] ||
	npm ci --prefix "$web" --no-audit --no-fund --silent

# $1: folder; $2: what is built of it: features.
module() {
	cargo build --profile web --target wasm32-unknown-unknown -p coreai-web $2 $locked
	built=$target/wasm32-unknown-unknown/web/coreai_web.wasm
	folder=$web/wasm/$1
	# cargo puts both modules in the same place: what is compared is the content.
	sum=$(cksum <"$built")
	[ "$sum" = "$(cat "$folder/.built" 2>/dev/null)" ] && return
	rm -rf "$folder"
	"$target/release/coreai-web-pack" "$built" "$folder"
	# More levels take minutes and give nothing after the compiler's own.
	wasm=$folder/coreai_web_bg.wasm
	"$web/node_modules/.bin/wasm-opt" -O1 --enable-simd --enable-bulk-memory --enable-bulk-memory-opt --enable-sign-ext \
		--enable-nontrapping-float-to-int --enable-mutable-globals --enable-reference-types --enable-multivalue \
		"$wasm" -o "$wasm.small"
	mv "$wasm.small" "$wasm"
	echo "$sum" >"$folder/.built"
}

locked="$*"
cargo build --release -p coreai-web-pack $locked
module core ""
module language "--features language"
(cd "$web" && node_modules/.bin/tsc -p . && rm -f coreai-web-*.tgz && npm pack --silent --ignore-scripts >/dev/null)

for name in core language; do
	bytes=$(gzip -9 -c "$web/wasm/$name/coreai_web_bg.wasm" | wc -c)
	echo "$name: $((bytes / 1000)) kB compressed"
done
