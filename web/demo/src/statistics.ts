import type { Readable } from './elements';

/** What a tensor's elements are like; counts of NaN and infinite ones apart. */
export interface Statistics {
	count: number;
	finite: number;
	nan: number;
	infinite: number;
	zeros: number;
	min: number;
	max: number;
	mean: number;
	deviation: number;
}

/** Statistics of all elements; of no finite ones, the bounds and moments are NaN. */
export function statisticsOf(data: Readable): Statistics {
	const found: Statistics = { count: data.length, finite: 0, nan: 0, infinite: 0, zeros: 0, min: Infinity, max: -Infinity, mean: 0, deviation: 0 };
	let squares = 0;
	for (let i = 0; i < data.length; i += 1) {
		const value = Number(data[i]);
		if (Number.isNaN(value)) found.nan += 1;
		else if (!Number.isFinite(value)) found.infinite += 1;
		else {
			found.finite += 1;
			if (value === 0) found.zeros += 1;
			if (value < found.min) found.min = value;
			if (value > found.max) found.max = value;
			// Welford's running mean keeps the sum of squares exact enough for any count.
			const step = value - found.mean;
			found.mean += step / found.finite;
			squares += step * (value - found.mean);
		}
	}
	found.deviation = Math.sqrt(squares / found.finite);
	if (!found.finite) found.min = found.max = found.mean = NaN;
	return found;
}

/** Counts of the finite elements in equal bins from `min` to `max`. */
export function histogram(data: Readable, min: number, max: number, bins: number): number[] {
	const counts = new Array<number>(bins).fill(0);
	const scale = max > min ? bins / (max - min) : 0;
	for (let i = 0; i < data.length; i += 1) {
		const value = Number(data[i]);
		if (!Number.isFinite(value)) continue;
		const bin = Math.min(bins - 1, Math.max(0, Math.floor((value - min) * scale)));
		counts[bin] = (counts[bin] ?? 0) + 1;
	}
	return counts;
}

/** Positions of the `most` largest elements, the largest first. */
export function largest(data: Readable, most: number): number[] {
	const found: number[] = [];
	for (let i = 0; i < data.length; i += 1) {
		const value = Number(data[i]);
		if (Number.isNaN(value)) continue;
		if (found.length === most && value <= Number(data[found[most - 1] ?? 0])) continue;
		let at = found.length;
		while (at > 0 && Number(data[found[at - 1] ?? 0]) < value) at -= 1;
		found.splice(at, 0, i);
		found.length = Math.min(found.length, most);
	}
	return found;
}
