// Figures as text.

/** The middle value, or the mean of the two in the middle. */
export function median(values) {
	const sorted = [...values].sort((a, b) => a - b);
	const middle = sorted.length >> 1;
	return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/** The least value. */
export const least = (values) => Math.min(...values);

/** A Markdown table with columns of one width; short rows are filled. */
export function table(head, rows) {
	const full = rows.map((row) => head.map((_, column) => row[column] ?? ''));
	const widths = head.map((text, column) => Math.max(text.length, ...full.map((row) => row[column].length)));
	const line = (row) => `| ${row.map((text, column) => text.padEnd(widths[column])).join(' | ')} |`;
	return [line(head), line(widths.map((width) => '-'.repeat(width))), ...full.map(line)].join('\n');
}
