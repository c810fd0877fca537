/**
 * Uniform numbers of -1 to 1, the same ones for the same seed: Marsaglia's xorshift of 32 bits.
 *
 * @param {number[]} shape
 * @param {number} seed not 0
 * @returns {Float32Array}
 */
export function uniform(shape, seed) {
	const values = new Float32Array(shape.reduce((product, extent) => product * extent, 1));
	let state = seed >>> 0;
	for (let i = 0; i < values.length; i++) {
		state ^= state << 13;
		state ^= state >>> 17;
		state ^= state << 5;
		values[i] = (state >>> 0) / 2 ** 31 - 1;
	}
	return values;
}

/**
 * The largest difference of two arrays, relative to the largest element of the first.
 *
 * @param {Float32Array} expected
 * @param {Float32Array} found
 * @returns {number} NaN where an element is, or where the lengths differ
 */
export function difference(expected, found) {
	if (expected.length !== found.length) return NaN;
	let apart = 0;
	let largest = 0;
	for (let i = 0; i < expected.length; i++) {
		const distance = Math.abs(expected[i] - found[i]);
		if (Number.isNaN(distance)) return NaN;
		apart = Math.max(apart, distance);
		largest = Math.max(largest, Math.abs(expected[i]));
	}
	return apart / largest;
}
