// Conversions between the arrays of a page and elements of ports, without a browser.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { unbuilt } from './lib/package.mjs';

const skip = unbuilt();
const { bfloat16Bits, decode, encode, float16Bits, float16ToFloat32 } = skip ? {} : await import('../../web/dist/dtype.js');

test('every float16 is exact as float32 and comes back', { skip }, () => {
	const all = Uint16Array.from({ length: 65536 }, (_, i) => i);
	const values = float16ToFloat32(all);
	assert.equal(values[1], 2 ** -24);
	assert.equal(values[0x3c00], 1);
	assert.equal(values[0x7bff], 65504);
	assert.equal(values[0xfc00], -Infinity);
	assert.ok(Object.is(values[0x8000], -0));
	for (const from of [values, Float64Array.from(values), Array.from(values)]) {
		const back = float16Bits(from);
		for (let i = 0; i < 65536; i++) {
			if (Number.isNaN(values[i])) assert.ok((back[i] & 0x7fff) > 0x7c00, `${i}`);
			else assert.equal(back[i], i);
		}
	}
});

test('float16 rounds to nearest, ties to even, at every boundary', { skip }, () => {
	const all = float16ToFloat32(Uint16Array.from({ length: 0x7c00 }, (_, i) => i));
	const nearest = [];
	for (let i = 0; i + 1 < all.length; i++) nearest.push([(all[i] + all[i + 1]) / 2, i]);
	const middles = float16Bits(Float32Array.from(nearest, ([middle]) => middle));
	nearest.forEach(([, i], at) => assert.equal(middles[at], i + (i & 1), `between ${i} and ${i + 1}`));
	// Just off the middle, by less than a float32 can hold: rounding twice would go wrong.
	const above = float16Bits(nearest.map(([middle]) => middle * (1 + 2 ** -50)));
	const below = float16Bits(nearest.map(([middle]) => middle * (1 - 2 ** -50)));
	nearest.forEach(([, i], at) => assert.deepEqual([above[at], below[at]], [i + 1, i], `beside the middle after ${i}`));
	assert.deepEqual([...float16Bits([65519.99, 65520, 1e9, -1e9, 1e300, 2 ** -25, 2 ** -25 * 1.0001, 1e-300])], [0x7bff, 0x7c00, 0x7c00, 0xfc00, 0x7c00, 0, 1, 0]);
});

test('bfloat16 rounds to nearest, ties to even', { skip }, () => {
	const one = 1 + 2 ** -8;
	assert.deepEqual([...bfloat16Bits([1, one, one + 2 ** -40, 1 + 3 * 2 ** -8, -one, Infinity, 3.4e38])], [0x3f80, 0x3f80, 0x3f81, 0x3f82, 0xbf80, 0x7f80, 0x7f80]);
	assert.ok((bfloat16Bits([NaN])[0] & 0x7fff) > 0x7f80);
	assert.deepEqual([...decode('bfloat16', new Uint8Array([0x80, 0x3f, 0x81, 0xbf]))], [1, -(1 + 2 ** -7)]);
});

test('integers are never rounded or wrapped', { skip }, () => {
	assert.deepEqual([...encode('x', 'int8', [-128, 127], [2])], [128, 127]);
	assert.deepEqual([...encode('x', 'int64', [-1], [1])], new Array(8).fill(255));
	assert.deepEqual([...encode('x', 'uint64', [2n ** 64n - 1n], [1])], new Array(8).fill(255));
	assert.deepEqual([...encode('x', 'bool', [true, false, true], [3])], [1, 0, 1]);
	for (const [dtype, value] of [['int8', 128], ['uint8', -1], ['int32', 0.5], ['int64', 2 ** 53], ['uint64', -1n], ['bool', 2], ['int32', NaN]]) {
		assert.throws(() => encode('x', dtype, [value], [1]), (error) => error.code === 'input' && error.message.includes('"x"'), `${dtype} ${value}`);
	}
});

test('lengths must fit the shape', { skip }, () => {
	assert.throws(() => encode('x', 'float32', new Float32Array(5), [2, 3]), /5 elements; shape \[2, 3\] has 6/);
	assert.equal(encode('x', 'float32', [7], []).length, 4);
	assert.equal(encode('x', 'complex64', [1, 2, 3, 4], [2]).length, 16);
	assert.equal(encode('x', 'float32', [], [0, 3]).length, 0);
});

test('what the wasm module gives at odd offsets is read', { skip }, () => {
	const bytes = new Uint8Array(13);
	new DataView(bytes.buffer).setFloat64(5, 2.5, true);
	assert.deepEqual([...decode('float64', bytes.subarray(5))], [2.5]);
});
