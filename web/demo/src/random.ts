/** Numbers in [0, 1) from a seed: the same seed gives the same ones on every machine. */
export function uniform(seed: number): () => number {
	// A counter through the mixer of PCG's output family: 32 bits of state are plenty for test inputs.
	let state = (seed ^ 0x9e3779b9) >>> 0;
	return () => {
		state = (Math.imul(state, 747_796_405) + 2_891_336_453) >>> 0;
		const word = Math.imul(((state >>> ((state >>> 28) + 4)) ^ state) >>> 0, 277_803_737) >>> 0;
		return (((word >>> 22) ^ word) >>> 0) / 2 ** 32;
	};
}

/** Normally distributed numbers from a seed, mean 0 and deviation 1. */
export function normal(seed: number): () => number {
	const next = uniform(seed);
	let spare: number | null = null;
	return () => {
		if (spare !== null) {
			const value = spare;
			spare = null;
			return value;
		}
		// Box and Muller's pair; 1 − x keeps the logarithm finite.
		const radius = Math.sqrt(-2 * Math.log(1 - next()));
		const angle = 2 * Math.PI * next();
		spare = radius * Math.sin(angle);
		return radius * Math.cos(angle);
	};
}
