const UNITS = ['B', 'kB', 'MB', 'GB', 'TB'];

/** Bytes in decimal units with three digits: 76.1 MB. */
export function bytes(count: number): string {
	let value = Math.max(0, count);
	let unit = 0;
	while (value >= 999.5 && unit < UNITS.length - 1) {
		value /= 1000;
		unit += 1;
	}
	const digits = unit === 0 || value >= 100 ? 0 : value >= 10 ? 1 : 2;
	return `${value.toFixed(digits)} ${UNITS[unit]}`;
}

/** Seconds as a person says them: 12 ms, 3.4 s, 2 min 10 s, 1 h 5 min. */
export function duration(seconds: number): string {
	if (seconds < 0.0995) return `${(seconds * 1000).toFixed(seconds < 0.00995 ? 1 : 0)} ms`;
	if (seconds < 0.9995) return `${Math.round(seconds * 1000)} ms`;
	if (seconds < 59.95) return `${seconds.toFixed(seconds < 10 ? 2 : 1)} s`;
	const whole = Math.round(seconds);
	if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
	return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
}

/** Time that is left, coarse on purpose: it is an estimate. */
export function timeLeft(seconds: number): string {
	if (seconds < 1) return 'less than 1 s left';
	if (seconds < 60) return `${Math.ceil(seconds)} s left`;
	const minutes = Math.ceil(seconds / 60);
	return minutes < 60 ? `${minutes} min left` : `${Math.floor(minutes / 60)} h ${minutes % 60} min left`;
}

/** How long ago a time in milliseconds was. */
export function ago(time: number): string {
	const seconds = Math.max(0, (Date.now() - time) / 1000);
	if (seconds < 90) return 'just now';
	if (seconds < 5400) return `${Math.round(seconds / 60)} min ago`;
	if (seconds < 129_600) return `${Math.round(seconds / 3600)} h ago`;
	return `${Math.round(seconds / 86_400)} days ago`;
}

/** A number of a tensor in at most `digits` significant digits; whole numbers in full. */
export function number(value: number | bigint, digits = 5): string {
	if (typeof value === 'bigint' || (Number.isInteger(value) && Math.abs(value) < 1e9)) return String(value);
	if (!Number.isFinite(value)) return Number.isNaN(value) ? 'NaN' : value > 0 ? '∞' : '−∞';
	const size = Math.abs(value);
	const text = size >= 1e6 || size < 1e-4 ? value.toExponential(digits - 2) : value.toPrecision(digits);
	return text.includes('.') && !text.includes('e') ? text.replace(/\.?0+$/, '') : text;
}

/** A count with thousands set apart: 49 152. */
export function count(value: number): string {
	return String(value).replace(/\B(?=(\d{3})+$)/g, '\u2009');
}

/** Extents as text: 1 × 3 × 256 × 256; `?` where one is open. */
export function extents(shape: readonly (number | null)[]): string {
	return shape.length ? shape.map((extent) => extent ?? '?').join(' × ') : 'scalar';
}
