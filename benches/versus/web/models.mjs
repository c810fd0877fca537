// The models that models.py exports.
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { Stop } from './browser.mjs';

/** By name: shapes of the float32 inputs, other ONNX files of the same model, and whether only to run it when asked. */
export const MODELS = {
	matmul1024: { inputs: [[1024, 1024], [1024, 1024]], variants: [] },
	resnet50_112: { inputs: [[1, 3, 112, 112]], variants: [] },
	resnet50: { inputs: [[1, 3, 224, 224]], variants: [], long: true },
	encoder: { inputs: [[1, 128, 768]], variants: ['fused'] },
	int4_2048: { inputs: [[1, 2048]], variants: [] },
	int4_4096: { inputs: [[1, 4096]], variants: [] },
};

/** Stops, saying what to do, where a file of a model is missing. */
export function need(folder, names) {
	for (const name of names) {
		if (!(name in MODELS)) throw new Stop(`no model ${name}; there are ${Object.keys(MODELS).join(', ')}`);
		const files = ['.onnx', '.aimodel/main.mlirb', ...MODELS[name].variants.map((variant) => `.${variant}.onnx`)];
		for (const file of files) {
			if (existsSync(join(folder, name + file))) continue;
			throw new Stop(`${join(folder, name + file)} is missing: run python models.py ${folder} ${name}`);
		}
	}
}
