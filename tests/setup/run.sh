#!/bin/sh
# Answers one prompt: `run.sh check` only looks for the model, `run.sh BINARY [OPTION …]` runs it.
# Environment: COREAI_MODEL, PROMPT.
set -eu

root=$(cd "$(dirname "$0")/../.." && pwd)
model=${COREAI_MODEL:-$root/../shared/models/smollm2-135m-int4}
if [ ! -e "$model" ]; then
	cat >&2 <<-END

	No model at $model.

	Give the folder of a language bundle, which holds metadata.json, an .aimodel and tokenizer/:

	    make run COREAI_MODEL=/path/to/bundle

	The default one is SmolLM2-135M-Instruct, exported with Apple's tools in their 4-bit preset. It is
	looked for in ../shared/models/smollm2-135m-int4 beside this repository.
	END
	exit 1
fi
[ "$1" = check ] && exit 0

binary=$1
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
