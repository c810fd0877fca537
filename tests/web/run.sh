#!/bin/sh
# Runs the tests of the npm package in headless Chromium, one file after the other, and says how long each took and what was
# skipped. Builds nothing but the packages that the tests themselves need.
#   run.sh [FILE …]   1 if a test fails
cd "$(dirname "$0")" || exit 1

if [ ! -d node_modules/playwright-core ] || [ package-lock.json -nt node_modules ]; then
	npm ci --no-audit --no-fund --loglevel=error || echo "npm ci failed: what needs a browser is skipped" >&2
fi

failed=
skipped=$(mktemp)
trap 'rm -f "$skipped"' EXIT
[ $# -gt 0 ] || set -- *.test.mjs
for file; do
	begin=$(date +%s)
	# The first reporter is for the reader, the second for the list of what was skipped.
	node --test --test-concurrency=1 --test-reporter=spec --test-reporter-destination=stdout \
		--test-reporter=tap --test-reporter-destination="$skipped.tap" "$file" || failed="$failed $file"
	grep -h '# SKIP' "$skipped.tap" | sed "s|^ *ok [0-9]* - |$file: |" >> "$skipped"
	rm -f "$skipped.tap"
	echo "$file: $(($(date +%s) - begin)) s"
done

if [ -s "$skipped" ]; then
	echo "skipped:"
	sed 's/^/  /; s/ *# SKIP */: /' "$skipped"
fi
if [ -n "$failed" ]; then
	echo "failed:$failed"
	exit 1
fi
