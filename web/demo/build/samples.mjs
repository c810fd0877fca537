// Links the models that are on this machine into `models/` and writes `public/samples.json`, the list of the page's cards.
//   node build/samples.mjs
// COREAI_MODELS names a folder with more of them: each .aimodel and each bundle in it becomes a card.
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { basename, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

const DEMO = fileURLToPath(new URL('..', import.meta.url));
const ROOT = resolve(DEMO, '../..');
const SHARED = resolve(ROOT, '../shared/models');
const ASSETS = join(ROOT, 'tests/assets');
const CACHE = process.env.COREAI_CACHE || join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'coreai');

// `from`: the first that exists is taken. `featured`: a large card.
const CANDIDATES = [
	{
		id: 'smollm2-135m-int4', title: 'SmolLM2 135M', kind: 'language', icon: 'chat', featured: true,
		about: 'A small chat model that follows instructions. 4-bit weights, 8192 tokens of context.',
		from: [join(SHARED, 'smollm2-135m-int4')],
	},
	{
		id: 'smollm2-135m', title: 'SmolLM2 135M', kind: 'language', icon: 'chat', featured: true, unless: 'smollm2-135m-int4',
		about: 'A small chat model that follows instructions, imported from its GGUF checkpoint.',
		from: [join(CACHE, 'models/smollm2-135m-instruct')],
	},
	{
		id: 'selfie-segmentation.aimodel', title: 'Selfie segmentation', kind: 'functions', icon: 'image', featured: true,
		about: 'Finds the person in a photo: an image of 256 × 256 in, a mask out.',
		from: [join(SHARED, 'selfie-segmentation/selfie_segmentation_float16.aimodel')],
	},
	{
		id: 'efficientnet-lite0.aimodel', title: 'EfficientNet Lite0', kind: 'functions', icon: 'image', featured: true,
		about: 'Tells what is in a picture: 1000 classes of ImageNet, int8 weights.',
		from: [join(SHARED, 'efficientnet-lite0/efficientnet_lite0_int8.aimodel')],
	},
	{
		id: 'minilm.aimodel', title: 'MiniLM L6', kind: 'functions', icon: 'text', featured: true,
		about: 'Sentence embeddings from token ids, any batch and length, int8 weights.',
		from: [join(SHARED, 'minilm/all-MiniLM-L6-v2_int8.aimodel')],
	},
	{
		id: 'convnext-v2.aimodel', title: 'ConvNeXt V2', kind: 'functions',
		about: 'a small image network, float16', from: [join(ASSETS, 'hf-convnext-v2-f16/model.aimodel')],
	},
	{
		id: 'decoder.aimodel', title: 'Decoder with a cache', kind: 'functions',
		about: 'two states, dynamic lengths', from: [join(ASSETS, 'model-decoder-qwen3-int4-block32-c9b115eb85e0d0/model.aimodel')],
	},
	{
		id: 'flow-gru.aimodel', title: 'Gated recurrence', kind: 'functions',
		about: 'maps of 8 channels', from: [join(ASSETS, 'raft-gru-f32/model.aimodel')],
	},
	{
		id: 'ring.aimodel', title: 'Ring buffer', kind: 'functions',
		about: 'one state, written in place', from: [join(ASSETS, 'state-ring-f32/model.aimodel')],
	},
	{
		id: 'cat.aimodel', title: 'Concatenation', kind: 'functions',
		about: 'every extent is dynamic', from: [join(ASSETS, 'fn-cat-dynamic/model.aimodel')],
	},
	{
		id: 'gather.aimodel', title: 'Non-zero rows', kind: 'functions',
		about: 'sizes depend on data', from: [join(ASSETS, 'staged-non-zero-gather/model.aimodel')],
	},
];

function size(path) {
	const found = statSync(path);
	if (!found.isDirectory()) return found.size;
	return readdirSync(path).reduce((sum, name) => sum + size(join(path, name)), 0);
}

function isBundle(folder) {
	try {
		return JSON.parse(readFileSync(join(folder, 'metadata.json'), 'utf8')).kind === 'llm';
	} catch {
		return false;
	}
}

// What lies in a folder that the user names.
function more(folder) {
	if (!existsSync(folder)) throw new Error(`COREAI_MODELS names ${folder}, which is not there`);
	return readdirSync(folder).flatMap((name) => {
		const path = join(folder, name);
		const kind = name.endsWith('.aimodel') ? 'functions' : isBundle(path) ? 'language' : null;
		return kind ? [{ id: name, title: basename(name, '.aimodel'), kind, featured: true, about: '', from: [path] }] : [];
	});
}

const models = join(DEMO, 'models');
rmSync(models, { recursive: true, force: true });
mkdirSync(models, { recursive: true });
mkdirSync(join(DEMO, 'public'), { recursive: true });

const samples = [];
const named = process.env.COREAI_MODELS ? more(resolve(process.env.COREAI_MODELS)) : [];
for (const { from, unless, ...card } of [...named, ...CANDIDATES]) {
	const path = from.find(existsSync);
	const taken = samples.some(({ id }) => id === card.id || id === unless);
	if (!path || taken) continue;
	symlinkSync(path, join(models, card.id));
	samples.push({ ...card, featured: Boolean(card.featured), url: `models/${card.id}`, bytes: size(path) });
}
writeFileSync(join(DEMO, 'public/samples.json'), `${JSON.stringify({ samples }, null, '\t')}\n`);
console.log(`${samples.length} samples: ${samples.map(({ id }) => id).join(', ')}`);
