#!/bin/sh
# Runs a stage of the test suite and prints how long it took: stage.sh NAME COMMAND …
name=$1
shift
echo "==> $name"
start=$(date +%s)
"$@"
status=$?
seconds=$(($(date +%s) - start))
if [ $status -eq 0 ]; then
	echo "<== $name: $seconds s"
else
	echo "<== $name: FAILED after $seconds s" >&2
fi
exit $status
