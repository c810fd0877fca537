import type { Report } from 'coreai-web';
import { element } from './element';
import { icon } from './icon';

const SHOWN_CODES: Record<string, string> = {
	kernels: 'Kernels',
	rules: 'Fused kernels',
	force_kernel: 'Forced kernel',
	host_op: 'On the host',
	software_adapter: 'Software adapter',
	kernel_replaced: 'Kernel replaced',
	rule_refused: 'Fusion refused',
	self_check_skipped: 'Self-check skipped',
	function_refused: 'Function refused',
	no_webgpu: 'No WebGPU',
	storage_quota: 'No room to store',
};

/** What specialization decided: every choice, with the fallbacks first and marked. */
export function reportView(report: Report): HTMLElement {
	const fallbacks = report.entries.filter(({ fallback }) => fallback);
	const choices = report.entries.filter(({ fallback }) => !fallback);
	const verdict = fallbacks.length
		? `${fallbacks.length} ${fallbacks.length === 1 ? 'fallback' : 'fallbacks'}: these parts run slower than they could`
		: 'No fallbacks';
	const rows = [...fallbacks, ...choices].map(({ code, message, fallback }) =>
		element(
			'li',
			{ class: fallback ? 'entry fallback' : 'entry' },
			element(
				'div',
				{ class: 'row' },
				element('strong', {}, SHOWN_CODES[code] ?? code),
				fallback ? element('span', { class: 'tag warn' }, 'Fallback') : null,
				element('code', { class: 'code-chip' }, code),
			),
			element('p', {}, message),
		),
	);
	const save = element('button', { type: 'button', class: 'button quiet small', onclick: () => download(report) }, icon('download'), '.json');
	return element(
		'section',
		{ class: 'card report', 'aria-label': 'Report' },
		element('div', { class: 'row spread' }, element('h3', {}, verdict), save),
		element('p', { class: 'muted small' }, `${report.device ? `${report.device} · ` : ''}${report.compute_unit.toUpperCase()} unit · ${report.precision} precision`),
		rows.length ? element('ul', { class: 'entries' }, ...rows) : element('p', { class: 'muted' }, 'Nothing had to be decided.'),
	);
}

function download(report: Report): void {
	const url = URL.createObjectURL(new Blob([JSON.stringify(report, null, '\t')], { type: 'application/json' }));
	element('a', { href: url, download: 'report.json' }).click();
	setTimeout(() => URL.revokeObjectURL(url), 1000);
}
