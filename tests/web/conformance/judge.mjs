// Judges results of the page with the native tolerances, and runs the same cases natively.
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { program } from '../lib/pages.mjs';

const PROGRAM = program('coreai-run');
const MAX_OUTPUT = 256 << 20;

/**
 * What `coreai-run verify` says of each case: a map from id to `{verdict, detail}`, the verdict being `passed`, `failed`
 * or `skipped` with what was skipped.
 * @param {{folder: string}[]} cases
 * @param {'gpu' | 'cpu'} unit
 * @param {string} [results] folder of results to compare; without it the cases run natively
 * @returns {Map<string, {verdict: string, detail: string}> | string} what went wrong where nothing was judged
 */
export function judge(cases, unit, results) {
	if (!existsSync(PROGRAM)) throw new Error(`${PROGRAM} is not there; \`cargo build --release -p coreai-cli\` builds it`);
	const options = ['verify', '--json', '--compute-unit', unit, ...(results ? ['--results', results] : [])];
	const done = spawnSync(PROGRAM, [...options, ...cases.map(({ folder }) => folder)], { encoding: 'utf8', maxBuffer: MAX_OUTPUT });
	if (!done.stdout?.startsWith('{')) return (done.stderr || done.error?.message || `exit status ${done.status}`).trim();
	const [{ cases: outcomes }] = JSON.parse(done.stdout).runs;
	return new Map(outcomes.map((outcome) => [outcome.case, told(outcome)]));
}

function told({ result, reason, code, detail, op, output, step, first, worst_error: worst }) {
	switch (result) {
		case 'passed':
			return { verdict: 'passed', detail: `worst error ${worst}` };
		case 'skipped':
			return { verdict: `skipped: ${reason.code ?? reason.kind}`, detail: reason.message ?? '' };
		default: {
			const at = [step === null || step === undefined ? '' : `step ${step}`, op ?? output ?? ''].filter(Boolean).join(', ');
			return { verdict: 'failed', detail: `${code}${at && ` at ${at}`}: ${detail}${first ? `; first ${JSON.stringify(first)}` : ''}` };
		}
	}
}
