// Language models of random weights: one small enough to generate a token at once on a software adapter, and one whose
// weights do not fit the memory that loading may take.
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, open, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { program } from './pages.mjs';

const CONFIG = {
	architectures: ['LlamaForCausalLM'], model_type: 'llama', hidden_act: 'silu', rms_norm_eps: 1e-5,
	hidden_size: 64, intermediate_size: 96, num_hidden_layers: 2, num_attention_heads: 4, num_key_value_heads: 2, head_dim: 16,
	vocab_size: 98, max_position_embeddings: 512, tie_word_embeddings: false, attention_bias: false, mlp_bias: false,
	rope_parameters: { rope_theta: 10000, rope_type: 'default' }, bos_token_id: 1, eos_token_id: 2, dtype: 'float32',
};
/** 135 million float16 weights, 270 MB. */
const LARGE = {
	...CONFIG, hidden_size: 576, intermediate_size: 1536, num_hidden_layers: 38, num_attention_heads: 9, num_key_value_heads: 3, head_dim: 64,
	dtype: 'float16',
};
const SPECIAL = ['<unk>', '<s>', '</s>'];
const TEMPLATE = '{% for message in messages %}{{ message.role }}: {{ message.content }}</s>{% endfor %}{% if add_generation_prompt %}assistant: {% endif %}';

function tokenizer() {
	// Visible ASCII, and the space as byte-level tokenizers write it.
	const pieces = [...SPECIAL, ...Array.from({ length: 94 }, (_, i) => String.fromCharCode(33 + i)), 'Ġ'];
	const level = { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: true };
	return {
		version: '1.0', truncation: null, padding: null, normalizer: null, post_processor: null, pre_tokenizer: level, decoder: level,
		added_tokens: SPECIAL.map((content, id) => ({ id, content, special: true, normalized: false, single_word: false, lstrip: false, rstrip: false })),
		model: {
			type: 'BPE', dropout: null, unk_token: null, continuing_subword_prefix: null, end_of_word_suffix: null, fuse_unk: false,
			byte_fallback: false, vocab: Object.fromEntries(pieces.map((piece, id) => [piece, id])), merges: [],
		},
	};
}

/** Numbers between −1 and 1, the same in every run. */
function* numbers() {
	for (let x = 12_345; ;) {
		x ^= x << 13;
		x ^= x >>> 17;
		x ^= x << 5;
		yield x / 2 ** 31;
	}
}

function shapesOf(config) {
	const { hidden_size: d, intermediate_size: ff, vocab_size: vocabulary, head_dim: head, num_attention_heads: heads, num_key_value_heads: kv } = config;
	const shapes = { 'model.embed_tokens.weight': [vocabulary, d], 'lm_head.weight': [vocabulary, d], 'model.norm.weight': [d] };
	for (let layer = 0; layer < config.num_hidden_layers; layer++) {
		const of = { q_proj: heads, k_proj: kv, v_proj: kv };
		const at = `model.layers.${layer}`;
		for (const [name, count] of Object.entries(of)) shapes[`${at}.self_attn.${name}.weight`] = [count * head, d];
		shapes[`${at}.self_attn.o_proj.weight`] = [d, heads * head];
		Object.assign(shapes, { [`${at}.mlp.gate_proj.weight`]: [ff, d], [`${at}.mlp.up_proj.weight`]: [ff, d], [`${at}.mlp.down_proj.weight`]: [d, ff] });
		for (const name of ['input_layernorm', 'post_attention_layernorm']) shapes[`${at}.${name}.weight`] = [d];
	}
	return shapes;
}

const count = (shape) => shape.reduce((a, b) => a * b);

/** Writes `model.safetensors`. Weights of float16 are one random number of ±0.06 for each place of a tensor. */
async function writeWeights(path, config) {
	const half = config.dtype === 'float16';
	const random = numbers();
	const values = (shape) => {
		const norm = shape.length === 1;
		if (half) return Uint16Array.from({ length: count(shape) }, (_, i) => (norm ? 0x3c00 : (0x2800 | (i * 40_503) & 0x83ff)));
		return Float32Array.from({ length: count(shape) }, () => (norm ? 1 : 0.3) * (random.next().value + (norm ? 1.5 : 0)));
	};
	const shapes = Object.entries(shapesOf(config));
	const header = {};
	let end = 0;
	for (const [name, shape] of shapes) header[name] = { dtype: half ? 'F16' : 'F32', shape, data_offsets: [end, end += count(shape) * (half ? 2 : 4)] };
	let text = JSON.stringify(header);
	text += ' '.repeat((8 - text.length % 8) % 8);
	const length = Buffer.alloc(8);
	length.writeBigUInt64LE(BigInt(text.length));
	const file = await open(path, 'w');
	try {
		await file.write(Buffer.concat([length, Buffer.from(text)]));
		for (const [, shape] of shapes) await file.write(Buffer.from(values(shape).buffer));
	} finally {
		await file.close();
	}
}

/** The small model; see `bundle`. */
export const tinyBundle = async () => bundle(CONFIG, await mkdtemp(join(tmpdir(), 'coreai-tiny-')));

/** The model of 270 MB, in a folder that is there; see `bundle`. */
export const largeBundle = (folder) => bundle(LARGE, folder);

/**
 * Makes a bundle with `coreai-build import`.
 * @returns {Promise<{folder: string, remove(): Promise<void>}>} the bundle; `remove` removes the folder that was given
 */
async function bundle(config, folder) {
	const build = program('coreai-build');
	if (!existsSync(build)) throw new Error(`${build} is not there; \`cargo build --release -p coreai-cli\` builds it`);
	const source = join(folder, 'source');
	await mkdir(source);
	const special = { bos_token: '<s>', eos_token: '</s>', unk_token: '<unk>' };
	const files = {
		'config.json': config,
		'tokenizer.json': tokenizer(),
		'tokenizer_config.json': { ...special, chat_template: TEMPLATE, model_max_length: 512, tokenizer_class: 'PreTrainedTokenizerFast' },
	};
	for (const [name, value] of Object.entries(files)) await writeFile(join(source, name), JSON.stringify(value));
	await writeWeights(join(source, 'model.safetensors'), config);
	const done = spawnSync(build, ['import', source, '--offline', '--output', join(folder, 'bundle')], { encoding: 'utf8' });
	if (done.status !== 0) throw new Error(`coreai-build import: ${done.stderr}`);
	await rm(source, { recursive: true });
	return { folder: join(folder, 'bundle'), remove: () => rm(folder, { recursive: true, force: true }) };
}
